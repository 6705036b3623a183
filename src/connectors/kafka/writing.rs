//! One run's transactions: all records of a commit and its number, or nothing; in batches as large
//! as the topic takes them.

use std::cell::Cell;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{Error, Result};

use super::KafkaTopic;
use super::client::{Context, IN_FLIGHT};
use super::limit::{self, Step, too_large};
use super::rows::{self, Totals};
use super::sink::STEP_TIMEOUT;

/// How often one step of a transaction is tried.
const TRIES: usize = 3;
/// The most bytes that a record takes in a batch beside its own.
const AROUND: usize = 64;

/// After how many milliseconds without a word a connection is closed. librdkafka forgets a broker
/// that is missing from metadata, as one is that was away for a while, and in the middle of a
/// commit waits for it nevertheless, until some connection opens or closes
/// (confluentinc/librdkafka#5511, and #5456: its own limit of time is not kept). So one does.
const IDLE: &str = "10000";

/// One run's right to write to a topic.
pub(super) struct Writing {
    pub(super) topic: KafkaTopic,
    producer: ThreadedProducer<Context>,
    /// How large the topic takes batches: as large as the producer makes them, until one is
    /// refused.
    step: Cell<Step>,
    group: BaseConsumer<Context>,
    /// The number of the last commit that is visible; `None` if it has to be asked for.
    pub(super) shown: Option<u64>,
}

/// Why a transaction was not made.
enum Failure {
    /// Nothing of it will be seen.
    TakenBack(Error),
    /// Nothing of it will be seen, and the topic refuses one of its batches as too large.
    TooLarge(Error),
    Final(Error),
}

impl Writing {
    /// Takes over the right of the run before, which is fenced.
    pub(super) fn begin(
        topic: &KafkaTopic,
        id: &str,
        group: BaseConsumer<Context>,
    ) -> Result<Self> {
        let name = topic.name();
        let producer: ThreadedProducer<Context> = topic.settings.client(
            &name,
            &[
                ("transactional.id", id),
                ("transaction.timeout.ms", "300000"),
                ("message.timeout.ms", "290000"),
                ("partitioner", "murmur2_random"),
                ("linger.ms", "5"),
                ("batch.size", &Step::default().bytes().to_string()),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
                ("connections.max.idle.ms", IDLE),
                ("max.in.flight", IN_FLIGHT),
            ],
        )?;
        producer.init_transactions(STEP_TIMEOUT).map_err(|e| {
            producer.context().error(&format!("can't begin to write to {name}"), &e)
        })?;
        Ok(Writing { topic: topic.clone(), producer, step: Cell::default(), group, shown: None })
    }

    pub(super) fn last(&mut self) -> Result<Option<(u64, Totals)>> {
        let last = self.topic.last(&self.group)?;
        self.shown = Some(last.map_or(0, |(n, _)| n));
        Ok(last)
    }

    /// Makes the records of `lines` and the number `n` visible.
    pub(super) fn transact(&self, n: u64, lines: &[u8], held: Totals) -> Result<()> {
        let mut left = TRIES;
        loop {
            match self.attempt(n, lines, held) {
                Ok(()) => return Ok(()),
                // Only a record that is refused alone is too large.
                Err(Failure::TooLarge(error)) => {
                    let smaller = self.step.get().smaller().ok_or(error)?;
                    let limit =
                        limit::ask(&self.topic.settings, &self.topic.name(), &self.topic.topic);
                    self.step.set(limit.map(Step::within).unwrap_or_default().max(smaller));
                    tracing::warn!(
                        topic = self.topic.name(),
                        n,
                        bytes = self.step.get().bytes(),
                        "batches are too large, try smaller ones"
                    );
                }
                Err(Failure::TakenBack(error)) if left > 1 => {
                    left -= 1;
                    tracing::warn!(topic = self.topic.name(), n, %error, "the transaction was taken back, try again");
                }
                Err(Failure::TakenBack(error) | Failure::Final(error)) => return Err(error),
            }
        }
    }

    fn attempt(&self, n: u64, lines: &[u8], held: Totals) -> Result<(), Failure> {
        let topic = &self.topic.topic;
        self.producer.context().undelivered();
        self.producer.begin_transaction().map_err(|e| self.give_up(n, &e))?;
        let mut waiting = 0;
        for record in rows::records(lines) {
            let (key, value) = record.map_err(|e| {
                Failure::Final(
                    Error::data(format!(
                        "the staged records of commit {n} of {} are damaged",
                        self.topic.name()
                    ))
                    .because(e),
                )
            })?;
            let bytes =
                AROUND + key.into_iter().chain(value).map(|text| text.get().len()).sum::<usize>();
            // The producer can't be made anew with smaller batches: that would fence whoever has
            // taken over. What waits makes one.
            let step = self.step.get();
            if step > Step::default() && waiting > 0 && waiting + bytes > step.bytes() {
                self.deliver(n)?;
                waiting = 0;
            }
            waiting += bytes;
            let mut record = BaseRecord::<str, str>::to(topic);
            record.key = key.map(|key| key.get());
            record.payload = value.map(|value| value.get());
            while let Err((error, again)) = self.producer.send(record) {
                match error.rdkafka_error_code() {
                    Some(Code::QueueFull) => {}
                    // It is larger than the client's own limit, whatever its batch.
                    Some(code) if too_large(code) => return Err(Failure::Final(self.large(n))),
                    _ => return Err(self.give_up(n, &error)),
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
        let group = self
            .group
            .group_metadata()
            .ok_or_else(|| Failure::Final(Error::internal("a group without a name")))?;
        self.step(n, || self.producer.send_offsets_to_transaction(&offsets, &group, STEP_TIMEOUT))?;
        self.step(n, || self.producer.commit_transaction(STEP_TIMEOUT))
    }

    /// Waits until all that was sent is there.
    fn deliver(&self, n: u64) -> Result<(), Failure> {
        let flushed = self.producer.flush(STEP_TIMEOUT);
        let refused = self.producer.context().refused();
        refused.or(flushed.err()).map_or(Ok(()), |error| Err(self.give_up(n, &error)))
    }

    fn large(&self, n: u64) -> Error {
        Error::data(format!(
            "can't make commit {n} of {} visible: a record is larger than the topic takes",
            self.topic.name()
        ))
        .hint("Raise the topic's max.message.bytes and the property message.max.bytes.")
    }

    /// Takes a step of a transaction. One that can be repeated, as after a timeout, is: the outcome
    /// is the same.
    fn step(
        &self,
        n: u64,
        mut step: impl FnMut() -> Result<(), KafkaError>,
    ) -> Result<(), Failure> {
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
        let codes =
            [error, undelivered.as_ref().unwrap_or(error)].map(KafkaError::rdkafka_error_code);
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let is = |codes_: &[Code]| {
            codes.iter().chain([&fatal]).flatten().any(|code| codes_.contains(code))
        };
        if is(&[Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch]) {
            return Failure::Final(
                Error::superseded(format!("another run has taken over {name}"))
                    .hint("This one stops; what it had committed stands."),
            );
        }
        let large = codes.iter().flatten().any(|code| too_large(*code));
        let cause = match large {
            true => self.large(n),
            false => self.producer.context().error(&attempt, undelivered.as_ref().unwrap_or(error)),
        };
        match error {
            KafkaError::Transaction(error) if error.is_fatal() || !error.txn_requires_abort() => {
                Failure::Final(cause)
            }
            _ => match self.producer.abort_transaction(STEP_TIMEOUT) {
                Ok(()) if large => Failure::TooLarge(cause),
                Ok(()) => Failure::TakenBack(cause),
                Err(_) => Failure::Final(cause),
            },
        }
    }
}
