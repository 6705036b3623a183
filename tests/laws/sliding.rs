//! Sliding windows with a small grace, against loops over all records. The windows are those of the
//! set of records, and so are late records: for any interleaving of partitions, batches, workers
//! and processes, after each commit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use watershed::prelude::*;
use watershed::testing::{Feed, explore};

use super::seeds;
use crate::support::Dice;

const PARTITIONS: usize = 3;
const RESOLUTION_MICROS: i64 = 1_000;

/// The settings of windows and records, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Setting {
    difference: i64,
    grace: i64,
    /// The unit of timestamps.
    unit: i64,
    /// The timestamp of the first records.
    start: i64,
}

const SETTINGS: [Setting; 4] = [
    Setting { difference: 10_000, grace: 0, unit: 1_000, start: 100_000 },
    Setting { difference: 10_000, grace: 3_000, unit: 1_000, start: -7_000 },
    Setting { difference: 2_500, grace: 700, unit: 170, start: 9_000 },
    Setting { difference: 0, grace: 2_000, unit: 1_000, start: 0 },
];

/// A record of a partition.
#[derive(Clone, Debug)]
struct Visit {
    key: String,
    at: i64,
    partition_time: i64,
    n: i64,
}

impl Visit {
    fn value(&self) -> String {
        format!("[{},{}]", self.at, self.n)
    }
}

impl Setting {
    /// Returns the records of each partition, in its order. They are further apart than windows and
    /// grace reach, and the partitions too.
    fn draw(&self, records: i64, dice: &mut Dice) -> Vec<Vec<Visit>> {
        let mut partitions = vec![Vec::<Visit>::new(); PARTITIONS];
        for n in 0..records {
            let number = dice.below(PARTITIONS as u64) as usize;
            let units = n / 2 + number as i64 * 4 - dice.below(18) as i64;
            let (at, key) = (self.start + units * self.unit, format!("k{}", dice.below(2)));
            let before = partitions[number].last().map_or(at, |last| last.partition_time);
            partitions[number].push(Visit { key, at, partition_time: at.max(before), n });
        }
        partitions
    }

    fn program(self) -> Topology {
        let micros = |n: i64| Duration::from_micros(n as u64);
        Topology::new("sliding", move |builder: &StreamsBuilder<'_>| {
            let at = |_: &String, visit: &(i64, i64)| Timestamp(visit.0);
            let visits = builder.stream("in", Consumed::with(Utf8, Json).timestamp(at));
            let windows = SlidingWindows::of_time_difference(micros(self.difference));
            let windowed = visits.group_by_key().windowed_by(windows.grace(micros(self.grace)));
            let one = || Produced::columns(["key", "from", "to", "n"]);
            let two = || Produced::columns(["key", "from", "to", "at", "n"]);
            windowed.count().to("count", one());
            windowed.sum(|visit| visit.1).to("sum", one());
            windowed.late().to("late", two());
            let closed = windowed.emit(Emit::OnClose);
            closed.count().to("closed", one());
            closed.top(2, Ties::Cut, |visit| visit.1).to("closed_top", two());
        })
    }

    /// Returns the start of the first window of a record.
    fn first(&self, at: i64) -> i64 {
        match (0..self.difference).contains(&at) {
            true => 0,
            false => at - self.difference,
        }
    }

    /// Returns true if a record is not late for the window from `start` on.
    fn takes(&self, start: i64, visit: &Visit) -> bool {
        start + self.difference + self.grace >= visit.partition_time
    }

    fn members<'v>(&self, start: i64, visits: &[&'v Visit]) -> Vec<&'v Visit> {
        let span = start..=start + self.difference;
        let is_member = |it: &&&Visit| span.contains(&it.at) && self.takes(start, it);
        visits.iter().filter(is_member).copied().collect()
    }

    /// Returns the starts of the windows of a key.
    fn starts(&self, visits: &[&Visit]) -> BTreeSet<i64> {
        let mut starts = BTreeSet::new();
        loop {
            let before = starts.len();
            for visit in visits.iter().filter(|it| self.takes(it.at, it)) {
                if self.takes(self.first(visit.at), visit) {
                    starts.insert(self.first(visit.at));
                }
                let has_later =
                    |start| self.members(start, visits).iter().any(|it| it.at > visit.at);
                let knows = |start: &i64| self.takes(*start, visit) || has_later(*start);
                let is_known = starts.range(visit.at - self.difference..=visit.at).any(knows);
                let behind = visit.at + RESOLUTION_MICROS;
                if is_known && !self.members(behind, visits).is_empty() {
                    starts.insert(behind);
                }
            }
            if starts.len() == before {
                return starts;
            }
        }
    }

    /// Returns the rows of each topic for the records that have arrived.
    fn expected(&self, partitions: &[Vec<Visit>]) -> BTreeMap<&'static str, Vec<Vec<Value>>> {
        let mut keys: BTreeMap<&String, Vec<&Visit>> = BTreeMap::new();
        let all = partitions.iter().flatten();
        all.for_each(|visit| keys.entry(&visit.key).or_default().push(visit));
        let times = partitions.iter().map(|it| it.last().map(|last| last.partition_time));
        let watermark = times.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min());
        let topics = ["count", "sum", "late", "closed", "closed_top"];
        let mut rows = topics.map(|topic| (topic, Vec::new()));
        for (key, visits) in keys {
            let row = |start: i64, values: &[i64]| {
                let bounds = [start, start + self.difference].map(Value::Timestamp);
                let values = values.iter().copied().map(Value::Long);
                let key = std::iter::once(Value::Text(key.clone()));
                key.chain(bounds).chain(values).collect::<Vec<_>>()
            };
            for start in self.starts(&visits) {
                let mut members = self.members(start, &visits);
                members.sort_by_key(|visit| -visit.n);
                let count = row(start, &[members.len() as i64]);
                rows[0].1.push(count.clone());
                rows[1].1.push(row(start, &[members.iter().map(|it| it.n).sum()]));
                if watermark.is_some_and(|at| start + self.difference + self.grace < at) {
                    rows[3].1.push(count);
                    let top = members.iter().take(2).map(|it| row(start, &[it.at, it.n]));
                    rows[4].1.extend(top);
                }
            }
            for visit in visits {
                let missed = [visit.at, self.first(visit.at)];
                if let Some(start) = missed.into_iter().find(|start| !self.takes(*start, visit)) {
                    rows[2].1.push(row(start, &[visit.at, visit.n]));
                }
            }
        }
        rows.iter_mut().for_each(|(_, rows)| rows.sort());
        rows.into_iter().collect()
    }

    /// Pipes the records in a random order of partitions, and compares the rows after each commit.
    fn compare(&self, mut driver: TopologyTestDriver, all: &[Vec<Visit>], dice: &mut Dice) {
        driver.add_partitions("in", 0..PARTITIONS as u32);
        let mut arrived = vec![Vec::new(); PARTITIONS];
        loop {
            let left = |n: &usize| arrived[*n].len() < all[*n].len();
            let open: Vec<usize> = (0..PARTITIONS).filter(left).collect();
            if let Some(number) = open.get(dice.below(open.len().max(1) as u64) as usize) {
                let visit = all[*number][arrived[*number].len()].clone();
                let (key, value) = (visit.key.clone(), visit.value());
                let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
                driver.pipe("in", *number as u32, key, value);
                arrived[*number].push(visit);
            }
            if open.is_empty() || dice.below(3) == 0 {
                driver.commit().unwrap();
                for (topic, rows) in self.expected(&arrived) {
                    assert_eq!(driver.rows(topic), rows, "{topic} of {self:?}, {arrived:?}");
                }
            }
            if open.is_empty() {
                break;
            }
        }
        let late = self.expected(all)["late"].len() as u64;
        let summary = driver.finish().unwrap();
        let counts = summary.steps.iter().filter(|it| ["count", "sum"].contains(&&*it.verb));
        let counts: Vec<u64> = counts.map(|step| step.total().late).collect();
        assert_eq!(counts, [late; 3], "{self:?}");
    }
}

#[test]
fn sliding_windows_are_those_of_the_set_of_records() {
    for seed in seeds(900, 3) {
        let mut dice = Dice::new(seed);
        for setting in SETTINGS {
            let all = setting.draw(50, &mut dice);
            let program = || setting.program();
            for driver in [
                TopologyTestDriver::new(program()),
                TopologyTestDriver::with_workers(program(), 3),
                TopologyTestDriver::serialised(program(), 2),
                TopologyTestDriver::with_processes(program(), 2, 1),
            ] {
                setting.compare(driver.unwrap(), &all, &mut dice);
            }
            let rows = setting.expected(&all);
            let few = rows.iter().find(|(_, rows)| rows.len() < 3);
            assert!(few.is_none(), "{setting:?}, seed {seed} has few rows of {few:?}");
        }
    }
}

#[test]
fn sliding_windows_and_late_counts_survive_any_run() {
    for (seed, setting) in (1..).zip(SETTINGS) {
        let all = setting.draw(50, &mut Dice::new(seed));
        let mut feed = Feed::default();
        for (number, visits) in (0..).zip(&all) {
            for visit in visits {
                let value = visit.value();
                feed.push("in", number, Some(visit.key.as_bytes()), Some(value.as_bytes()));
            }
        }
        explore(&setting.program(), &feed, seed * 100, 15).unwrap();
    }
}
