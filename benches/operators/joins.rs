//! Joins in which one row meets many, each beside a loop over hash maps that gets the same changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use watershed::prelude::*;

use crate::Result;
use crate::report::{Report, count, millis, percentile};

/// The right row to which all left rows refer, and the key of the hot self-join.
const HOT: i64 = 7;

/// Changed rows of a topic, in one epoch.
struct Step {
    topic: &'static str,
    rows: Vec<(i64, i64)>,
}

/// A join, its rows, and the changes that are measured.
struct Case {
    name: &'static str,
    load: Vec<Step>,
    epochs: Vec<Step>,
    topology: fn(&StreamsBuilder<'_>),
    floor: fn() -> Box<dyn Plain>,
}

/// The loop that a join is compared with.
trait Plain {
    fn apply(&mut self, step: &Step);
    /// Returns the number of results, as the topology counts them.
    fn results(&self) -> u64;
}

/// Reports the time of an epoch of each case.
pub(crate) fn report(report: &mut Report, rows: u64, epochs: u64) -> Result {
    report.question("operators: how long does an epoch take in a join of one row with many?");
    let mut lines = Vec::new();
    for case in cases(rows.cast_signed(), epochs) {
        let (library, found) = library(&case)?;
        let (floor, expected) = floor(&case);
        if found != expected {
            let name = case.name;
            return Err(format!("{name}: {found} results, and {expected} of the loop").into());
        }
        let name = format!("{}, {} rows", case.name, count(rows));
        lines.push([name, millis(library), millis(floor)]);
    }
    report.table(["change", "library", "loop"], lines);
    Ok(())
}

fn cases(rows: i64, epochs: u64) -> Vec<Case> {
    let mut random = Pcg64Mcg::seed_from_u64(9);
    let mut draw = move |end: i64| i64::from(random.next_u32()) % end;
    let all = |topic, keys: &mut dyn Iterator<Item = i64>| Step {
        topic,
        rows: keys.map(|key| (key, key % 1_000)).collect(),
    };
    let mut some = |topic, number: usize, end: i64| Step {
        topic,
        rows: (0..number).map(|_| (draw(end), draw(1_000))).collect(),
    };
    let mut each = |topic, number, end| (0..epochs).map(|_| some(topic, number, end)).collect();
    let referring = || vec![all("left", &mut (0..rows)), all("right", &mut (HOT..=HOT))];
    let by_key: (fn(&StreamsBuilder<'_>), fn() -> Box<dyn Plain>) =
        (foreign_key, || Box::new(ForeignKey::default()));
    let hot = (rows / 100).max(10);
    let hot_rows = |first: i64, number: i64| Step {
        topic: "left",
        rows: (first..first + number).map(|value| (HOT, value)).collect(),
    };
    let right_row =
        |epoch: u64| Step { topic: "right", rows: vec![(HOT, 2_000 + epoch.cast_signed())] };
    let case = |name, load, epochs, (topology, floor)| Case { name, load, epochs, topology, floor };
    vec![
        case("by foreign key: 1 left row", referring(), each("left", 1, rows), by_key),
        case("by foreign key: 1,000 left rows", referring(), each("left", 1_000, rows), by_key),
        case(
            "by foreign key: the right row of all",
            referring(),
            (0..epochs).map(right_row).collect(),
            by_key,
        ),
        case(
            "self-join of a key with a hundredth: 10 records",
            vec![hot_rows(0, hot)],
            (0..epochs.cast_signed()).map(|at| hot_rows(hot + 10 * at, 10)).collect(),
            (self_join, || Box::new(SelfJoin::default())),
        ),
        case(
            "outer join, 1 in 100 with a match: 1,000 rows",
            vec![all("left", &mut (0..rows)), all("right", &mut (0..rows).step_by(100))],
            each("left", 1_000, rows),
            (outer_join, || Box::new(Outer::default())),
        ),
    ]
}

static RESULTS: AtomicU64 = AtomicU64::new(0);

fn foreign_key(builder: &StreamsBuilder<'_>) {
    let left = builder.table("left", Consumed::with(Int64, Int64));
    let right = builder.table("right", Consumed::with(Int64, Int64));
    let joined: KTable<'_, i64, i64> = left.join_on(&right, |_, _| HOT, |l, r| l + r);
    joined.gauge("results", |_, value| value % 2 == 0);
}

fn self_join(builder: &StreamsBuilder<'_>) {
    let left = builder.stream("left", Consumed::with(Int64, Int64));
    let pairs = left.join_stream(&left, |v, w| v + w);
    pairs.for_each(|_, value| {
        RESULTS.fetch_add(u64::from(value % 2 == 0), Relaxed);
    });
}

fn outer_join(builder: &StreamsBuilder<'_>) {
    let left = builder.table("left", Consumed::with(Int64, Int64));
    let right = builder.table("right", Consumed::with(Int64, Int64));
    let joined: KTable<'_, i64, i64> =
        left.outer_join(&right, |l, r| l.unwrap_or(&0) + r.unwrap_or(&0));
    joined.gauge("results", |_, value| value % 2 == 0);
}

/// Returns the median time of an epoch, and the number of results at the end.
fn library(case: &Case) -> Result<(f64, u64)> {
    RESULTS.store(0, Relaxed);
    let mut driver = TopologyTestDriver::new(Topology::new(case.name, case.topology))?;
    let topics = ["left", "right"].map(|topic| (topic, driver.input(topic, Int64, Int64)));
    let apply = |driver: &mut TopologyTestDriver, step: &Step| {
        let topic = topics.iter().find(|(topic, _)| *topic == step.topic);
        for (key, value) in &step.rows {
            if let Some((_, topic)) = topic {
                topic.pipe(driver, key, value);
            }
        }
        driver.commit()
    };
    for step in &case.load {
        apply(&mut driver, step)?;
    }
    let mut times = Vec::new();
    for step in &case.epochs {
        let started = Instant::now();
        apply(&mut driver, step)?;
        times.push(started.elapsed().as_secs_f64());
    }
    let gauges = driver.finish()?.gauges;
    let results = gauges.get("results").copied().unwrap_or_else(|| RESULTS.load(Relaxed));
    Ok((percentile(&times, 0.5), results))
}

/// Returns the same of the loop.
fn floor(case: &Case) -> (f64, u64) {
    let mut plain = (case.floor)();
    case.load.iter().for_each(|step| plain.apply(step));
    let mut times = Vec::new();
    for step in &case.epochs {
        let started = Instant::now();
        plain.apply(step);
        times.push(started.elapsed().as_secs_f64());
    }
    (percentile(&times, 0.5), plain.results())
}

fn even(results: &HashMap<i64, i64>) -> u64 {
    results.values().filter(|value| *value % 2 == 0).count() as u64
}

#[derive(Default)]
struct ForeignKey {
    lefts: HashMap<i64, i64>,
    right: Option<i64>,
    results: HashMap<i64, i64>,
}

impl Plain for ForeignKey {
    fn apply(&mut self, step: &Step) {
        for (key, value) in &step.rows {
            if step.topic == "right" {
                self.right = Some(*value);
                let results = self.lefts.iter().map(|(key, left)| (*key, left + value));
                self.results.extend(results);
            } else {
                self.lefts.insert(*key, *value);
                self.results.extend(self.right.map(|right| (*key, value + right)));
            }
        }
    }
    fn results(&self) -> u64 {
        even(&self.results)
    }
}

#[derive(Default)]
struct SelfJoin {
    values: HashMap<i64, Vec<i64>>,
    results: Vec<i64>,
}

impl Plain for SelfJoin {
    fn apply(&mut self, step: &Step) {
        for (key, value) in &step.rows {
            let values = self.values.entry(*key).or_default();
            self.results.extend(values.iter().flat_map(|other| [other + value; 2]));
            self.results.push(value * 2);
            values.push(*value);
        }
    }
    fn results(&self) -> u64 {
        self.results.iter().filter(|value| *value % 2 == 0).count() as u64
    }
}

#[derive(Default)]
struct Outer {
    lefts: HashMap<i64, i64>,
    rights: HashMap<i64, i64>,
    results: HashMap<i64, i64>,
}

impl Plain for Outer {
    fn apply(&mut self, step: &Step) {
        for (key, value) in &step.rows {
            let (own, other) = if step.topic == "left" {
                (&mut self.lefts, &self.rights)
            } else {
                (&mut self.rights, &self.lefts)
            };
            own.insert(*key, *value);
            self.results.insert(*key, value + other.get(key).unwrap_or(&0));
        }
    }
    fn results(&self) -> u64 {
        even(&self.results)
    }
}
