//! How many records a second does a core put into windows, sessions and pairs, and does the memory
//! of windows stay the same when they are closed?
//!
//! ```text
//! cargo bench --bench windows                     20 million records, 1 million a second
//! cargo bench --bench windows -- --quick          a few records, as a smoke test
//! ```
//!
//! Records are made in memory, in the order of their times. Beside each case stands its floor: one
//! thread that reads the same batches, and updates a hash map in the same order. Each case runs in
//! a process of its own, so that its memory is known.

#[path = "support/report.rs"]
#[expect(dead_code, reason = "other benches use the rest")]
mod report;

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use watershed::connect::{Partition, Poll};
use watershed::prelude::*;
use watershed::record::Batch;

use report::{Report, count, megabytes};

/// The result of everything here.
type Outcome<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Records a second of event time.
const RATE: u64 = 1_000_000;
/// Records of a batch.
const BATCH_RECORDS: u64 = 4_096;

/// How many records a second does a core put into windows, sessions and pairs?
#[derive(Parser)]
struct Args {
    /// Records of each case.
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    records: u64,
    /// Different keys.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    keys: u64,
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

/// Records of which number `n` has the time `n` microseconds.
#[derive(Clone)]
struct Generated {
    records: u64,
    keys: u64,
}

struct Reader {
    of: Generated,
    next: u64,
}

impl Generated {
    /// Returns the key and the time of a record.
    fn record(&self, number: u64) -> (i64, Timestamp) {
        // SplitMix64 (prng.di.unimi.it/splitmix64.c): the distances of a key's records are random.
        let mut key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32;
        let at = number * (1_000_000 / RATE);
        ((key % self.keys).cast_signed(), Timestamp(at.cast_signed()))
    }

    /// Calls `each` with the key and the time of each record, read from the same batches.
    fn for_each(&self, mut each: impl FnMut(i64, i64)) -> Outcome {
        let mut reader = Reader { of: self.clone(), next: 0 };
        while let Poll::Batch(batch) = reader.poll()? {
            for record in batch.iter(0) {
                let key = record.key.and_then(|key| key.try_into().ok()).map(i64::from_be_bytes);
                each(key.unwrap_or_default(), record.timestamp.unwrap_or_default().0);
            }
        }
        Ok(())
    }
}

impl Source for Generated {
    fn describe(&self) -> String {
        format!("{} generated records", self.records)
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok(vec![0])
    }

    fn open(&self, _: u32, from: Option<u64>, _: bool) -> Result<Box<dyn Partition>> {
        Ok(Box::new(Reader { of: self.clone(), next: from.unwrap_or(0) }))
    }
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        let end = self.of.records.min(self.next + BATCH_RECORDS);
        if self.next >= end {
            return Ok(Poll::End);
        }
        let mut batch = Batch { partition: 0, first: self.next, next: end, ..Batch::default() };
        for offset in self.next..end {
            let (key, at) = self.of.record(offset);
            batch.push(offset, Some(at), Some(&key.to_be_bytes()), Some(&[0; 8]));
        }
        self.next = end;
        Ok(Poll::Batch(batch))
    }
}

/// Runs a topology on one worker. It counts its results.
fn run(
    topics: &[&str],
    records: &Generated,
    build: impl Fn(&StreamsBuilder<'_>, &Arc<AtomicU64>) + Send + Sync + 'static,
) -> Outcome<u64> {
    let results = Arc::<AtomicU64>::default();
    let counted = results.clone();
    let topology = Topology::new("windows", move |builder: &StreamsBuilder<'_>| {
        build(builder, &counted);
    });
    let mut streams = Streams::new(topology);
    for topic in topics {
        streams = streams.source(topic, records.clone());
    }
    streams.run(Config { workers: 1, ..Config::default() })?;
    Ok(results.load(Ordering::Relaxed))
}

fn second() -> Duration {
    Duration::from_secs(1)
}

/// Counts each record of a stream.
fn tally<K: watershed::Datum, V: watershed::Datum>(
    stream: &KStream<'_, K, V>,
    results: &Arc<AtomicU64>,
) {
    let results = results.clone();
    stream.for_each(move |_, _| _ = results.fetch_add(1, Ordering::Relaxed));
}

/// Runs a case. Returns the number of its results.
fn case(name: &str, records: &Generated) -> Outcome<u64> {
    match name {
        "count" => run(&["in"], records, |builder, results| {
            let stream = builder.stream("in", Consumed::with(Int64, Int64));
            let seconds = TimeWindows::of_size(second()).grace(Duration::ZERO);
            let windowed = stream.group_by_key().windowed_by(seconds).emit(Emit::OnClose);
            tally(&windowed.count().to_stream(), results);
        }),
        // Its windows are short, so almost all of them are closed in the end.
        "memory" => run(&["in"], records, |builder, results| {
            let stream = builder.stream("in", Consumed::with(Int64, Int64));
            let short = TimeWindows::of_size(Duration::from_millis(10)).grace(Duration::ZERO);
            let windowed = stream.group_by_key().windowed_by(short).emit(Emit::OnClose);
            tally(&windowed.count().to_stream(), results);
        }),
        "count floor" => {
            let (mut open, mut window, mut closed) = (HashMap::<i64, i64>::new(), 0, 0);
            records.for_each(|key, at| {
                if at / 1_000_000 > window {
                    window = at / 1_000_000;
                    closed += open.drain().count() as u64;
                }
                *open.entry(key).or_default() += 1;
            })?;
            Ok(closed)
        }
        // Every key has about a hundred records a second, so a gap of 40 ms ends some sessions.
        "sessions" => run(&["in"], records, |builder, results| {
            let stream = builder.stream("in", Consumed::with(Int64, Int64));
            let gap = Duration::from_millis(40);
            let sessions = SessionWindows::of_inactivity_gap(gap).grace(Duration::ZERO);
            let windowed = stream.group_by_key().windowed_by(sessions).emit(Emit::OnClose);
            tally(&windowed.count().to_stream(), results);
        }),
        "sessions floor" => {
            let (mut open, mut closed) = (HashMap::<i64, (i64, i64)>::new(), 0);
            records.for_each(|key, at| {
                let session = open.entry(key).or_insert((at, 0));
                if at > session.0 + 40_000 {
                    (*session, closed) = ((at, 0), closed + 1);
                }
                *session = (at, session.1 + 1);
            })?;
            Ok(closed)
        }
        // Two streams of half the records each: a record has a partner in the same millisecond.
        "join" => {
            let half = Generated { records: records.records / 2, ..records.clone() };
            run(&["left", "right"], &half, |builder, results| {
                let stream = |topic| builder.stream(topic, Consumed::with(Int64, Int64));
                let near = JoinWindows::of(Duration::from_micros(500)).grace(Duration::ZERO);
                let pairs = stream("left").join_within(&stream("right"), near, |l, r| l + r);
                tally(&pairs, results);
            })
        }
        "join floor" => {
            let half = Generated { records: records.records / 2, ..records.clone() };
            let (mut last, mut pairs) = (HashMap::<i64, i64>::new(), 0);
            half.for_each(|key, at| {
                last.insert(key, at);
                pairs += u64::from(last.get(&key).is_some_and(|other| at - other <= 500));
            })?;
            half.for_each(|key, at| {
                pairs += u64::from(last.get(&key).is_some_and(|other| (at - other).abs() <= 500));
            })?;
            Ok(pairs)
        }
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

/// Runs a case in a process of its own, and returns processor time, peak memory and results of the
/// best run.
fn child(args: &Args, name: &str, records: u64) -> Outcome<(f64, f64, u64)> {
    let mut best = (f64::MAX, f64::MAX, 0);
    for _ in 0..args.repeat.max(1) {
        let output = Command::new(std::env::current_exe()?)
            .args(["--case", name, "--bench"])
            .args(["--records", &records.to_string(), "--keys", &args.keys.to_string()])
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let text = String::from_utf8(output.stdout)?;
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        let [cpu, peak, results] = numbers[..] else { return Err(text.into()) };
        if cpu < best.0 {
            best = (cpu, peak, results as u64);
        }
    }
    Ok(best)
}

fn main() -> Outcome {
    let mut args = Args::parse();
    let of = |args: &Args| Generated { records: args.records, keys: args.keys };
    if let Some(name) = &args.case {
        let results = case(name, &of(&args))?;
        let (cpu, peak) = used()?;
        println!("{cpu} {peak} {results}");
        return Ok(());
    }
    if args.quick || !args.bench {
        (args.records, args.keys, args.repeat) = (200_000, 100, 1);
    }
    let mut report = Report::default();
    report.question("windows: how many records a second does a core take? (the best run)");
    let mut rows = Vec::new();
    for name in ["count", "sessions", "join"] {
        let (cpu, peak, results) = child(&args, name, args.records)?;
        let (floor_cpu, floor_peak, _) = child(&args, &format!("{name} floor"), args.records)?;
        let a_second = |cpu: f64| count((args.records as f64 / cpu.max(0.01)) as u64);
        let bytes = (peak - floor_peak).max(0.0) / args.keys as f64;
        rows.push([
            name.to_string(),
            a_second(cpu),
            a_second(floor_cpu),
            format!("{:.1} x", cpu / floor_cpu.max(0.01)),
            megabytes(peak),
            count(bytes as u64),
            count(results),
        ]);
        if name == "count" {
            let speed = args.records as f64 / cpu.max(0.01) / 1e6;
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
    let [few, many] = [args.records / 20, args.records].map(|records| {
        let (_, peak, results) = child(&args, "memory", records)?;
        Outcome::Ok((records, peak, results))
    });
    let (few, many) = (few?, many?);
    let row = |(records, peak, results)| [count(records), megabytes(peak), count(results)];
    report.table(["records", "peak", "closed windows"], vec![row(few), row(many)]);
    report.at_most("peak after 20 times as many windows", many.1 / few.1, 1.2, "x");
    Ok(())
}
