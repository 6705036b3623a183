//! A run keeps its promises on a store that loses, delays, repeats and refuses requests.
//!
//! A world lives several lives: runs of 1, 2 or 4 workers that fail at any request, or that stall
//! in a put until a successor is over. After each life every commit of every table is compared with
//! a run over the records that the commit names, and the snapshots that the last manifest names are
//! whole. `WATERSHED_SEEDS=1..10000 cargo test --release --test watershed
//! runtime::lossy::worlds -- --ignored --nocapture` runs as many worlds.

mod check;
mod place;
mod seeds;

use std::collections::BTreeMap;
use std::process::{Command, Output};

use crate::support::lossy::Fault;
use crate::support::lossy::fault::FAULTS;
use seeds::Seeds;

/// Limits with which small worlds make many snapshots, layers and compactions.
pub(super) const LIMITS: &str =
    "snapshot_bytes=1,layers=2,layer_bytes=600,small_files=4,rewrite_below=2,checkpoint_every=4";

/// Runs the worlds of these seeds in a process of its own, with small limits and a planted bug.
fn run_worlds(seeds: &str, bug: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runtime::lossy::worlds", "--ignored", "--nocapture"])
        .env("WATERSHED_LIMITS", LIMITS)
        .env("WATERSHED_SEEDS", seeds)
        .env("WATERSHED_BUG", bug)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn worlds() {
    let seeds = std::env::var("WATERSHED_SEEDS").unwrap_or("1..31".into());
    let (first, end) = seeds.split_once("..").unwrap();
    let mut counts = Seeds::default();
    for seed in first.parse::<u64>().unwrap()..end.parse().unwrap() {
        counts.run(seed);
    }
    println!("{counts}");
}

#[test]
fn lives_on_a_lossy_store_lose_and_repeat_nothing() {
    let output = run_worlds("1..31", "");
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    let count = |name: &str| -> u64 {
        // A line is a number and a name.
        let line = printed.lines().find(|line| line.ends_with(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let faults = FAULTS.into_iter().chain([Fault::LateListing]).map(|fault| format!("{fault:?}"));
    let counts: BTreeMap<_, _> = faults
        .chain(
            ["lives", "zombies", "deaths", "rows compared", "versions", "snapshots"]
                .map(String::from),
        )
        .map(|name| (name.clone(), count(&name)))
        .collect();
    println!("{counts:?}");
    assert!(counts.values().all(|count| *count > 0), "a fault never struck: {counts:?}");
    assert!(counts["lives"] >= 150);
}

#[test]
fn the_worlds_find_every_planted_bug() {
    let bugs = [
        "dropped_bucket",
        "overtaking_tail",
        "collected_snapshot",
        "mislabelled_snapshot",
        "binding_off_by_one",
        "no_txn_check",
        "fresh_bindings",
        "colliding_digest",
        "offsets_after_commit",
    ];
    for bug in bugs {
        let output = run_worlds("1..31", bug);
        let printed = text(&output);
        assert!(!output.status.success(), "{bug} is not found");
        let found = printed.lines().find(|line| line.contains("seed "));
        println!("{bug}: {}", found.unwrap_or(&printed));
    }
}
