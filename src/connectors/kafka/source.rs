//! Reading: a consumer a partition, which is assigned and never subscribed, in batches of about a
//! megabyte.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::sync::PoisonError;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers;
use rdkafka::{Offset, TopicPartitionList};

use crate::connect::{Identity, Partition, Poll, Source};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::record::Batch;
use crate::time::Timestamp;

use super::KafkaTopic;
use super::client::{self, Context, Scout};
use super::codes;

/// After how many bytes or records a batch is handed over.
const CHUNK: usize = 1 << 20;
const RECORDS: usize = 4096;
/// What all partitions of a topic together may read ahead, and the least and the most for one, in
/// KiB.
const AHEAD: usize = 64 << 10;
const LEAST: usize = 1 << 10;
const MOST: usize = 16 << 10;
/// Every how many looks the ends of all partitions, and what was read, are compared with those
/// before.
const COMPARE: u32 = 10;

impl Source for KafkaTopic {
    fn describe(&self) -> String {
        self.name()
    }

    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![self.identity()?])
    }

    /// While no broker answers, those that were there before.
    fn partitions(&self) -> Result<Vec<u32>> {
        self.survey(false)
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let name = format!("{}, partition {partition}", self.name());
        let known = self.partitions()?;
        if !known.contains(&partition) {
            return Err(Error::data(format!(
                "can't read {name}: the topic has {} partitions",
                known.len()
            ))
            .hint("It was made anew: restore it, or begin anew with another state."));
        }
        let consumer = self.consumer((AHEAD / known.len().max(1)).clamp(LEAST, MOST), &[])?;
        let (low, high) = client::ends(&consumer, &self.topic, &self.name(), partition)?;
        let next = from.unwrap_or(low);
        if next < low || next > high {
            let (what, hint) = match next < low {
                true => {
                    let hint = "Its retention took the records before, and Kafka has no way to \
                                give them back: begin anew, from an archive that has them if there \
                                is one.";
                    (format!("it begins at {low}"), hint)
                }
                false => (
                    format!("it ends at {high}"),
                    "The topic was made anew or lost records: restore it, or begin anew.",
                ),
            };
            let message = format!("can't read {name} from offset {next}: {what}");
            return Err(Error::data(message).hint(hint).advise(Advice::BeginAnew));
        }
        let failed =
            |error: KafkaError| consumer.context().error(&format!("can't read {name}"), &error);
        let mut assigned = TopicPartitionList::new();
        let at = Offset::Offset(next as i64);
        assigned.add_partition_offset(&self.topic, partition as i32, at).map_err(failed)?;
        consumer.assign(&assigned).map_err(failed)?;
        let batch = Batch { partition, first: next, next, ..Batch::default() };
        let (topic, end) = (self.clone(), (!follow).then_some(high));
        Ok(Box::new(Reader {
            topic,
            consumer,
            name,
            batch,
            end,
            known: high,
            blind: false,
            stopped: None,
            read: (0, 0),
        }))
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        let known = self.partitions()?.contains(&partition);
        let scout = self.scout.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(scout) = scout.as_ref().filter(|_| known) else { return Ok(None) };
        let (low, high) = client::ends(&scout.consumer, &self.topic, &self.name(), partition)?;
        Ok(Some(low..high))
    }

    fn committed(&self, ends: &BTreeMap<u32, u64>) {
        if let Some(watch) = &self.watched {
            watch.tell(self, ends);
        }
    }
}

impl KafkaTopic {
    /// The name of the topic with the id of its cluster, whichever brokers were named. librdkafka
    /// has an id of the topic, but rdkafka does not pass it on: a topic that was made anew is found
    /// by its contents.
    pub(super) fn identity(&self) -> Result<Identity> {
        self.survey(false)?;
        let scout = self.scout.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = scout
            .as_ref()
            .and_then(|scout| scout.consumer.client().fetch_cluster_id(client::PATIENCE));
        let identity = Identity::new(format!("kafka topic {}", self.topic));
        Ok(match cluster {
            Some(cluster) => identity.with_id(format!("cluster {cluster}")),
            None => identity,
        })
    }

    /// A consumer with a queue of `kilobytes`.
    pub(super) fn consumer(
        &self,
        kilobytes: usize,
        more: &[(&str, &str)],
    ) -> Result<BaseConsumer<Context>> {
        let kilobytes = kilobytes.to_string();
        self.settings.client(
            &self.name(),
            &[
                &[
                    // Needed to assign; no member joins it.
                    ("group.id", "watershed"),
                    ("enable.auto.commit", "false"),
                    ("enable.auto.offset.store", "false"),
                    // Out of range is an error, never a jump.
                    ("auto.offset.reset", "error"),
                    ("isolation.level", "read_committed"),
                    ("enable.partition.eof", "true"),
                    ("check.crcs", "true"),
                    ("allow.auto.create.topics", "false"),
                    ("queued.max.messages.kbytes", &kilobytes),
                    ("queued.min.messages", "20000"),
                    // A second, unless told: a hole in the stream each time the queue was full.
                    ("fetch.queue.backoff.ms", "20"),
                    ("fetch.wait.max.ms", "100"),
                    ("topic.metadata.refresh.interval.ms", "30000"),
                ],
                more,
            ]
            .concat(),
        )
    }

    pub(super) fn missing(&self) -> Error {
        Error::config(format!("there is no {}", self.name()))
            .hint("Create it, or name another: nothing is created here.")
    }

    /// The partitions, those that were there before while no broker answers. With `compare` it is
    /// made sure that it is the topic that was read.
    fn survey(&self, compare: bool) -> Result<Vec<u32>> {
        let mut scout = self.scout.lock().unwrap_or_else(PoisonError::into_inner);
        let scout = match &mut *scout {
            Some(scout) => scout,
            none => {
                // Without a group: it only asks, and ends at once.
                let consumer =
                    self.settings.client(&self.name(), &[("allow.auto.create.topics", "false")])?;
                let partitions = client::partitions(&consumer, &self.topic, &self.name())?
                    .ok_or_else(|| self.missing())?;
                none.insert(Scout {
                    consumer,
                    partitions,
                    ends: BTreeMap::new(),
                    looks: 0,
                    blind: false,
                    again: None,
                })
            }
        };
        match self.look(scout, compare) {
            Err(error) if error.kind() == ErrorKind::Connect => {
                if !mem::replace(&mut scout.blind, true) {
                    tracing::warn!(topic = self.name(), %error, "wait for a broker");
                }
            }
            Err(error) => return Err(error),
            Ok(()) => scout.blind = false,
        }
        Ok(scout.partitions.clone())
    }

    /// Brings what the scout knows up to date.
    fn look(&self, scout: &mut Scout, compare: bool) -> Result<()> {
        if scout.looks > 0 {
            let now =
                client::partitions(&scout.consumer, &self.topic, &self.name())?.unwrap_or_default();
            if now.len() < scout.partitions.len() {
                return Err(self.anew(&format!(
                    "it had {} partitions, and has {}",
                    scout.partitions.len(),
                    now.len()
                )));
            }
            scout.partitions = now;
        }
        scout.looks += 1;
        if !scout.looks.is_multiple_of(COMPARE) && !scout.blind && !compare {
            return Ok(());
        }
        for partition in &scout.partitions {
            let now = client::ends(&scout.consumer, &self.topic, &self.name(), *partition)?;
            if let Some(before) = scout.ends.insert(*partition, now)
                && (now.0 < before.0 || now.1 < before.1)
            {
                return Err(self
                    .anew(&format!("partition {partition} went back from {before:?} to {now:?}")));
            }
        }
        self.retrace(scout, scout.looks / COMPARE)
    }
}

/// Reads a partition from an offset on.
struct Reader {
    topic: KafkaTopic,
    consumer: BaseConsumer<Context>,
    name: String,
    /// The records that are next: its `next` is the offset after all that was read.
    batch: Batch,
    /// Where it ends: after what was there when it was opened.
    end: Option<u64>,
    /// The end as last seen.
    known: u64,
    /// Whether a broker was missing when it was last asked.
    blind: bool,
    /// What stopped the reading, handed over once.
    stopped: Option<Error>,
    /// Records and bytes so far.
    read: (u64, u64),
}

impl Reader {
    fn ended(&self) -> bool {
        self.end.is_some_and(|end| self.batch.next >= end)
    }

    /// Takes one event, waiting for it at most for `patience`; false if there is none.
    fn take(&mut self, patience: Duration) -> Result<bool> {
        match self.consumer.poll(patience) {
            None => return Ok(false),
            Some(Ok(message)) => {
                let offset = message.offset() as u64;
                if offset < self.batch.next {
                    return Err(Error::data(format!(
                        "{} went back from {} to {offset}",
                        self.name, self.batch.next
                    ))
                    .hint("The topic was made anew: begin anew with another state."));
                }
                if self.end.is_some_and(|end| offset >= end) {
                    // It came later; what is left before the end has no records.
                    self.end = Some(self.batch.next);
                    return Ok(false);
                }
                self.blind = false;
                let timestamp = message.timestamp().to_millis().map(Timestamp::from_millis);
                self.batch.push(offset, timestamp, message.key(), message.payload());
                for header in message.headers().into_iter().flat_map(Headers::iter) {
                    self.batch.push_header(header.key, header.value);
                }
                self.batch.next = offset + 1;
            }
            // All that is committed was read; in what is left before the end no record is, or its
            // transaction is open.
            Some(Err(KafkaError::PartitionEOF(_))) => self.end = self.end.map(|_| self.batch.next),
            Some(Err(error)) if codes::is_transient(&error) => {
                if codes::is_unknown_topic(&error) {
                    self.topic.survey(true)?;
                }
                if !mem::replace(&mut self.blind, true) {
                    tracing::warn!(partition = self.name, %error, "wait for a broker");
                }
            }
            Some(Err(error)) => {
                return Err(self.consumer.context().unreadable(
                    &self.name,
                    self.batch.next,
                    &error,
                ));
            }
        }
        Ok(true)
    }
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        while self.stopped.is_none()
            && !self.ended()
            && self.batch.bytes.len() < CHUNK
            && self.batch.records.len() < RECORDS
        {
            match self.take(Duration::ZERO) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.stopped = Some(error),
            }
        }
        if !self.batch.records.is_empty() {
            let (partition, next) = (self.batch.partition, self.batch.next);
            let rest = Batch { partition, first: next, next, ..Batch::default() };
            let batch = mem::replace(&mut self.batch, rest);
            self.topic.trails.note(&batch);
            self.read =
                (self.read.0 + batch.records.len() as u64, self.read.1 + batch.bytes.len() as u64);
            return Ok(Poll::Batch(batch));
        }
        match self.stopped.take() {
            Some(error) => Err(error),
            None if self.ended() => Ok(Poll::End),
            None => Ok(Poll::Idle),
        }
    }

    fn wait(&mut self, patience: Duration) -> bool {
        if self.stopped.is_none()
            && !self.ended()
            && self.batch.records.is_empty()
            && let Err(error) = self.take(patience)
        {
            self.stopped = Some(error);
        }
        true
    }

    fn remaining(&self) -> u64 {
        if self.ended() {
            return 0;
        }
        self.known.saturating_sub(self.batch.next).saturating_mul(self.read.1 / self.read.0.max(1))
    }
}
