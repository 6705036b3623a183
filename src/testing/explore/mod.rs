//! [`explore`]: random runs of a topology over the same records must make the same rows.

mod schedule;
mod trial;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::connect::memory::StoredRecord;
use crate::error::{Error, Result};
use crate::row::Value;
use crate::time::Timestamp;
use crate::topology::Topology;

use schedule::Schedule;

/// The trials of one smaller feed.
const TRIALS_OF_A_FEED: u64 = 5;
/// The trials of all smaller feeds after a failure.
const SMALLER_TRIALS_MAX: u64 = 200;
/// The rows of each side of a difference that are printed.
const PRINTED_ROWS_MAX: usize = 4;

/// The records of a test, in the order of each partition.
///
/// ```
/// use watershed::testing::Feed;
///
/// let mut feed = Feed::default();
/// feed.push("words", 0, Some(b"a"), Some(b"tea"));
/// feed.push("words", 1, Some(b"a"), None);
/// assert_eq!(feed.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    records: Vec<FeedRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FeedRecord {
    topic: String,
    partition: u32,
    timestamp: Option<Timestamp>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl FeedRecord {
    /// Returns the record as a log in memory stores it.
    fn stored(&self) -> StoredRecord {
        let FeedRecord { timestamp, key, value, .. } = self.clone();
        StoredRecord { timestamp, key, value }
    }
}

impl Feed {
    /// Appends a record without a timestamp to a partition.
    pub fn push(&mut self, topic: &str, partition: u32, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_at(topic, partition, None, key, value);
    }

    /// Appends a record to a partition, with a timestamp or without.
    pub fn push_at(
        &mut self,
        topic: &str,
        partition: u32,
        timestamp: impl Into<Option<Timestamp>>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let (topic, timestamp) = (topic.to_string(), timestamp.into());
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        self.records.push(FeedRecord { topic, partition, timestamp, key, value });
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns true if there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the records of each partition of these topics.
    fn partitions(&self, topics: &[String]) -> Vec<FeedPartition<'_>> {
        let mut partitions: BTreeMap<(usize, u32), Vec<&FeedRecord>> = BTreeMap::new();
        for record in &self.records {
            if let Some(topic) = topics.iter().position(|topic| *topic == record.topic) {
                partitions.entry((topic, record.partition)).or_default().push(record);
            }
        }
        let partition = |((topic, partition), records): ((usize, u32), _)| FeedPartition {
            topic: topics[topic].clone(),
            partition,
            records,
        };
        partitions.into_iter().map(partition).collect()
    }

    /// Returns the feed without `count` records from `first` on.
    fn without(&self, first: usize, count: usize) -> Feed {
        let kept = |n: &usize| !(first..first + count).contains(n);
        let records = (0..self.len()).filter(kept).map(|n| self.records[n].clone());
        Feed { records: records.collect() }
    }
}

/// The records of one partition.
struct FeedPartition<'a> {
    topic: String,
    partition: u32,
    records: Vec<&'a FeedRecord>,
}

/// By topic, the rows that a run has made, sorted.
type Rows = BTreeMap<String, Vec<Vec<Value>>>;

/// The results of a run.
struct Outcome {
    rows: Rows,
    /// By step, the number of records that it has left out because they were late; none for a run
    /// that was stopped before it had read the records of earlier ones again.
    late: Option<BTreeMap<String, u64>>,
}

/// Runs a topology `runs` times over the same records. All runs must make the same rows in each
/// topic that it writes, and each step must have the same number of late records.
///
/// The first run has one worker, and all records are in one epoch. In each other run all of this is
/// random: the number of processes and workers, and the encoding of rows between them; the batches
/// and epochs; the order between partitions, while that within a partition stays; and kills, after
/// which the next run continues from the state, with a snapshot or without. Run number `n` depends
/// only on `seed + n`.
///
/// Topologies whose results depend on where epochs end, such as those with
/// [`to_stream`](crate::KTable::to_stream), are expected to fail.
///
/// ```
/// use watershed::prelude::*;
/// use watershed::testing::{Feed, explore};
///
/// let mut feed = Feed::default();
/// for n in 0..20 {
///     feed.push("numbers", n % 3, Some(b"1"), Some(n.to_string().as_bytes()));
/// }
/// let sums = Topology::new("sums", |builder: &StreamsBuilder<'_>| {
///     let numbers = builder.stream::<i64, i64>("numbers", Consumed::with(Json, Json));
///     numbers.group_by_key().sum(|n| *n).to("sums", Produced::columns(["id", "sum"]));
/// });
/// explore(&sums, &feed, 7, 30)?;
///
/// // A closure with a memory of its own depends on everything.
/// let firsts = Topology::new("firsts", |builder: &StreamsBuilder<'_>| {
///     let numbers = builder.stream::<i64, i64>("numbers", Consumed::with(Json, Json));
///     let seen = std::cell::Cell::new(false);
///     let firsts = numbers.filter(move |_, _| !seen.replace(true));
///     firsts.to("firsts", Produced::columns(["id", "n"]));
/// });
/// let error = explore(&firsts, &feed, 7, 30).unwrap_err().to_string();
/// assert!(error.starts_with("can't make the same rows of topic firsts again"), "{error}");
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// When two runs differ, or a run fails. The error has the seed of the run, and the smallest feed
/// that was found to fail too. Also when the topology has a mistake.
pub fn explore(topology: &Topology, feed: &Feed, seed: u64, runs: usize) -> Result<()> {
    let expected = trial::run(topology, feed, &Schedule::plain(feed, topology))?;
    for seed in (seed..).take(runs) {
        if let Some(found) = compare(topology, feed, &expected, seed) {
            return Err(explained(smallest(topology, feed, found), seed));
        }
    }
    Ok(())
}

/// A run with another outcome than the first one.
struct Found {
    feed: Feed,
    schedule: Schedule,
    difference: Difference,
}

enum Difference {
    /// The rows of a topic differ.
    Rows { topic: String, expected: Vec<Vec<Value>>, found: Vec<Vec<Value>> },
    /// The numbers of late records differ.
    Late { expected: BTreeMap<String, u64>, found: BTreeMap<String, u64> },
    /// The run has failed.
    Failed(Error),
}

/// Runs the topology as the seed decides, and compares the outcome.
fn compare(topology: &Topology, feed: &Feed, expected: &Outcome, seed: u64) -> Option<Found> {
    let schedule = Schedule::draw(feed, topology, seed);
    let difference = match trial::run(topology, feed, &schedule) {
        Err(error) => Difference::Failed(error),
        Ok(found) => difference(expected, found)?,
    };
    Some(Found { feed: feed.clone(), schedule, difference })
}

fn difference(expected: &Outcome, found: Outcome) -> Option<Difference> {
    let mut rows = found.rows.into_iter();
    if let Some((topic, found)) = rows.find(|(topic, rows)| expected.rows[topic] != *rows) {
        let expected = expected.rows[&topic].clone();
        return Some(Difference::Rows { topic, expected, found });
    }
    let (expected, found) = (expected.late.clone()?, found.late?);
    (expected != found).then_some(Difference::Late { expected, found })
}

/// Takes records out as long as a run still fails.
fn smallest(topology: &Topology, feed: &Feed, mut found: Found) -> Found {
    let mut left = SMALLER_TRIALS_MAX;
    let mut count = feed.len().div_ceil(2);
    while count > 0 {
        let mut first = 0;
        while first < found.feed.len() && left > 0 {
            let smaller = found.feed.without(first, count);
            let plain = trial::run(topology, &smaller, &Schedule::plain(&smaller, topology));
            let again = plain.ok().and_then(|expected| {
                let mut seeds = 0..TRIALS_OF_A_FEED.min(left);
                let failed = seeds.find_map(|seed| compare(topology, &smaller, &expected, seed));
                left -= seeds.start;
                failed
            });
            match again {
                Some(again) => found = again,
                None => first += count,
            }
        }
        count /= 2;
    }
    found
}

/// Returns the error that reports a difference.
fn explained(found: Found, seed: u64) -> Error {
    let Found { feed, schedule, difference } = found;
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write!(text, "of {} records in the smallest feed that fails,", feed.len());
    let (message, cause) = match difference {
        Difference::Rows { topic, expected, found } => {
            let only = |of: &[Vec<Value>], other: &[Vec<Value>]| {
                let mut other = other.to_vec();
                let is_extra = |row: &&Vec<Value>| match other.iter().position(|it| it == *row) {
                    Some(at) => {
                        other.swap_remove(at);
                        false
                    }
                    None => true,
                };
                let rows: Vec<_> = of.iter().filter(is_extra).take(PRINTED_ROWS_MAX).collect();
                format!("{rows:?}")
            };
            let (lacks, has) = (only(&expected, &found), only(&found, &expected));
            let _ = write!(text, " {schedule}, lacks the rows {lacks} and has {has}");
            (format!("can't make the same rows of topic {topic} again"), text)
        }
        Difference::Late { expected, found } => {
            let _ = write!(text, " {schedule}, lacks {expected:?} and has {found:?}");
            ("can't count the same late records of each step again".to_string(), text)
        }
        Difference::Failed(error) => {
            let _ = write!(text, " {schedule}, fails: {error}");
            ("can't run the topology again over the same records".to_string(), text)
        }
    };
    let mut cause = cause;
    for FeedRecord { topic, partition, timestamp, key, value } in &feed.records {
        let text = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
            None => "null".to_string(),
        };
        let (key, value) = (text(key), text(value));
        let at = timestamp.map_or(String::new(), |at| format!(" at {}", at.0));
        let _ = write!(cause, "; {topic}/{partition}: {key} = {value}{at}");
    }
    let again = format!("Repeat it with the seed {seed} and one run over all records.");
    Error::data(message).because(cause).hint(again)
}
