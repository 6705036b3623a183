//! Many simulated histories, `cargo run --release --example simulate -- --histories 100000`: it
//! prints counts at the end. It fails if a history failed, or if a fault or a crash never happened.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "mod.rs"]
mod simulation;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::Histories;

/// Simulates whole programs: runs of one to three workers on logs and tables in memory, with a
/// store that loses, delays, repeats and refuses requests.
///
/// A history is a few runs in one world. One seed decides the order of all threads, the time, the
/// faults, and the turns at which runs crash. After each commit every table is compared with plain
/// loops over the records. A failure names its seed; the same seed repeats it exactly:
///
///   simulate --seed 4711 --histories 1
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    /// Number of histories, of as many seeds
    #[arg(long, default_value_t = 1000)]
    histories: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulations at the same time, each on threads of its own
    #[arg(long, default_value_t = 2)]
    parallel: u64,
    /// Run each seed twice, and compare the traces
    #[arg(long)]
    twice: bool,
    /// A bug to plant, by its name in the source; the histories have to find it
    #[arg(long)]
    bug: Option<String>,
    /// Print every turn
    #[arg(long)]
    print: bool,
}

fn main() -> ExitCode {
    let Args { histories, seed, parallel, twice, bug, print } = Args::parse();
    let begun = Instant::now();
    let seeds = seed..seed.saturating_add(histories);
    let report = Histories { seeds, parallel, twice, bug, prints: print }.run();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{report}{:>10.1} histories a second", report.histories as f64 / seconds);
    let never = if histories >= 100 { report.never() } else { Vec::new() };
    if !never.is_empty() {
        println!("never happened: {}", never.join(", "));
    }
    if report.failed == 0 && never.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
