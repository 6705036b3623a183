//! How much does a change cost in an aggregate of a few huge groups, and in a join of one row with
//! many?
//!
//! ```text
//! cargo bench --bench operators                   10 thousand to a million rows in four groups
//! cargo bench --bench operators -- --quick        a few rows, as a smoke test
//! ```
//!
//! [`KGrouped::median`](watershed::KGrouped::median) maintains the median of four groups that hold
//! all rows, through the whole engine into a table in memory. For comparison differential's
//! `reduce` does the same; it reads a whole group again after each change. Both get the same
//! changes, and must find the same medians.
//!
//! The joins run through the same engine: by a foreign key to which all rows refer, of a hot key
//! with itself, and an outer join of mostly unmatched rows. Beside each is a loop over hash maps,
//! without engine, epochs and other workers, which must find the same results.

#[path = "operators/joins.rs"]
mod joins;
#[path = "support/report.rs"]
#[expect(dead_code, reason = "other benches use the rest")]
mod report;

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Parser;
use differential_dataflow::input::InputSession;
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;
use watershed::prelude::*;

use report::{Report, count, millis, percentile};

/// The result of everything here.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const GROUPS: i64 = 4;

/// How much does a change cost in an aggregate of a few huge groups?
#[derive(Parser)]
struct Args {
    /// Rows of the tables, ascending.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10000,100000,1000000")]
    rows: Vec<u64>,
    /// Epochs for each number of changes.
    #[arg(long, value_name = "N", default_value_t = 50)]
    epochs: u64,
    /// Run everything at a size that only proves that it works.
    #[arg(long)]
    quick: bool,
    /// Rows of the joins.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    joined: u64,
    /// Given by `cargo bench` but not by `cargo test`, which runs the quick sizes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Maintains the medians: takes keys with new numbers, returns medians by group.
type Maintain<'a> = dyn FnMut(&[(i64, i64)]) -> Result<BTreeMap<i64, i64>> + 'a;

fn main() -> Result {
    let mut args = Args::parse();
    if args.quick || !args.bench {
        (args.rows, args.joined, args.epochs) = (vec![100, 1_000], 1_000, 3);
    }
    let mut report = Report::default();
    report.question(
        "operators: how long does an epoch take that changes some rows of four groups? (median)",
    );
    let mut rows = Vec::new();
    let mut ours = Vec::new();
    for &size in &args.rows {
        let (mut library, library_found) = library(size, args.epochs)?;
        let (reduce, reduce_found) = reduce(size, args.epochs)?;
        if library_found != reduce_found {
            return Err(format!(
                "{size} rows: the library found {library_found:?}, and reduce {reduce_found:?}"
            )
            .into());
        }
        let [one, many] = [0, 1].map(|at| (library[at], reduce[at]));
        rows.push([count(size), millis(one.0), millis(one.1), millis(many.0), millis(many.1)]);
        ours.append(&mut library);
    }
    report.table(
        [
            "rows",
            "median, 1 change",
            "reduce, 1 change",
            "median, 1,000 changes",
            "reduce, 1,000 changes",
        ],
        rows,
    );
    if let [_, few, .., most] = ours[..] {
        report
            .line(&format!("- 1,000 changes in the most rows / in the least: {:.2} x", most / few));
    }
    joins::report(&mut report, args.joined, args.epochs)
}

/// Loads `size` rows, then measures epochs of one change and of a thousand changes. Returns the
/// median duration of each, and the final medians.
fn measure(
    size: u64,
    epochs: u64,
    maintain: &mut Maintain,
) -> Result<(Vec<f64>, BTreeMap<i64, i64>)> {
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let mut draw = move || i64::from(random.next_u32());
    let all: Vec<(i64, i64)> =
        (0..size.cast_signed()).map(|key| (key, draw() % 1_000_000)).collect();
    let mut medians = maintain(&all)?;
    let mut middles = Vec::new();
    for changes in [1, 1_000] {
        let mut times = Vec::new();
        for _ in 0..epochs {
            let changed: BTreeMap<i64, i64> =
                (0..changes).map(|_| (draw() % size.cast_signed(), draw() % 1_000_000)).collect();
            let changed: Vec<(i64, i64)> = changed.into_iter().collect();
            let started = Instant::now();
            medians = maintain(&changed)?;
            times.push(started.elapsed().as_secs_f64());
        }
        middles.push(percentile(&times, 0.5));
    }
    Ok((middles, medians))
}

/// Measures the library.
fn library(size: u64, epochs: u64) -> Result<(Vec<f64>, BTreeMap<i64, i64>)> {
    let topology = |builder: &StreamsBuilder| {
        let rows = builder.table("rows", Consumed::with(Int64, Int64));
        rows.group_by(|key, number| (key % GROUPS, *number))
            .median()
            .to("medians", Produced::columns(["group", "median"]));
    };
    let mut driver = TopologyTestDriver::new(Topology::new("medians", topology))?;
    let (rows, medians) =
        (driver.input("rows", Int64, Int64), driver.output::<i64, i64>("medians"));
    let found = measure(size, epochs, &mut |changes| {
        changes.iter().for_each(|(key, number)| rows.pipe(&mut driver, key, number));
        driver.commit()?;
        Ok(medians.rows(&driver)?.into_iter().collect())
    })?;
    driver.finish()?;
    Ok(found)
}

/// Measures differential's `reduce`, on one worker.
fn reduce(size: u64, epochs: u64) -> Result<(Vec<f64>, BTreeMap<i64, i64>)> {
    timely::execute_directly(move |worker: &mut Worker| {
        let mut input: InputSession<u64, (i64, i64), isize> = InputSession::new();
        let (probe, found) =
            (ProbeHandle::new(), std::rc::Rc::new(std::cell::RefCell::new(BTreeMap::new())));
        let results = found.clone();
        worker.dataflow::<u64, _, _>(|scope| {
            let groups = input.to_collection(scope).map(|(key, number)| (key % GROUPS, number));
            let medians = groups.reduce(|_, numbers, out| {
                let all: isize = numbers.iter().map(|(_, times)| times).sum();
                let mut before = 0;
                let middle = numbers.iter().find(|(_, times)| {
                    before += times;
                    before > (all - 1) / 2
                });
                out.extend(middle.map(|(number, _)| (**number, 1_isize)));
            });
            let record = move |((group, median), _, times): &((i64, i64), u64, isize)| {
                if *times > 0 {
                    results.borrow_mut().insert(*group, *median);
                }
            };
            medians.inspect(record).probe_with(&probe);
        });
        let mut current = BTreeMap::new();
        let mut epoch = 0;
        measure(size, epochs, &mut |changes| {
            for (key, number) in changes {
                if let Some(before) = current.insert(*key, *number) {
                    input.remove((*key, before));
                }
                input.insert((*key, *number));
            }
            epoch += 1;
            input.advance_to(epoch);
            input.flush();
            worker.step_while(|| probe.less_than(&epoch));
            Ok(found.borrow().clone())
        })
    })
}
