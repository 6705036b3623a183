//! What was read of a topic is still in it: a topic of the same name that was made anew may be
//! longer than it was.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::error::{Error, Result};
use crate::record::{Batch, Headers, Order, Record};
use crate::time::Timestamp;

use super::KafkaTopic;
use super::client::{Context, Scout};
use super::codes::{is_lost, is_transient};

/// How many partitions are read again at a time: each is as much as its producer sent at once.
const AT_ONCE: u32 = 64;
/// How long it may take, and how often it is looked.
const PATIENCE: Duration = Duration::from_millis(100);
const ROUNDS: u32 = 50;

/// A record that was read.
#[derive(Clone, Copy, PartialEq)]
struct Mark {
    offset: u64,
    digest: u64,
}

/// The records by which each partition is known again.
#[derive(Default)]
pub(super) struct Trails {
    trails: Mutex<BTreeMap<u32, Trail>>,
    /// The key of the digests. They are compared within the process only, so that it need be no
    /// state's.
    key: RandomState,
}

struct Trail {
    /// Read before the last look, and seen again in it: what came since may be another topic's.
    known: Mark,
    newest: Mark,
    /// The partition's end in that look.
    end: u64,
}

impl Trails {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Trail>> {
        self.trails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Headers are left out: of a record that is read again they come in another form.
    fn mark(&self, record: &Record<'_>) -> Mark {
        let Record { order, timestamp, key, value, cut, .. } = record;
        Mark {
            offset: order.offset,
            digest: self.key.hash_one((order.offset, timestamp, key, value, cut)),
        }
    }

    /// Notes the last record of a batch that was read.
    pub(super) fn note(&self, batch: &Batch) {
        let Some(mark) = batch.iter(0).next_back().map(|record| self.mark(&record)) else { return };
        self.lock()
            .entry(batch.partition)
            .or_insert(Trail { known: mark, newest: mark, end: 0 })
            .newest = mark;
    }
}

impl KafkaTopic {
    /// Reads what was read again, of the partitions that have moved since; `turn` says whose turn
    /// it is, where there are many.
    ///
    /// # Errors
    /// Where it is not there any more, unless retention took it: then a topic was made anew, or
    /// lost records.
    pub(super) fn retrace(&self, scout: &mut Scout, turn: u32) -> Result<()> {
        let turns = (scout.partitions.len() as u32).div_ceil(AT_ONCE).max(1);
        let ends = |partition: &u32| scout.ends.get(partition).copied().unwrap_or_default();
        let mut due: BTreeMap<u32, (Mark, Mark)> = {
            let mut trails = self.trails.lock();
            trails.retain(|partition, trail| trail.newest.offset >= ends(partition).0);
            let moved = trails.iter().filter(|(partition, trail)| {
                let still = trail.known == trail.newest && trail.end == ends(partition).1;
                !still && *partition % turns == turn % turns
            });
            // The older says more, while it is there.
            let older = |partition, trail: &Trail| {
                if trail.known.offset < ends(partition).0 { trail.newest } else { trail.known }
            };
            moved
                .map(|(partition, trail)| (*partition, (older(partition, trail), trail.newest)))
                .collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        let seen = due.clone();
        let consumer = match &scout.again {
            Some(consumer) => consumer,
            None => scout.again.insert(self.consumer(
                1,
                &[("queued.min.messages", "1"), ("fetch.message.max.bytes", "1024")],
            )?),
        };
        let failed = |error: KafkaError| {
            consumer
                .context()
                .error(&format!("can't read again what was read of {}", self.name()), &error)
        };
        let mut assigned = TopicPartitionList::new();
        for (partition, (mark, _)) in &due {
            let at = Offset::Offset(mark.offset as i64);
            assigned.add_partition_offset(&self.topic, *partition as i32, at).map_err(failed)?;
        }
        consumer.assign(&assigned).map_err(failed)?;
        let found = self.find(consumer, &mut due);
        consumer.unassign().map_err(failed)?;
        found?;
        let mut trails = self.trails.lock();
        for (partition, (_, newest)) in seen {
            if let Some(trail) = trails.get_mut(&partition) {
                (trail.known, trail.end) =
                    (newest, scout.ends.get(&partition).map_or(0, |(_, end)| *end));
            }
        }
        Ok(())
    }

    /// Takes from `due` what is found again, until nothing is left.
    fn find(
        &self,
        consumer: &BaseConsumer<Context>,
        due: &mut BTreeMap<u32, (Mark, Mark)>,
    ) -> Result<()> {
        let mut rounds = 0;
        while !due.is_empty() {
            let error = match consumer.poll(PATIENCE) {
                Some(Ok(message)) => {
                    let partition = message.partition() as u32;
                    let timestamp = message.timestamp().to_millis().map(Timestamp::from_millis);
                    let there = self.trails.mark(&Record {
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
                    // More than the first may come.
                    if let Some((mark, _)) = due.remove(&partition)
                        && mark != there
                    {
                        return Err(self.anew(&format!(
                            "partition {partition} has another record at offset {}",
                            mark.offset
                        )));
                    }
                    continue;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    match due.get(&(partition as u32)) {
                        Some((mark, _)) => {
                            return Err(self.anew(&format!(
                                "partition {partition} has no record at offset {}",
                                mark.offset
                            )));
                        }
                        None => continue,
                    }
                }
                Some(Err(error)) if is_transient(&error) => error,
                // Only where offsets are gone is it another topic.
                Some(Err(error)) if is_lost(&error) => return Err(self.anew(&error.to_string())),
                Some(Err(error)) => {
                    let offset =
                        due.values().map(|(mark, _)| mark.offset).min().unwrap_or_default();
                    return Err(consumer.context().unreadable(&self.name(), offset, &error));
                }
                None => KafkaError::MessageConsumption(Code::OperationTimedOut),
            };
            rounds += 1;
            if rounds == ROUNDS {
                let attempt = format!("can't read again what was read of {}", self.name());
                return Err(consumer.context().error(&attempt, &error));
            }
        }
        consumer.context().forget();
        Ok(())
    }

    pub(super) fn anew(&self, what: &str) -> Error {
        Error::data(format!("{} was made anew or lost records: {what}", self.name()))
            .hint("Restore it, or begin anew with another state.")
    }
}
