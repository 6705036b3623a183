//! How many records a second does a core put into windows, sessions and pairs, and does the memory
//! of windows stay the same when they are closed?
//!
//! ```text
//! cargo bench --bench windows                     20 million records, 1 million a second
//! cargo bench --bench windows -- --quick          a few records, as a smoke test
//! ```
//!
//! Records are made in memory, in the order of their times. Beside each case stands its floor: one
//! thread that reads the same batches, and updates a hash map in the same order. The results of
//! both must be equal. Each case runs in a process of its own, so that its memory is known.
//!
//! A join keeps what one topic is ahead of the other in event time. So both topics are read at the
//! same pace here, and its memory does not depend on the number of records.

#[path = "windows/floors.rs"]
mod floors;
#[path = "windows/records.rs"]
mod records;
#[path = "support/report.rs"]
#[expect(dead_code, reason = "other benches use the rest")]
mod report;

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use watershed::prelude::*;

use records::Generated;
use report::{Report, count, megabytes};

/// The result of everything here.
type Outcome<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The pause that ends a session: every key has about a hundred records a second.
const GAP_MICROS: i64 = 40_000;
/// The distance of records that are a pair.
const NEAR_MICROS: i64 = 500;

/// How many records a second does a core put into windows, sessions and pairs?
#[derive(Parser)]
struct Args {
    /// Records of each case.
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    records: u64,
    /// Different keys.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    keys: u64,
    /// Records of a second of event time.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    rate: u64,
    /// Runs of each case; the best counts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Run everything at a size that only proves that it works.
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench` but not by `cargo test`, which runs the quick sizes.
    #[arg(long, hide = true)]
    bench: bool,
    /// One case, for a child process.
    #[arg(long, hide = true)]
    case: Option<String>,
}

/// The results of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Results {
    count: u64,
    /// The sum of their values.
    sum: i64,
}

impl Results {
    fn add(&mut self, value: i64) {
        (self.count, self.sum) = (self.count + 1, self.sum + value);
    }
}

/// The results of a run, which its worker counts.
#[derive(Default)]
struct Tally {
    count: AtomicU64,
    sum: AtomicI64,
}

impl Tally {
    /// Counts each record of a stream.
    fn of<K: watershed::Datum, V: watershed::Datum>(
        self: &Arc<Self>,
        stream: &KStream<'_, K, V>,
        number: impl Fn(&V) -> i64 + 'static,
    ) {
        let tally = self.clone();
        stream.for_each(move |_, value| {
            tally.count.fetch_add(1, Ordering::Relaxed);
            tally.sum.fetch_add(number(value), Ordering::Relaxed);
        });
    }
}

/// Runs a topology on one worker.
fn run(
    topics: &[(&str, Generated)],
    build: impl Fn(&StreamsBuilder<'_>, &Arc<Tally>) + Send + Sync + 'static,
) -> Outcome<Results> {
    let tally = Arc::<Tally>::default();
    let counted = tally.clone();
    let topology = Topology::new("windows", move |builder: &StreamsBuilder<'_>| {
        build(builder, &counted);
    });
    let mut streams = Streams::new(topology);
    for (topic, records) in topics {
        streams = streams.source(topic, records.clone());
    }
    streams.run(Config { workers: 1, ..Config::default() })?;
    let (count, sum) = (tally.count.load(Ordering::Relaxed), tally.sum.load(Ordering::Relaxed));
    Ok(Results { count, sum })
}

/// Counts records in tumbling windows, each at its close.
fn tumbling(records: &Generated, size: Duration) -> Outcome<Results> {
    run(&[("in", records.clone())], move |builder, tally| {
        let stream = builder.stream("in", Consumed::with(Int64, Int64));
        let windows = TimeWindows::of_size(size).grace(Duration::ZERO);
        let windowed = stream.group_by_key().windowed_by(windows).emit(Emit::OnClose);
        tally.of(&windowed.count().to_stream(), |count| count.unwrap_or_default());
    })
}

/// Runs a case.
fn case(name: &str, records: &Generated) -> Outcome<Results> {
    match name {
        "count" => tumbling(records, Duration::from_secs(1)),
        // Its windows are short, so almost all of them are closed in the end.
        "memory" => tumbling(records, Duration::from_millis(10)),
        "count floor" => floors::count(records),
        "sessions" => run(&[("in", records.clone())], |builder, tally| {
            let stream = builder.stream("in", Consumed::with(Int64, Int64));
            let gap = Duration::from_micros(GAP_MICROS.unsigned_abs());
            let sessions = SessionWindows::of_inactivity_gap(gap).grace(Duration::ZERO);
            let windowed = stream.group_by_key().windowed_by(sessions).emit(Emit::OnClose);
            tally.of(&windowed.count().to_stream(), |count| count.unwrap_or_default());
        }),
        "sessions floor" => floors::sessions(records),
        // Two streams of half the records each: a record has a partner at its own time.
        "join" => {
            let [left, right] = records.sides();
            run(&[("left", left), ("right", right)], |builder, tally| {
                let stream = |topic| builder.stream(topic, Consumed::with(Int64, Int64));
                let near = JoinWindows::of(Duration::from_micros(NEAR_MICROS.unsigned_abs()));
                let near = near.grace(Duration::ZERO);
                let pairs = stream("left").join_within(&stream("right"), near, |l, r| l + r);
                tally.of(&pairs, |pair| *pair);
            })
        }
        "join floor" => floors::join(records),
        other => Err(format!("no case is named {other}").into()),
    }
}

/// Processor time in seconds and peak memory in bytes of this process.
fn used() -> Outcome<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is a name in parentheses. Fields 14 and 15 are ticks, always 100 a second.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = rest.split_whitespace().map(|it| it.parse().unwrap_or(0.0)).collect();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|it| it.split_whitespace().next()?.parse::<f64>().ok());
    Ok(((fields[11] + fields[12]) / 100.0, peak.unwrap_or(0.0) * 1024.0))
}

/// The use of a process, and the results of its case.
struct Used {
    cpu: f64,
    peak: f64,
    results: Results,
}

/// Runs a case in processes of its own. Returns the use of the best one.
///
/// # Errors
/// When one of them fails, or two have different results.
fn child(args: &Args, name: &str, records: u64) -> Outcome<Used> {
    let mut best: Option<Used> = None;
    for _ in 0..args.repeat.max(1) {
        let output = Command::new(std::env::current_exe()?)
            .args(["--case", name, "--bench"])
            .args(["--records", &records.to_string(), "--keys", &args.keys.to_string()])
            .args(["--rate", &args.rate.to_string()])
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let text = String::from_utf8(output.stdout)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let [cpu, peak, count, sum] = words[..] else { return Err(text.into()) };
        let results = Results { count: count.parse()?, sum: sum.parse()? };
        let used = Used { cpu: cpu.parse()?, peak: peak.parse()?, results };
        if let Some(best) = &best {
            check(name, results, best.results)?;
        }
        if best.as_ref().is_none_or(|best| used.cpu < best.cpu) {
            best = Some(used);
        }
    }
    best.ok_or_else(|| "there is no run".into())
}

/// Compares two results of a case.
///
/// # Errors
/// When they differ.
fn check(name: &str, results: Results, expected: Results) -> Outcome {
    match results == expected {
        true => Ok(()),
        false => Err(format!("{name} has {results:?}, and not {expected:?}").into()),
    }
}

fn main() -> Outcome {
    let mut args = Args::parse();
    if let Some(name) = &args.case {
        let results = case(name, &Generated::new(args.records, args.keys, args.rate))?;
        let ((cpu, peak), Results { count, sum }) = (used()?, results);
        println!("{cpu} {peak} {count} {sum}");
        return Ok(());
    }
    if args.quick || !args.bench {
        // As many records a second and key as by default, and windows that close.
        (args.records, args.keys, args.rate, args.repeat) = (200_000, 1_000, 100_000, 1);
    }
    let mut report = Report::default();
    report.question("windows: how many records a second does a core take? (the best run)");
    let mut rows = Vec::new();
    for name in ["count", "sessions", "join"] {
        let used = child(&args, name, args.records)?;
        let floor = child(&args, &format!("{name} floor"), args.records)?;
        check(name, used.results, floor.results)?;
        let a_second = |cpu: f64| count((args.records as f64 / cpu.max(0.01)) as u64);
        let bytes = (used.peak - floor.peak).max(0.0) / args.keys as f64;
        rows.push([
            name.to_string(),
            a_second(used.cpu),
            a_second(floor.cpu),
            format!("{:.1} x", used.cpu / floor.cpu.max(0.01)),
            megabytes(used.peak),
            count(bytes as u64),
            count(used.results.count),
        ]);
        if name == "count" {
            let speed = args.records as f64 / used.cpu.max(0.01) / 1e6;
            report.at_least("million records a second a core in a count", speed, 1.5, "M/s");
        }
    }
    report.table(
        ["case", "records/s", "floor", "processor time", "peak", "bytes a key", "results"],
        rows,
    );
    report.question("memory: does it grow with the windows that were closed?");
    // One window is open at a time. The shorter run has a hundred of them: its batches in flight
    // need as much memory as those of the longer one.
    let [few, many] = [args.records / 20, args.records]
        .map(|records| Outcome::Ok((records, child(&args, "memory", records)?)));
    let (few, many) = (few?, many?);
    let row = |(records, used): &(u64, Used)| {
        [count(*records), megabytes(used.peak), count(used.results.count)]
    };
    report.table(["records", "peak", "closed windows"], vec![row(&few), row(&many)]);
    report.at_most("peak after 20 times as many windows", many.1.peak / few.1.peak, 1.2, "x");
    Ok(())
}
