//! Streams that are split and merged at random between, during and after runs. No record is lost or
//! duplicated, and the records of each key stay in order.

use std::collections::BTreeMap;
use std::ops::Range;

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

use super::super::KinesisStream;
use super::super::api::CallErrorKind;
use super::fake::Fake;
use crate::connect::{Partition, Poll, Source};

/// The number of hashes that keys may have.
const HASHES: u64 = 1 << 20;

/// A random generator with a seed.
struct Dice(Pcg64Mcg);

impl Dice {
    fn new(seed: u64) -> Self {
        Dice(Pcg64Mcg::seed_from_u64(seed))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }
}

/// The records that a run reads, and the state that it commits, as in the runtime.
#[derive(Default)]
struct Commit {
    bounds: BTreeMap<u32, (u64, u64)>,
    memory: Value,
    /// Every record in the order of reading.
    records: Vec<(u32, u64, String, u64)>,
}

/// A run that continues from a commit.
struct Run {
    source: KinesisStream,
    readers: BTreeMap<u32, Box<dyn Partition>>,
    commit: Commit,
}

impl Run {
    fn start(fake: &Fake, last: &Commit, follow: bool) -> Run {
        let source = fake.stream();
        source.restore(&last.memory).unwrap();
        let mut run = Run { source, readers: BTreeMap::new(), commit: Commit::default() };
        let listed = run.source.partitions().unwrap();
        for (shard, (from, to)) in &last.bounds {
            let mut reader = run.source.open(*shard, Some(*from), false).unwrap();
            let mut at = *from;
            while at < *to {
                match reader.poll().unwrap() {
                    Poll::Batch(mut batch) => {
                        at = batch.next;
                        batch.split_off(*to);
                        run.take(&batch);
                    }
                    Poll::Idle => assert!(reader.wait(std::time::Duration::from_secs(10))),
                    Poll::End => panic!("shard {shard} ends at {at}, but was read up to {to}"),
                }
            }
            run.readers.insert(*shard, run.source.open(*shard, Some(*to), follow).unwrap());
        }
        for shard in listed {
            run.open(shard, follow);
        }
        run
    }

    fn open(&mut self, shard: u32, follow: bool) {
        if !self.readers.contains_key(&shard) && !self.commit.bounds.contains_key(&shard) {
            self.readers.insert(shard, self.source.open(shard, None, follow).unwrap());
        }
    }

    fn take(&mut self, batch: &crate::record::Batch) {
        self.commit.bounds.entry(batch.partition).or_insert((batch.first, batch.first)).1 =
            batch.next;
        for record in batch.iter(0) {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            let (key, value) = (text(record.key), text(record.value).parse().unwrap());
            self.commit.records.push((batch.partition, record.order.offset, key, value));
        }
    }

    /// Polls a random reader once.
    fn step(&mut self, dice: &mut Dice) {
        let at = dice.below(self.readers.len().max(1) as u64) as usize;
        let Some((shard, reader)) = self.readers.iter_mut().nth(at) else { return };
        let shard = *shard;
        match reader.poll().unwrap() {
            Poll::Batch(batch) => self.take(&batch),
            Poll::Idle => assert!(reader.wait(std::time::Duration::from_millis(1))),
            Poll::End => drop(self.readers.remove(&shard)),
        }
    }

    fn commit(self) -> Commit {
        let ends = self.commit.bounds.iter().map(|(shard, (_, to))| (*shard, *to)).collect();
        Commit { memory: self.source.state(&ends), ..self.commit }
    }
}

/// Writes numbers to the stream, ascending for each key.
struct Writer {
    fake: Fake,
    /// The hashes of the keys that go to each open shard.
    ranges: BTreeMap<u32, Range<u64>>,
    written: BTreeMap<String, u64>,
    total: usize,
}

impl Writer {
    fn new(fake: &Fake, shards: u32) -> Self {
        let end = |shard: u32| u64::from(shard) * HASHES / u64::from(shards);
        let ranges = (0..shards).map(|shard| (shard, end(shard)..end(shard + 1))).collect();
        Writer { fake: fake.clone(), ranges, written: BTreeMap::new(), total: 0 }
    }

    fn write(&mut self, dice: &mut Dice) {
        for _ in 0..dice.below(12) {
            let hash = dice.below(7) * HASHES / 7;
            let (shard, _) = self.ranges.iter().find(|(_, range)| range.contains(&hash)).unwrap();
            let key = format!("k{hash}");
            let next = self.written.entry(key.clone()).or_default();
            self.fake.append(*shard, &key, next.to_string());
            (*next, self.total) = (*next + 1, self.total + 1);
        }
    }

    fn reshard(&mut self, dice: &mut Dice) {
        let mut open: Vec<u32> = self.ranges.keys().copied().collect();
        open.sort_by_key(|shard| self.ranges[shard].start);
        let at = dice.below(open.len() as u64) as usize;
        match dice.below(3) {
            0 if at + 1 < open.len() => self.merge(open[at], open[at + 1]),
            // Change the number of shards: split all at once.
            1 if open.len() < 5 => open.iter().for_each(|shard| self.split(*shard)),
            _ => self.split(open[at]),
        }
    }

    fn split(&mut self, shard: u32) {
        let Range { start, end } = self.ranges.remove(&shard).unwrap();
        let half = (start + end) / 2;
        let children = self.fake.reshard(&[shard], 2);
        self.ranges.extend(children.zip([start..half, half..end]));
    }

    fn merge(&mut self, one: u32, other: u32) {
        let range =
            self.ranges.remove(&one).unwrap().start..self.ranges.remove(&other).unwrap().end;
        let child = self.fake.reshard(&[one, other], 1);
        self.ranges.extend(child.zip([range]));
    }

    fn check(&self, commit: &Commit, seed: u64) {
        let mut places = BTreeMap::new();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (shard, offset, key, value) in &commit.records {
            assert!(
                places.insert((*offset, *shard), (key, value)).is_none(),
                "seed {seed}: offset {offset} is twice"
            );
            *counts.entry(key).or_default() += 1;
        }
        // By offset, the numbers of each key ascend without a gap: none is lost, duplicated, or out
        // of order.
        let mut next: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, value) in places.into_values() {
            let expected = next.entry(key).or_default();
            assert_eq!(value, expected, "seed {seed}: a record of {key}");
            *expected += 1;
        }
        assert_eq!(counts, next);
    }
}

#[test]
fn a_stream_with_random_splits_is_read_once_and_in_order() {
    for seed in 0..24 {
        let mut dice = Dice::new(seed);
        let shards = 1 + dice.below(3) as u32;
        let fake = Fake::of(shards);
        fake.with(|stream| {
            (stream.page, stream.empty) = (1 + dice.below(5) as usize, dice.below(2) as usize)
        });
        let mut writer = Writer::new(&fake, shards);
        let mut last = Commit::default();
        for _ in 0..1 + dice.below(5) {
            let mut run = Run::start(&fake, &last, true);
            let again: Vec<_> = run.commit.records.clone();
            assert_eq!(
                sorted(&again),
                sorted(&last.records),
                "seed {seed}: the same records are read again"
            );
            for _ in 0..dice.below(60) {
                match dice.below(12) {
                    0 => writer.reshard(&mut dice),
                    1 | 2 => writer.write(&mut dice),
                    3 => run
                        .source
                        .partitions()
                        .unwrap()
                        .into_iter()
                        .for_each(|shard| run.open(shard, true)),
                    4 => fake.expire(),
                    5 if dice.below(8) == 0 => {
                        fake.with(|stream| stream.failures.push_back(CallErrorKind::Transient))
                    }
                    _ => run.step(&mut dice),
                }
            }
            fake.with(|stream| stream.failures.clear());
            last = run.commit();
            if dice.below(2) == 0 {
                writer.reshard(&mut dice);
                writer.write(&mut dice);
            }
        }
        let mut run = Run::start(&fake, &last, false);
        while !run.readers.is_empty() {
            run.step(&mut dice);
        }
        let all = run.commit();
        assert_eq!(all.records.len(), writer.total, "seed {seed}");
        writer.check(&all, seed);
    }
}

fn sorted(records: &[(u32, u64, String, u64)]) -> Vec<&(u32, u64, String, u64)> {
    let mut sorted: Vec<_> = records.iter().collect();
    sorted.sort();
    sorted
}
