//! The generator as a source: its partitions, and the rate of records for a follower.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watershed::connect::{Identity, Partition, Poll, Source};
use watershed::record::Batch;
use watershed::{Error, Result};

use super::events::ROUND;
use super::{Kind, Settings};

/// Most records of a batch.
const BATCH_RECORDS: u64 = 1000;

/// The time since some fixed instant. Only the rate of a followed source depends on it.
pub(super) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A topic of generated records.
#[derive(Clone)]
pub(super) struct Generated {
    kind: Kind,
    settings: Settings,
    clock: Clock,
}

impl Generated {
    /// Returns the topic of a kind.
    pub(super) fn new(kind: Kind, settings: Settings) -> Self {
        let start = Instant::now();
        Generated { kind, settings, clock: Arc::new(move || start.elapsed()) }
    }

    /// Sets another clock.
    #[cfg(test)]
    pub(super) fn clocked(self, clock: Clock) -> Self {
        Generated { clock, ..self }
    }

    /// Returns the number of records of a partition.
    fn records(&self, partition: u32) -> u64 {
        let (all, partitions) =
            (self.kind.count(self.settings.events), u64::from(self.settings.partitions));
        all.saturating_sub(partition.into()).div_ceil(partitions)
    }
}

impl Source for Generated {
    fn describe(&self) -> String {
        let Settings { events, seed, .. } = self.settings;
        format!("generated {} of {events} events with seed {seed}", self.kind.topic())
    }

    /// Returns one identity. The number of events is not a part of it: more events continue fewer.
    fn identities(&self) -> Result<Vec<Identity>> {
        let Settings { seed, partitions, spacing_us, .. } = self.settings;
        Ok(vec![Identity::new(format!(
            "generated {}, seed {seed}, {partitions} partitions, spacing {spacing_us} us",
            self.kind.topic()
        ))])
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok((0..self.settings.partitions).collect())
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let (at, end) = (from.unwrap_or(0), self.records(partition));
        if at > end || partition >= self.settings.partitions {
            let topic = self.kind.topic();
            return Err(Error::data(format!(
                "can't generate {topic} partition {partition} from offset {at}: it ends at {end}"
            ))
            .hint("Generate as many events as before, or more."));
        }
        let pace = self.settings.rate.filter(|_| follow).map(|rate| Pace {
            clock: self.clock.clone(),
            start: (self.clock)(),
            from: at,
            records: rate * self.kind.share(),
            every: ROUND * u64::from(self.settings.partitions),
        });
        let topic = self.clone();
        Ok(Box::new(Reader { topic, partition, at, end, follow, pace }))
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        Ok(Some(0..self.records(partition)))
    }
}

/// The rate of a partition: a number of `records` per number of seconds.
struct Pace {
    clock: Clock,
    /// The time and the offset at which the partition was opened.
    start: Duration,
    from: u64,
    records: u64,
    every: u64,
}

impl Pace {
    /// Returns the offset up to which records are due.
    fn due(&self) -> u64 {
        let elapsed = (self.clock)().saturating_sub(self.start).as_micros();
        let due = elapsed * u128::from(self.records) / (u128::from(self.every) * 1_000_000);
        self.from.saturating_add(u64::try_from(due).unwrap_or(u64::MAX))
    }
}

struct Reader {
    topic: Generated,
    partition: u32,
    at: u64,
    end: u64,
    follow: bool,
    pace: Option<Pace>,
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        let due = self.pace.as_ref().map_or(self.end, |pace| pace.due().min(self.end));
        if self.at >= due {
            return Ok(if self.at < self.end || self.follow { Poll::Idle } else { Poll::End });
        }
        let Generated { kind, settings, .. } = &self.topic;
        let next = due.min(self.at + BATCH_RECORDS);
        let mut batch =
            Batch { partition: self.partition, first: self.at, next, ..Batch::default() };
        for offset in self.at..next {
            let place = offset * u64::from(settings.partitions) + u64::from(self.partition);
            let (id, time, json) = kind.record(settings, place)?;
            batch.push(offset, Some(time), Some(id.to_string().as_bytes()), Some(&json));
        }
        self.at = next;
        Ok(Poll::Batch(batch))
    }

    fn remaining(&self) -> u64 {
        /// Average bytes of a record of each kind, with the names of its fields.
        const RECORD_BYTES: [u64; 3] = [350, 650, 330];
        (self.end - self.at) * RECORD_BYTES[self.topic.kind as usize]
    }
}
