//! Detects a topic that was deleted and recreated. Its length proves nothing, so the last record
//! read is read again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::error::{Advice, Error, Result};
use crate::record::{Batch, Headers, Order, Record};
use crate::time::Timestamp;

use super::KafkaTopic;
use super::client::{Context, Discovery};
use super::codes::{is_lost, is_transient};
use crate::sync::lock;

/// The number of partitions that are verified at a time. Each fetches a whole batch of its
/// producer.
const PARTITIONS_PER_TURN: u32 = 64;
/// The time limit of one poll, and the number of polls.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_POLLS: u32 = 50;

/// Offset and digest of a record that was read.
#[derive(Clone, Copy, PartialEq)]
struct Fingerprint {
    offset: u64,
    digest: u64,
}

/// The fingerprints of each partition.
#[derive(Default)]
pub(super) struct Fingerprints {
    partitions: Mutex<BTreeMap<u32, Seen>>,
    /// The key of the digests. They are only compared within the process, so that the key need not
    /// be the state's.
    key: RandomState,
}

/// The records of a partition that were read.
struct Seen {
    /// Read before the last verification, which found it again. Later records may be those of a
    /// recreated topic.
    known: Fingerprint,
    newest: Fingerprint,
    /// The end of the partition at that verification.
    end: u64,
}

impl Fingerprints {
    fn partitions(&self) -> MutexGuard<'_, BTreeMap<u32, Seen>> {
        lock(&self.partitions)
    }

    /// Headers are left out: the two readings represent them differently.
    fn fingerprint(&self, record: &Record<'_>) -> Fingerprint {
        let Record { order, timestamp, key, value, cut, .. } = record;
        Fingerprint {
            offset: order.offset,
            digest: self.key.hash_one((order.offset, timestamp, key, value, cut)),
        }
    }

    /// Records the fingerprint of the last record of a batch.
    pub(super) fn record(&self, batch: &Batch) {
        let Some(fingerprint) = batch.iter(0).next_back().map(|record| self.fingerprint(&record))
        else {
            return;
        };
        self.partitions()
            .entry(batch.partition)
            .or_insert(Seen { known: fingerprint, newest: fingerprint, end: 0 })
            .newest = fingerprint;
    }
}

/// A partition that is verified.
#[derive(Clone, Copy)]
struct Due {
    /// The record that must still exist.
    fingerprint: Fingerprint,
    newest: Fingerprint,
}

impl KafkaTopic {
    /// Reads one record of each partition again that has changed since the last verification. If
    /// there are many partitions, `turn` selects a part of them.
    ///
    /// # Errors
    /// If the record is missing, unless retention deleted it: then the topic was recreated, or lost
    /// records.
    pub(super) fn verify(&self, discovery: &mut Discovery, turn: u32) -> Result<()> {
        let turns = (discovery.partitions.len() as u32).div_ceil(PARTITIONS_PER_TURN).max(1);
        let watermarks =
            |partition: &u32| discovery.watermarks.get(partition).cloned().unwrap_or_default();
        let mut due: BTreeMap<u32, Due> = {
            let mut seen = self.fingerprints.partitions();
            seen.retain(|partition, seen| seen.newest.offset >= watermarks(partition).start);
            let changed = seen.iter().filter(|(partition, seen)| {
                let same = seen.known == seen.newest && seen.end == watermarks(partition).end;
                !same && *partition % turns == turn % turns
            });
            // The older one proves more, as long as it exists.
            let due = |(partition, seen): (&u32, &Seen)| {
                let gone = seen.known.offset < watermarks(partition).start;
                let fingerprint = if gone { seen.newest } else { seen.known };
                (*partition, Due { fingerprint, newest: seen.newest })
            };
            changed.map(due).collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        let verified = due.clone();
        let consumer = match &discovery.verifier {
            Some(consumer) => consumer,
            None => discovery.verifier.insert(self.consumer(
                1,
                &[("queued.min.messages", "1"), ("fetch.message.max.bytes", "1024")],
            )?),
        };
        let failed = |error: KafkaError| {
            consumer
                .context()
                .error(&format!("can't read records of {} again", self.name()), &error)
        };
        let mut assigned = TopicPartitionList::new();
        for (partition, due) in &due {
            let at = Offset::Offset(due.fingerprint.offset as i64);
            assigned.add_partition_offset(&self.topic, *partition as i32, at).map_err(failed)?;
        }
        consumer.assign(&assigned).map_err(failed)?;
        let found = self.find(consumer, &mut due);
        consumer.unassign().map_err(failed)?;
        found?;
        let mut seen = self.fingerprints.partitions();
        for (partition, due) in verified {
            if let Some(seen) = seen.get_mut(&partition) {
                seen.known = due.newest;
                seen.end = discovery.watermarks.get(&partition).map_or(0, |range| range.end);
            }
        }
        Ok(())
    }

    /// Reads until each record of `due` is found again.
    fn find(&self, consumer: &BaseConsumer<Context>, due: &mut BTreeMap<u32, Due>) -> Result<()> {
        let mut polls = 0;
        while !due.is_empty() {
            let error = match consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    let partition = message.partition() as u32;
                    let timestamp = message.timestamp().to_millis().map(Timestamp::from_millis);
                    let found = self.fingerprints.fingerprint(&Record {
                        order: Order {
                            offset: message.offset() as u64,
                            partition,
                            ..Order::default()
                        },
                        timestamp,
                        key: message.key(),
                        value: message.payload(),
                        headers: Headers::default(),
                        cut: None,
                    });
                    // A fetch may return more than the first record.
                    if let Some(Due { fingerprint, .. }) = due.remove(&partition)
                        && fingerprint != found
                    {
                        return Err(self.recreated(&format!(
                            "partition {partition} has another record at offset {}",
                            fingerprint.offset
                        )));
                    }
                    continue;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    match due.get(&(partition as u32)) {
                        Some(Due { fingerprint, .. }) => {
                            return Err(self.recreated(&format!(
                                "partition {partition} has no record at offset {}",
                                fingerprint.offset
                            )));
                        }
                        None => continue,
                    }
                }
                Some(Err(error)) if is_transient(&error) => error,
                // Only missing offsets mean another topic.
                Some(Err(error)) if is_lost(&error) => {
                    return Err(self.recreated(&error.to_string()));
                }
                Some(Err(error)) => {
                    let offset =
                        due.values().map(|due| due.fingerprint.offset).min().unwrap_or_default();
                    return Err(consumer.context().unreadable(&self.name(), offset, &error));
                }
                None => KafkaError::MessageConsumption(Code::OperationTimedOut),
            };
            polls += 1;
            if polls == MAX_POLLS {
                let attempt = format!("can't read records of {} again", self.name());
                return Err(consumer.context().error(&attempt, &error));
            }
        }
        consumer.context().clear();
        Ok(())
    }

    /// Returns the error of a recreated topic.
    pub(super) fn recreated(&self, why: &str) -> Error {
        Error::data(format!("{} was recreated or lost records: {why}", self.name()))
            .hint("Restore it, or begin anew.")
            .advise(Advice::BeginAnew)
    }
}
