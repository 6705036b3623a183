//! Reads partitions, each with a consumer of its own. Partitions are assigned; no topic is
//! subscribed.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers;
use rdkafka::{Offset, TopicPartitionList};

use crate::connect::{Identity, Partition, Poll, Source};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::faults;
use crate::record::Batch;
use crate::time::Timestamp;

use super::KafkaTopic;
use super::client::{self, Context, Discovery};
use super::codes;
use crate::sync::lock;

/// A batch ends after this many bytes or records.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_RECORDS: usize = 4096;
/// Bounds of the consumers' queues: for all partitions of a topic together, and the least and the
/// most for one.
const QUEUES_KIB: usize = 64 << 10;
const QUEUE_MIN_KIB: usize = 1 << 10;
const QUEUE_MAX_KIB: usize = 16 << 10;
/// Every tenth refresh also compares all offsets, and the last records read, with those before.
const VERIFY_EVERY: u32 = 10;

impl Source for KafkaTopic {
    fn describe(&self) -> String {
        self.name()
    }

    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![self.identity()?])
    }

    /// Returns the last known partitions while no broker replies.
    fn partitions(&self) -> Result<Vec<u32>> {
        self.discover(Verification::Periodic)
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let name = format!("{}, partition {partition}", self.name());
        let known = self.partitions()?;
        if !known.contains(&partition) {
            return Err(Error::data(format!(
                "can't read {name}: the topic has {} partitions",
                known.len()
            ))
            .hint("The topic was recreated: restore it, or begin anew.")
            .advise(Advice::BeginAnew));
        }
        let consumer = self
            .consumer((QUEUES_KIB / known.len().max(1)).clamp(QUEUE_MIN_KIB, QUEUE_MAX_KIB), &[])?;
        let Range { start: low, end: high } =
            client::watermarks(&consumer, &self.topic, &self.name(), partition)?;
        let skipped = u64::from(faults::bug("skipped_offset"));
        let next = from.map_or(low, |from| (from + skipped).min(high.max(from)));
        if next < low || next > high {
            let (why, hint) = match next < low {
                true => {
                    let hint = "Retention has deleted the records before it, and Kafka can't \
                                restore them. Begin anew, and read an archive that has them if \
                                there is one.";
                    (format!("it begins at {low}"), hint)
                }
                false => (
                    format!("it ends at {high}"),
                    "The topic was recreated or lost records: restore it, or begin anew.",
                ),
            };
            let message = format!("can't read {name} from offset {next}: {why}");
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
            high,
            unreachable: false,
            stopped: None,
            records_read: 0,
            bytes_read: 0,
        }))
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        let known = self.partitions()?.contains(&partition);
        let discovery = lock(&self.discovery);
        let Some(discovery) = discovery.as_ref().filter(|_| known) else { return Ok(None) };
        client::watermarks(&discovery.consumer, &self.topic, &self.name(), partition).map(Some)
    }

    fn committed(&self, ends: &BTreeMap<u32, u64>) {
        if let Some(group) = &self.lag_group {
            group.commit(self, ends);
        }
    }
}

/// The time at which a refresh also verifies the topic.
#[derive(Clone, Copy, PartialEq)]
enum Verification {
    Periodic,
    Now,
}

impl KafkaTopic {
    /// Returns the topic's name with the cluster's id, which does not depend on the brokers named.
    ///
    /// librdkafka also has an id of the topic, but rdkafka does not expose it. A recreated topic is
    /// recognised by its contents.
    pub(super) fn identity(&self) -> Result<Identity> {
        self.discover(Verification::Periodic)?;
        let discovery = lock(&self.discovery);
        let cluster = discovery.as_ref().and_then(|discovery| {
            discovery.consumer.client().fetch_cluster_id(client::REQUEST_TIMEOUT)
        });
        let identity = Identity::new(format!("kafka topic {}", self.topic));
        Ok(match cluster {
            Some(cluster) => identity.with_id(format!("cluster {cluster}")),
            None => identity,
        })
    }

    /// Returns a consumer with a queue of `kib` KiB.
    pub(super) fn consumer(
        &self,
        kib: usize,
        more: &[(&str, &str)],
    ) -> Result<BaseConsumer<Context>> {
        let kib = kib.to_string();
        self.settings.client(
            &self.name(),
            &[
                &[
                    // librdkafka requires a group to assign partitions. No member joins it.
                    ("group.id", "watershed"),
                    ("enable.auto.commit", "false"),
                    ("enable.auto.offset.store", "false"),
                    // An offset out of range is an error: never continue somewhere else.
                    ("auto.offset.reset", "error"),
                    ("isolation.level", "read_committed"),
                    ("enable.partition.eof", "true"),
                    ("check.crcs", "true"),
                    ("allow.auto.create.topics", "false"),
                    ("queued.max.messages.kbytes", &kib),
                    ("queued.min.messages", "20000"),
                    // The default of a second would stop the stream each time the queue was full.
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
            .hint("Create it, or name another one: the connector creates no topics.")
    }

    /// Refreshes the partitions. Returns the last known ones while no broker replies.
    fn discover(&self, verification: Verification) -> Result<Vec<u32>> {
        let mut discovery = lock(&self.discovery);
        let discovery = match &mut *discovery {
            Some(discovery) => discovery,
            none => {
                // This client has no group: it only sends requests, and closes at once.
                let consumer =
                    self.settings.client(&self.name(), &[("allow.auto.create.topics", "false")])?;
                let partitions = client::partitions(&consumer, &self.topic, &self.name())?
                    .ok_or_else(|| self.missing())?;
                none.insert(Discovery {
                    consumer,
                    partitions,
                    watermarks: BTreeMap::new(),
                    refreshes: 0,
                    unreachable: false,
                    verifier: None,
                })
            }
        };
        match self.refresh(discovery, verification) {
            Err(error) if error.kind() == ErrorKind::Connect => {
                if !mem::replace(&mut discovery.unreachable, true) {
                    tracing::warn!(topic = self.name(), %error, "waiting for a broker");
                }
            }
            Err(error) => return Err(error),
            Ok(()) => discovery.unreachable = false,
        }
        Ok(discovery.partitions.clone())
    }

    /// Refreshes the discovery, and verifies the topic if that is due.
    fn refresh(&self, discovery: &mut Discovery, verification: Verification) -> Result<()> {
        if discovery.refreshes > 0 {
            let now = client::partitions(&discovery.consumer, &self.topic, &self.name())?
                .unwrap_or_default();
            if now.len() < discovery.partitions.len() {
                return Err(self.recreated(&format!(
                    "it had {} partitions, and now has {}",
                    discovery.partitions.len(),
                    now.len()
                )));
            }
            discovery.partitions = now;
        }
        discovery.refreshes += 1;
        if !discovery.refreshes.is_multiple_of(VERIFY_EVERY)
            && !discovery.unreachable
            && verification == Verification::Periodic
        {
            return Ok(());
        }
        for partition in &discovery.partitions {
            let now =
                client::watermarks(&discovery.consumer, &self.topic, &self.name(), *partition)?;
            if let Some(before) = discovery.watermarks.insert(*partition, now.clone())
                && (now.start < before.start || now.end < before.end)
            {
                return Err(self.recreated(&format!(
                    "partition {partition} went back from {before:?} to {now:?}"
                )));
            }
        }
        self.verify(discovery, discovery.refreshes / VERIFY_EVERY)
    }
}

/// A reader of one partition.
struct Reader {
    topic: KafkaTopic,
    consumer: BaseConsumer<Context>,
    name: String,
    /// The records of the next batch. Its `next` is the offset after the last one read.
    batch: Batch,
    /// The offset at which the reading ends: the end of the partition when it was opened.
    end: Option<u64>,
    /// The end of the partition when it was opened, for progress.
    high: u64,
    /// True while the broker does not reply.
    unreachable: bool,
    /// The error that stopped the reading, until it is returned.
    stopped: Option<Error>,
    /// Totals so far; their quotient estimates the remaining bytes.
    records_read: u64,
    bytes_read: u64,
}

impl Reader {
    fn ended(&self) -> bool {
        self.end.is_some_and(|end| self.batch.next >= end)
    }

    /// Takes one event of the consumer, and blocks for `timeout` at most. Returns false if there is
    /// none.
    fn read_event(&mut self, timeout: Duration) -> Result<bool> {
        match self.consumer.poll(timeout) {
            None => return Ok(false),
            Some(Ok(message)) => {
                let offset = message.offset() as u64;
                if offset < self.batch.next {
                    return Err(Error::data(format!(
                        "{} went back from {} to {offset}",
                        self.name, self.batch.next
                    ))
                    .hint("The topic was recreated: begin anew.")
                    .advise(Advice::BeginAnew));
                }
                if self.end.is_some_and(|end| offset >= end) {
                    // The record is newer than the end. Up to the end there are no more records.
                    self.end = Some(self.batch.next);
                    return Ok(false);
                }
                self.unreachable = false;
                let timestamp = message.timestamp().to_millis().map(Timestamp::from_millis);
                self.batch.push(offset, timestamp, message.key(), message.payload());
                for header in message.headers().into_iter().flat_map(Headers::iter) {
                    self.batch.push_header(header.key, header.value);
                }
                self.batch.next = offset + 1;
            }
            // Everything committed has been read. Up to the end there are only markers, or records
            // of an open transaction.
            Some(Err(KafkaError::PartitionEOF(_))) => self.end = self.end.map(|_| self.batch.next),
            Some(Err(error)) if codes::is_transient(&error) => {
                if codes::is_unknown_topic(&error) {
                    self.topic.discover(Verification::Now)?;
                }
                if !mem::replace(&mut self.unreachable, true) {
                    tracing::warn!(partition = self.name, %error, "waiting for a broker");
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
            && self.batch.bytes.len() < BATCH_BYTES
            && self.batch.records.len() < BATCH_RECORDS
        {
            match self.read_event(Duration::ZERO) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.stopped = Some(error),
            }
        }
        if !self.batch.records.is_empty() {
            let (partition, next) = (self.batch.partition, self.batch.next);
            let rest = Batch { partition, first: next, next, ..Batch::default() };
            let batch = mem::replace(&mut self.batch, rest);
            self.topic.fingerprints.record(&batch);
            self.records_read += batch.records.len() as u64;
            self.bytes_read += batch.bytes.len() as u64;
            return Ok(Poll::Batch(batch));
        }
        match self.stopped.take() {
            Some(error) => Err(error),
            None if self.ended() => Ok(Poll::End),
            None => Ok(Poll::Idle),
        }
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        if self.stopped.is_none()
            && !self.ended()
            && self.batch.records.is_empty()
            && let Err(error) = self.read_event(timeout)
        {
            self.stopped = Some(error);
        }
        true
    }

    fn remaining(&self) -> u64 {
        if self.ended() {
            return 0;
        }
        self.high
            .saturating_sub(self.batch.next)
            .saturating_mul(self.bytes_read / self.records_read.max(1))
    }
}
