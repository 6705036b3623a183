//! Streams of the Kinesis server that the tests share.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value as Json;

use super::held::Held;
use super::portions::{Portion, Portions};
use super::{Address, Change, Log, REDELIVERED, TOPICS, Tally};
use crate::support::Dice;
use crate::support::proxy::Proxy;
use crate::support::shards::{World as Stream, server};

/// The longest value of a record, with room for its key.
const MAX_VALUE_BYTES: usize = 1_000_000;
/// The most shards of a stream that are open at a time. Each costs the server five calls a second.
const MAX_SHARDS: usize = 4;
/// The number of partition keys.
const KEYS: u64 = 16;

/// Three streams, and the records in them.
pub(super) struct KinesisLog {
    /// The server, as `host:port`.
    server: String,
    user: String,
    streams: BTreeMap<&'static str, Stream>,
    /// The sequence numbers of each shard's records.
    sequences: BTreeMap<(&'static str, u32), Vec<String>>,
    portions: Portions,
    held: Held,
    dice: Dice,
    tally: Tally,
}

/// Returns the position of the first record of a shard.
fn base(shard: u32) -> u64 {
    u64::from(shard) << 42
}

/// Sequence numbers are longer than any integer, so they are ordered by their length first.
fn rank(sequence: &str) -> (usize, &str) {
    (sequence.len(), sequence)
}

impl KinesisLog {
    pub(super) fn new(all: &Path, held: &Path, seed: u64) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut dice = Dice::new(seed);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let user = format!("campaign-{}-{number}", std::process::id());
        let stream = |topic| {
            let shards = 1 + dice.below(2) as u32;
            (topic, Stream::named(format!("streaming-{user}-{topic}"), shards).unwrap())
        };
        let streams = TOPICS.map(stream).into();
        KinesisLog {
            server: server().unwrap().trim_start_matches("http://").into(),
            user,
            streams,
            sequences: BTreeMap::new(),
            portions: Portions::new(all, &mut dice),
            held: Held::new(held),
            dice,
            tally: Tally::new(),
        }
    }

    /// Returns a stream with so many open shards, and these shards in the order of their keys.
    fn draw(&mut self, open: RangeInclusive<usize>) -> Option<(&Stream, Vec<u32>)> {
        let first = self.dice.below(3) as usize;
        let shards = |at| {
            let stream = &self.streams[TOPICS[at % 3]];
            let mut shards = stream.kinesis.describe(&stream.name).unwrap().shards;
            shards.retain(|shard| !shard.closed);
            shards.sort_by_key(|shard| shard.hashes);
            (stream, shards.into_iter().map(|shard| shard.number).collect::<Vec<_>>())
        };
        (first..first + 3).map(shards).find(|(_, shards)| open.contains(&shards.len()))
    }

    fn split(&mut self) -> bool {
        let drawn = self.dice.below(MAX_SHARDS as u64) as usize;
        let Some((stream, shards)) = self.draw(1..=MAX_SHARDS - 1) else { return false };
        stream.kinesis.split(&stream.name, shards[drawn % shards.len()]).unwrap();
        true
    }

    fn merge(&mut self) -> bool {
        let drawn = self.dice.below(MAX_SHARDS as u64) as usize;
        let Some((stream, shards)) = self.draw(2..=MAX_SHARDS) else { return false };
        let at = drawn % (shards.len() - 1);
        stream.kinesis.merge(&stream.name, shards[at], shards[at + 1]).unwrap();
        true
    }
}

impl Log for KinesisLog {
    fn address(&self, proxy: Option<&Proxy>) -> Address {
        let server = proxy.map_or(&*self.server, Proxy::address);
        let args = ["--from", "kinesis://eu-west-1", "--user-id", &self.user];
        Address {
            args: args.map(String::from).into(),
            environment: vec![
                ("AWS_ACCESS_KEY_ID", "test".into()),
                ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test".into()),
                ("AWS_ENDPOINT_URL_KINESIS", format!("http://{server}")),
            ],
        }
    }

    fn proxy(&self) -> Option<Proxy> {
        Some(Proxy::to(&self.server))
    }

    fn held(&self) -> &Path {
        self.held.archive()
    }

    fn left(&self) -> usize {
        self.portions.left()
    }

    fn feed(&mut self) {
        let Some(Portion { topic, values, again }) = self.portions.next(&mut self.dice) else {
            return;
        };
        let fitting = values.into_iter().filter(|value| value.len() < MAX_VALUE_BYTES);
        let dice = &mut self.dice;
        let records: Vec<_> =
            fitting.map(|value| (format!("key-{}", dice.below(KEYS)), value)).collect();
        let places = self.streams[topic].put(&records);
        let mut placed: Vec<_> = places.iter().zip(&records).collect();
        placed.sort_by_key(|(place, _)| rank(&place.sequence));
        for (place, (_, value)) in placed {
            let earlier = self.sequences.entry((topic, place.shard)).or_default();
            assert!(earlier.last().is_none_or(|last| rank(last) < rank(&place.sequence)));
            earlier.push(place.sequence.clone());
            self.held.add(topic, place.shard, base(place.shard), value);
        }
        *self.tally.entry(REDELIVERED).or_default() += u64::from(again);
    }

    fn partitions(&self) -> usize {
        let shards = |topic| self.sequences.keys().filter(|(of, _)| *of == topic).count();
        TOPICS.into_iter().map(shards).max().unwrap_or_default()
    }

    fn change(&mut self, change: Change, _lake: &Path) -> bool {
        match change {
            Change::SplitShard => self.split(),
            Change::MergeShards => self.merge(),
            Change::Retention | Change::AddPartition => false,
        }
    }

    fn first(&self, partition: u32) -> u64 {
        base(partition)
    }

    fn misplaced(&self, topic: &str, source: &Json) -> Vec<String> {
        let topic = TOPICS.into_iter().find(|known| *known == topic).unwrap();
        let mut found = Vec::new();
        for (shard, bound) in source["partitions"].as_object().unwrap() {
            let (number, to) = (shard.parse().unwrap(), bound["to"].as_u64().unwrap());
            let nothing = Vec::new();
            let sequences = self.sequences.get(&(topic, number)).unwrap_or(&nothing);
            let last = (to - base(number)).checked_sub(1).and_then(|at| sequences.get(at as usize));
            let recorded = &source["memory"][shard];
            let first = sequences.first().map(String::as_str);
            if recorded["first"].as_str() != first
                || recorded["ends"][to.to_string()].as_str() != last.map(String::as_str)
                || last.is_none()
            {
                found.push(format!(
                    "the sequence numbers {recorded} of {topic} {shard} up to {to}, which are \
                     {first:?} and {last:?}"
                ));
            }
        }
        found
    }

    fn tally(&self) -> Tally {
        self.tally.clone()
    }
}
