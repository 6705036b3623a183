//! How many records a second does the gateway acknowledge, how soon, and at which price of
//! durability?
//!
//! ```text
//! cargo bench --bench gateway                     all shapes, 10 seconds each
//! cargo bench --bench gateway -- --quick          one second each, as a smoke test
//! ```
//!
//! Clients send pins of 708 bytes in requests of the REST Proxy. Each keeps its connection open and
//! has one request in flight. For comparison the same gateway runs in front of a log that discards
//! records: HTTP, JSON and the clients, on the same machine, are the same. The other floor is one
//! record written and synced at a time, with only `write` and `fdatasync`.

#[path = "../dataflows/pinterest"]
#[allow(dead_code, unused_imports, reason = "some parts and their tests are not used here")]
mod dataflow {
    pub(crate) mod generate;
}
#[path = "support/report.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod report;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use futures::FutureExt;
use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
use watershed::gateway::{
    Answer, Append, Appended, Config, Gateway, NewRecord, PartitionInfo, Position, Refusal,
};

use report::{Report, millis, percentile};

/// The result of everything here.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Connections, and records of a request.
const SHAPES: [(usize, usize); 4] = [(1, 1), (16, 1), (64, 1), (16, 100)];
const TOPIC: &str = "demo.pin";

/// How many records a second does the gateway acknowledge, and how soon?
#[derive(Parser)]
struct Args {
    /// The duration of each measurement, in seconds.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    seconds: f64,
    /// Run everything at a size that only proves that it works.
    #[arg(long)]
    quick: bool,
    /// The folder for archives.
    #[arg(long, value_name = "PATH")]
    #[arg(default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/gateway"))]
    dir: PathBuf,
    /// Given by `cargo bench` but not by `cargo test`, which runs the quick sizes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A log that discards records.
#[derive(Default)]
struct Discard(AtomicU64);

impl Append for Discard {
    fn describe(&self) -> String {
        "nothing".into()
    }
    fn topics(&self) -> Answer<'_, Vec<String>> {
        async { Ok(Vec::new()) }.boxed()
    }
    fn partitions<'a>(&'a self, _topic: &'a str) -> Answer<'a, Vec<PartitionInfo>> {
        async { Ok(PartitionInfo::even(1)) }.boxed()
    }
    fn append<'a>(
        &'a self,
        _topic: &'a str,
        entries: Vec<NewRecord>,
    ) -> Answer<'a, Vec<std::result::Result<Appended, Refusal>>> {
        let first = self.0.fetch_add(entries.len() as u64, Ordering::Relaxed);
        let place = move |k| Ok(Appended { partition: 0, position: Position::Offset(first + k) });
        async move { Ok((0..entries.len() as u64).map(place).collect()) }.boxed()
    }
    fn create<'a>(&'a self, _topic: &'a str, _partitions: u32) -> Answer<'a, ()> {
        async { Ok(()) }.boxed()
    }
    fn delete<'a>(&'a self, _topic: &'a str) -> Answer<'a, ()> {
        async { Ok(()) }.boxed()
    }
    fn close(&self) -> Answer<'_, ()> {
        async { Ok(()) }.boxed()
    }
}

fn main() -> Result {
    let args = Args::parse();
    let seconds = if args.quick || !args.bench { 0.5 } else { args.seconds };
    let mut pins = Vec::new();
    dataflow::generate::rows(100, 2000, &mut |lines| {
        pins.push(String::from_utf8_lossy(&lines[0]).into_owned())
    });
    let mut report = Report::default();
    report.question(&format!("Records acknowledged, {seconds} s each"));
    let mut rows = Vec::new();
    for (connections, batch) in SHAPES {
        let mut both = Vec::new();
        for durable in [false, true] {
            let _ = std::fs::remove_dir_all(&args.dir);
            std::fs::create_dir_all(&args.dir)?;
            let log: Arc<dyn Append> = if durable {
                Arc::new(ArchiveAppender::open(&args.dir, AppendOptions::default())?)
            } else {
                Arc::new(Discard::default())
            };
            let times = measure(log, &pins, connections, batch, seconds)?;
            let rate = (times.len() * batch) as f64 / seconds;
            let name = format!(
                "{connections} connections, {batch} a request, {}",
                if durable { "durable" } else { "discarded" }
            );
            rows.push([
                name,
                report::count(rate as u64),
                millis(percentile(&times, 0.5)),
                millis(percentile(&times, 0.99)),
            ]);
            both.push(rate);
        }
        report.line(&format!(
            "- {connections} connections, {batch} a request: {:.0} % of the rate of discarding",
            both[1] / both[0] * 100.0
        ));
    }
    let synced = syncs(&args.dir, pins[0].as_bytes(), seconds)?;
    let rate = report::count((synced.len() as f64 / seconds) as u64);
    rows.push([
        "write and fdatasync, one after the other".into(),
        rate,
        millis(percentile(&synced, 0.5)),
        millis(percentile(&synced, 0.99)),
    ]);
    report.table(["case", "records/s", "p50", "p99"], rows);
    Ok(std::fs::remove_dir_all(&args.dir)?)
}

/// Returns the duration in seconds of each request that was answered in time.
fn measure(
    log: Arc<dyn Append>,
    pins: &[String],
    connections: usize,
    batch: usize,
    seconds: f64,
) -> Result<Vec<f64>> {
    if let Err(refusal) = futures::executor::block_on(log.create(TOPIC, 1)) {
        return Err(format!("{refusal:?}").into());
    }
    let began = Instant::now();
    let mut config = Config::new(Arc::new(move || began.elapsed()));
    config.server.hosts.push("here".into());
    let gateway = Gateway::bind(SocketAddr::from(([127, 0, 0, 1], 0)), log, config)?;
    let address = gateway.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let counted = AtomicBool::new(false);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = scope.spawn(move || gateway.run(async move { drop(stopped.await) }));
        let (counted, ended) = (&counted, &ended);
        let senders: Vec<_> = (0..connections)
            .map(|sender| {
                scope.spawn(move || {
                    send(address, &pins[sender % pins.len()..], batch, counted, ended)
                })
            })
            .collect();
        std::thread::park_timeout(Duration::from_secs_f64(seconds / 5.0));
        counted.store(true, Ordering::Relaxed);
        std::thread::park_timeout(Duration::from_secs_f64(seconds));
        ended.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for sender in senders {
            times.extend(sender.join().map_err(|_| "a sender died")??);
        }
        drop(stop);
        running.join().map_err(|_| "the gateway died")??;
        Ok(times)
    })
}

fn send(
    address: SocketAddr,
    pins: &[String],
    batch: usize,
    counted: &AtomicBool,
    ended: &AtomicBool,
) -> Result<Vec<f64>> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    stream.get_ref().set_nodelay(true)?;
    let requests: Vec<String> =
        (0..50).map(|n| request(pins.iter().cycle().skip(n * 7).take(batch))).collect();
    let (mut times, mut line) = (Vec::new(), String::new());
    for request in requests.iter().cycle() {
        let began = Instant::now();
        stream.get_mut().write_all(request.as_bytes())?;
        let mut length = 0;
        line.clear();
        stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200") {
            return Err(format!("unexpected response: {line}").into());
        }
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        std::io::copy(&mut (&mut stream).take(length), &mut std::io::sink())?;
        if counted.load(Ordering::Relaxed) {
            times.push(began.elapsed().as_secs_f64());
        }
        if ended.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(times)
}

fn request<'a>(pins: impl Iterator<Item = &'a String>) -> String {
    let records: Vec<String> = pins.map(|pin| format!("{{\"value\":{pin}}}")).collect();
    let body = format!("{{\"records\":[{}]}}", records.join(","));
    let head = format!(
        "POST /topics/{TOPIC} HTTP/1.1\r\nHost: here\r\nContent-Type: application/vnd.kafka.json.v2+json"
    );
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Returns the duration in seconds of each write with its sync.
fn syncs(folder: &Path, record: &[u8], seconds: f64) -> Result<Vec<f64>> {
    let mut file = std::fs::File::create(folder.join("synced"))?;
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed().as_secs_f64() < seconds {
        let one = Instant::now();
        file.write_all(record)?;
        file.sync_data()?;
        times.push(one.elapsed().as_secs_f64());
    }
    Ok(times)
}
