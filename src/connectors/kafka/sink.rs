//! Writing: a commit's records are staged, and made visible together with its number by one transaction.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use crate::connect::{Chore, Committer, Identity, Opened, Schema, Sink, SinkContext, Store, Writer};
use crate::error::{Error, Result};

use super::KafkaTopic;
use super::census::Census;
use super::client::{Context, IN_FLIGHT};
use super::rows::{self, Encoder, Held, Part};

/// Up to how many bytes of records are in the manifest itself.
const INLINE: usize = 4 << 10;
/// How long one step of a transaction may take, and how often it is tried.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const TRIES: usize = 3;

/// After how many milliseconds without a word a connection is closed. librdkafka forgets a broker that is missing from metadata, as
/// one is that was away for a while, and in the middle of a commit waits for it nevertheless, until some connection opens or
/// closes (confluentinc/librdkafka#5511, and #5456: its own limit of time is not kept). So one does.
const IDLE: &str = "10000";

/// After how many milliseconds without a commit the group is told its number again. Brokers keep it for a week, or a day.
const REMIND: i64 = 3_600_000;

/// What a commit consists of, as the manifest records it.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// What the topic holds with it.
    held: Held,
    bytes: u64,
    /// The records themselves, or the object in the run's state that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lines: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
}

impl Sink for KafkaTopic {
    fn describe(&self) -> String {
        self.name()
    }

    fn identity(&self) -> Result<Identity> {
        self.identity()
    }

    fn check(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        // What an open transaction of the run before is about to say is not waited for: it is not taken back yet.
        let group = self.group(context, "read_uncommitted")?;
        self.claim(self.last(&group)?.map(|(n, _)| n), schema, context).map(drop)
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Opened> {
        let (id, name) = (self.id(context), self.name());
        let group = self.group(context, "read_committed")?;
        let producer: ThreadedProducer<Context> = self.settings.client(
            &name,
            &[
                ("transactional.id", &id),
                ("transaction.timeout.ms", "300000"),
                ("message.timeout.ms", "290000"),
                ("partitioner", "murmur2_random"),
                ("linger.ms", "5"),
                ("batch.size", "1000000"),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
                ("connections.max.idle.ms", IDLE),
                ("max.in.flight", IN_FLIGHT),
            ],
        )?;
        // First: it fences the run before, and finishes or takes back what that left open. Only then the offset stands.
        producer
            .init_transactions(PATIENCE)
            .map_err(|e| producer.context().error(&format!("can't begin to write to {name}"), &e))?;
        let mut writing = Writing { topic: self.clone(), producer, group, shown: None };
        let last = writing.last()?;
        let forgotten = self.claim(last.map(|(n, _)| n), schema, context)?;
        self.own(schema, context)?;
        let staging = self.staging(schema, context);
        let (schema, found) = (Arc::new(schema.clone()), Arc::<AtomicU64>::default());
        let writer = |_| Box::new(Encoder::new(schema.clone(), found.clone(), context.secret)) as Box<dyn Writer>;
        let writers = (0..context.workers).map(writer).collect();
        let committer = Commits {
            writing,
            held: last.map(|(_, held)| held),
            forgotten,
            known: context.committed,
            clock: context.clock.clone(),
            told: None,
            staging,
            generation: context.generation,
            staged: None,
            total: Held::default(),
            found,
            committed: false,
            tidy: false,
        };
        Ok(Opened { writers, committer: Box::new(committer) })
    }
}

/// One run's right to write to a topic.
struct Writing {
    topic: KafkaTopic,
    producer: ThreadedProducer<Context>,
    group: BaseConsumer<Context>,
    /// The number of the last commit that is visible; `None` if it has to be asked for.
    shown: Option<u64>,
}

/// Why a transaction was not made.
enum Failure {
    /// Nothing of it will be seen.
    TakenBack(Error),
    Final(Error),
}

impl Writing {
    fn last(&mut self) -> Result<Option<(u64, Held)>> {
        let last = self.topic.last(&self.group)?;
        self.shown = Some(last.map_or(0, |(n, _)| n));
        Ok(last)
    }

    /// Makes the records of `lines` and the number `n` visible.
    fn transact(&self, n: u64, lines: &[u8], held: Held) -> Result<()> {
        let mut left = TRIES;
        loop {
            left -= 1;
            match self.attempt(n, lines, held) {
                Ok(()) => return Ok(()),
                Err(Failure::TakenBack(error)) if left > 0 => {
                    tracing::warn!(topic = self.topic.name(), n, %error, "the transaction was taken back, try again");
                }
                Err(Failure::TakenBack(error) | Failure::Final(error)) => return Err(error),
            }
        }
    }

    fn attempt(&self, n: u64, lines: &[u8], held: Held) -> Result<(), Failure> {
        let topic = &self.topic.topic;
        self.producer.context().undelivered();
        self.producer.begin_transaction().map_err(|e| self.give_up(n, &e))?;
        for record in rows::records(lines) {
            let (key, value) = record.map_err(|e| {
                Failure::Final(
                    Error::data(format!("the staged records of commit {n} of {} are damaged", self.topic.name())).because(e),
                )
            })?;
            let mut record = BaseRecord::<str, str>::to(topic);
            record.key = key.map(|key| key.get());
            record.payload = value.map(|value| value.get());
            while let Err((error, again)) = self.producer.send(record) {
                if error.rdkafka_error_code() != Some(Code::QueueFull) {
                    return Err(self.give_up(n, &error));
                }
                // Room comes when some are delivered.
                let _ = self.producer.flush(Duration::from_millis(10));
                record = again;
            }
        }
        let mut offsets = TopicPartitionList::new();
        let metadata = serde_json::to_string(&held).unwrap_or_default();
        let mut offset = offsets.add_partition(topic, 0);
        offset.set_metadata(metadata);
        offset.set_offset(Offset::Offset(n as i64)).map_err(|e| self.give_up(n, &e))?;
        let group = self.group.group_metadata().ok_or_else(|| Failure::Final(Error::internal("a group without a name")))?;
        self.step(n, || self.producer.send_offsets_to_transaction(&offsets, &group, PATIENCE))?;
        self.step(n, || self.producer.commit_transaction(PATIENCE))
    }

    /// Takes a step of a transaction. One that can be repeated, as after a timeout, is: the outcome is the same.
    fn step(&self, n: u64, mut step: impl FnMut() -> Result<(), KafkaError>) -> Result<(), Failure> {
        let mut outcome = step();
        for _ in 1..TRIES {
            match &outcome {
                Err(KafkaError::Transaction(error)) if error.is_retriable() => outcome = step(),
                _ => break,
            }
        }
        outcome.map_err(|error| self.give_up(n, &error))
    }

    /// Takes the transaction back, if that can be.
    fn give_up(&self, n: u64, error: &KafkaError) -> Failure {
        let name = self.topic.name();
        let attempt = format!("can't make commit {n} of {name} visible");
        let undelivered = self.producer.context().undelivered();
        let codes = [error, undelivered.as_ref().unwrap_or(error)].map(KafkaError::rdkafka_error_code);
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let is = |codes_: &[Code]| codes.iter().chain([&fatal]).flatten().any(|code| codes_.contains(code));
        if is(&[Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch]) {
            return Failure::Final(
                Error::superseded(format!("another run has taken over {name}"))
                    .hint("This one stops; what it had committed stands."),
            );
        }
        if is(&[Code::MessageSizeTooLarge, Code::InvalidMessageSize]) {
            return Failure::Final(
                Error::data(format!("{attempt}: a record is larger than the topic takes"))
                    .hint("Raise the topic's max.message.bytes and the property message.max.bytes."),
            );
        }
        let cause = self.producer.context().error(&attempt, undelivered.as_ref().unwrap_or(error));
        match error {
            KafkaError::Transaction(error) if error.is_fatal() || !error.txn_requires_abort() => Failure::Final(cause),
            _ => match self.producer.abort_transaction(PATIENCE) {
                Ok(()) => Failure::TakenBack(cause),
                Err(_) => Failure::Final(cause),
            },
        }
    }
}

/// Makes the commits of a topic.
struct Commits {
    writing: Writing,
    /// What the topic holds by its last commit; `None` before the first.
    held: Option<Held>,
    /// What its records say that it holds, until it is clear which commit that was.
    forgotten: Option<Census>,
    /// The number of the last manifest before this run.
    known: u64,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// When the group was last told the number, if it was in this run.
    told: Option<i64>,
    staging: Option<Store>,
    generation: u64,
    /// The records of the commit that was staged last.
    staged: Option<(u64, Vec<u8>)>,
    /// What the topic holds with all that is staged.
    total: Held,
    /// The sum of the digests of the rows that the writers found again.
    found: Arc<AtomicU64>,
    /// Whether this run has made a commit, and whether nothing is left of what earlier runs staged.
    committed: bool,
    tidy: bool,
}

impl Commits {
    /// The records of commit `n`.
    fn lines<'a>(&'a self, n: u64, content: &'a Content) -> Result<Cow<'a, [u8]>> {
        let own = self.staged.as_ref().filter(|(staged, _)| *staged == n).map(|(_, lines)| lines);
        let lines: Cow<'_, [u8]> = match (own, &content.lines, &content.object, &self.staging) {
            (Some(lines), ..) => lines.into(),
            (_, Some(lines), ..) => lines.as_bytes().into(),
            (.., Some(object), Some(store)) => {
                store.get(object)?.ok_or_else(|| self.wrong(n, &format!("{} is gone", store.name(object))))?.into()
            }
            _ => return Err(self.wrong(n, "its records were not kept")),
        };
        if lines.len() as u64 != content.bytes {
            return Err(self.wrong(n, "its records are not as they were staged"));
        }
        Ok(lines)
    }

    fn wrong(&self, n: u64, what: &str) -> Error {
        let name = self.writing.topic.name();
        Error::data(format!("can't make commit {n} of {name} visible: {what}"))
            .hint("Restore the state's folder staged, or begin anew with another topic and state.")
    }

    /// The number of the last commit that is visible. Where the group has forgotten it, the topic holds either what it is to hold
    /// with commit `n`, or what it held before.
    fn shown(&mut self, n: u64, content: &Content) -> Result<u64> {
        match (&self.forgotten, self.writing.shown) {
            (Some(census), _) if census.held == content.held => Ok(n),
            (Some(census), _) if census.with(&self.lines(n, content)?) == Some(content.held) => Ok(0),
            (Some(census), _) => Err(self.strange(census.held.rows, content.held.rows)),
            (None, Some(shown)) => Ok(shown),
            (None, None) => Ok(self.writing.last()?.map_or(0, |(n, _)| n)),
        }
    }

    /// Says what the topic holds instead of `rows` rows.
    fn strange(&self, there: u64, rows: u64) -> Error {
        let what = match there == rows {
            true => format!("{rows} rows, but others"),
            false => format!("{there} rows, not the {rows}"),
        };
        let name = self.writing.topic.name();
        match self.forgotten {
            None => Error::data(format!("{name} holds {what} that were read again"))
                .hint("Go on with the state that belongs to the topic, or write to another one with a new state."),
            Some(_) => Error::data(format!("{name} holds {what} of its last commit, whose number the group has forgotten")).hint(
                "Brokers forget it after offsets.retention.minutes without a commit. Bring back the rows that the topic had, or \
                 write to another one with a new state.",
            ),
        }
    }

    /// Tells the group once more what it knows, if it was not told for long: else it forgets.
    fn remind(&mut self) -> Result<()> {
        let now = (self.clock)();
        if let (Some(n @ 1..), Some(held)) = (self.writing.shown, self.held)
            && self.told.is_none_or(|told| now.saturating_sub(told) >= REMIND)
        {
            self.writing.transact(n, &[], held)?;
            self.told = Some(now);
        }
        Ok(())
    }
}

impl Committer for Commits {
    fn recovered(&mut self, rows: u64) -> Result<()> {
        let there = self.forgotten.as_ref().map_or(self.held, |census| Some(census.held)).unwrap_or_default();
        self.total = Held { rows, digest: self.found.load(Ordering::SeqCst) };
        if there != self.total {
            return Err(self.strange(there.rows, rows));
        }
        if self.forgotten.take().is_some() {
            // Any number from the topic's own last commit to the last of all says the same.
            (self.writing.shown, self.held) = (Some(self.known), Some(there));
        }
        self.remind()
    }

    fn stage(&mut self, n: u64, parts: Vec<Box<dyn Any + Send>>) -> Result<Option<serde_json::Value>> {
        let mut lines = Vec::new();
        for part in parts {
            let part = part.downcast::<Part>().map_err(|_| Error::internal("Kafka was handed another sink's rows"))?;
            self.total.add(part.more);
            lines.extend(part.lines);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let mut content = Content { held: self.total, bytes: lines.len() as u64, lines: None, object: None };
        if let Some(store) = &self.staging {
            if lines.len() <= INLINE {
                content.lines = Some(String::from_utf8_lossy(&lines).into_owned());
            } else {
                // The generation keeps a run that doesn't know of its end from writing over what its successor stages.
                let object = format!("{}-{n}.json", self.generation);
                store.put(&object, &lines)?;
                content.object = Some(object);
            }
        }
        self.staged = Some((n, lines));
        let content = serde_json::to_value(&content);
        content
            .map(Some)
            .map_err(|e| Error::internal(format!("can't record commit {n} of {}", self.writing.topic.name())).because(e))
    }

    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()> {
        let content = Content::deserialize(content).map_err(|e| self.wrong(n, "its record is damaged").because(e))?;
        self.committed |= self.staged.as_ref().is_some_and(|(staged, _)| *staged == n);
        let shown = self.shown(n, &content)?;
        self.forgotten = None;
        if shown < n {
            // Until it is known what came of it.
            self.writing.shown = None;
            self.writing.transact(n, &self.lines(n, &content)?, content.held)?;
            self.told = Some((self.clock)());
        }
        (self.writing.shown, self.held, self.staged) = (Some(shown.max(n)), Some(content.held), None);
        if let (Some(object), Some(store)) = (&content.object, &self.staging) {
            store.delete(object)?;
        }
        Ok(())
    }

    /// Reminds the group, and takes away what earlier runs staged and never committed.
    fn maintain(&mut self) -> Result<Option<Chore>> {
        // Not a chore: no transaction is made beside another.
        self.remind()?;
        // Not before a commit of this run: until then the last one of an earlier run may be needed.
        let Some(store) = self.staging.clone().filter(|_| !self.tidy && self.committed) else { return Ok(None) };
        let now = self.generation;
        Ok(Some(Box::new(move || {
            for (name, _) in store.list("")? {
                let generation = name.split_once('-').and_then(|(generation, _)| generation.parse::<u64>().ok());
                if generation.is_some_and(|generation| generation < now) {
                    store.delete(&name)?;
                }
            }
            Ok(Box::new(()))
        })))
    }

    fn maintained(&mut self, _done: Box<dyn Any + Send>) -> Result<()> {
        self.tidy = true;
        Ok(())
    }
}
