//! The protocol keeps its promises within small bounds, and each rule is needed.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::bounds::{Bounds, Weakening};
use crate::properties::{
    COMPACTS, FALLS_BACK, FINISH, FORGETS, LOG, NAMED, REFUSAL, RESETS, SHOWS_ALL, TABLE,
};
use crate::protocol::Protocol;
use crate::trace;

/// Events, which are no failures.
const EVENTS: [&str; 5] = [SHOWS_ALL, COMPACTS, RESETS, FORGETS, FALLS_BACK];

/// Commits to both sinks, by two runs.
const SINKS: Bounds = Bounds {
    records: 3,
    commits: 3,
    generations: 2,
    late: 1,
    compactions: 1,
    layers: 0,
    damages: 0,
    foreign: 0,
    resets: 0,
};
/// Snapshots and their collection, by two runs.
const SNAPSHOTS: Bounds = Bounds { late: 0, compactions: 0, layers: 2, damages: 1, ..SINKS };

/// A reset by one of three runs.
const RESET: Bounds = Bounds { records: 2, generations: 3, compactions: 0, resets: 1, ..SINKS };

/// Searches all states within `bounds` on all cores. Fails if any breaks a promise, and if one of
/// the `events` never happens.
#[track_caller]
fn holds(bounds: Bounds, events: &[&'static str]) {
    let begun = Instant::now();
    let finish = HasDiscoveries::AnyFailures;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = Protocol::new(bounds, None).checker().finish_when(finish).threads(cores);
    let checker = model.spawn_dfs().join();
    let (states, took) = (checker.unique_state_count(), begun.elapsed());
    println!("{states} states in {took:.1?} within {bounds:?}");
    let mut found = checker.discoveries();
    let missed: Vec<_> = events.iter().filter(|event| !found.contains_key(*event)).collect();
    found.retain(|name, _| !EVENTS.contains(name));
    if let Some((promise, path)) = found.into_iter().next() {
        panic!("broken: {promise}\n{}", trace::text(path.into_vec()));
    }
    assert!(missed.is_empty(), "the search has missed: {missed:?}");
}

/// Searches for a state without the promise, in a protocol without the rule, and prints its trace.
#[track_caller]
fn breaks(weakening: Weakening, bounds: Bounds, promise: &'static str) {
    let begun = Instant::now();
    let finish = HasDiscoveries::AllOf([promise].into());
    let model = Protocol::new(bounds, Some(weakening)).checker().finish_when(finish);
    let checker = model.spawn_bfs().join();
    let (states, took) = (checker.unique_state_count(), begun.elapsed());
    let Some(path) = checker.discovery(promise) else {
        let others: Vec<_> = checker.discoveries().into_keys().collect();
        panic!("{weakening:?} keeps \"{promise}\" in all {states} states; broken: {others:?}");
    };
    println!("{weakening:?} breaks \"{promise}\", found after {states} states in {took:.1?}:");
    println!("{}", trace::text(path.into_vec()));
}

#[test]
fn sinks_show_each_record_exactly_once() {
    holds(SINKS, &[SHOWS_ALL, COMPACTS]);
}

#[test]
fn named_snapshots_can_always_be_loaded() {
    holds(SNAPSHOTS, &[SHOWS_ALL, FORGETS, FALLS_BACK]);
}

#[test]
fn a_reset_that_dies_at_any_step_is_completed() {
    holds(RESET, &[SHOWS_ALL, RESETS]);
}

#[test]
fn sinks_are_emptied_behind_the_manifest_of_a_reset() {
    breaks(Weakening::EmptyEarly, RESET, REFUSAL);
}

#[test]
fn a_reset_that_has_begun_is_not_forgotten() {
    breaks(Weakening::ForgottenReset, RESET, TABLE);
}

#[test]
fn three_runs_follow_one_another() {
    holds(Bounds { commits: 2, generations: 3, compactions: 0, ..SINKS }, &[SHOWS_ALL]);
}

#[test]
fn an_abandoned_snapshot_does_no_harm() {
    holds(Bounds { late: 1, layers: 3, generations: 1, ..SNAPSHOTS }, &[FORGETS]);
}

#[test]
#[ignore = "it takes about 20 minutes"]
fn larger_bounds_hold_too() {
    holds(Bounds { late: 1, damages: 0, ..SNAPSHOTS }, &[SHOWS_ALL, FORGETS]);
    holds(Bounds { foreign: 1, ..SINKS }, &[SHOWS_ALL]);
    holds(Bounds { generations: 3, ..SINKS }, &[SHOWS_ALL]);
    holds(Bounds { generations: 3, ..SNAPSHOTS }, &[SHOWS_ALL, FORGETS]);
    holds(Bounds { records: 4, commits: 4, layers: 3, ..SNAPSHOTS }, &[SHOWS_ALL, FORGETS]);
    holds(Bounds { layers: 1, ..SINKS }, &[SHOWS_ALL]);
    holds(Bounds { late: 1, ..SNAPSHOTS }, &[SHOWS_ALL, FORGETS]);
}

#[test]
fn a_commit_looks_for_its_number_in_the_table() {
    breaks(Weakening::NoTxn, SINKS, TABLE);
}

#[test]
fn an_offset_is_written_with_its_records() {
    breaks(Weakening::OffsetsAfterRecords, SINKS, LOG);
}

#[test]
fn a_manifest_precedes_its_commit() {
    breaks(Weakening::ManifestAfterShowing, SINKS, FINISH);
}

#[test]
fn a_retry_keeps_its_bindings() {
    breaks(Weakening::FreshBindings, SINKS, TABLE);
}

#[test]
fn the_highest_manifest_is_kept() {
    breaks(Weakening::CollectHighest, SINKS, FINISH);
}

#[test]
fn the_manifest_of_another_run_is_not_adopted() {
    breaks(Weakening::AdoptForeign, SINKS, TABLE);
}

#[test]
fn an_unknown_answer_is_not_trusted() {
    breaks(Weakening::TrustUnknown, SINKS, TABLE);
}

#[test]
fn a_version_that_exists_may_be_of_another_program() {
    breaks(Weakening::TrustTaken, Bounds { foreign: 1, ..SINKS }, TABLE);
}

#[test]
fn a_run_shows_the_last_manifest_before_its_own() {
    breaks(Weakening::NoRollForward, SINKS, TABLE);
}

#[test]
fn an_old_run_compacts_nothing() {
    breaks(Weakening::NoFence, Bounds { late: 0, ..SINKS }, TABLE);
}

#[test]
fn a_compaction_is_settled_before_the_next_commit() {
    breaks(Weakening::Unsettled, SINKS, REFUSAL);
}

#[test]
fn a_snapshot_counts_once_a_manifest_names_it() {
    breaks(Weakening::SnapshotsByCreation, SNAPSHOTS, NAMED);
}

#[test]
fn collection_waits_for_a_manifest_of_its_own() {
    breaks(Weakening::CollectEarly, SNAPSHOTS, NAMED);
}

#[test]
fn layers_of_a_kept_snapshot_are_kept() {
    breaks(Weakening::CollectShared, SNAPSHOTS, NAMED);
}

#[test]
fn a_snapshot_on_its_way_is_kept() {
    breaks(Weakening::CollectReady, SNAPSHOTS, NAMED);
}

#[test]
fn the_source_keeps_the_tail_of_the_older_snapshot() {
    breaks(Weakening::ReleaseNewest, SNAPSHOTS, FINISH);
}

#[test]
fn layers_are_durable_before_their_snapshot_is_named() {
    breaks(Weakening::NameEarly, Bounds { late: 1, damages: 0, ..SNAPSHOTS }, NAMED);
}

#[test]
fn a_damaged_snapshot_is_named_no_more() {
    breaks(Weakening::KeepDamaged, SNAPSHOTS, FINISH);
}

#[test]
fn the_fallback_shares_no_layer() {
    breaks(Weakening::SharedFallback, SNAPSHOTS, FINISH);
}

#[test]
fn a_manifest_names_the_fallback_too() {
    breaks(Weakening::SearchedFallback, Bounds { commits: 4, generations: 1, ..SNAPSHOTS }, FINISH);
}

#[test]
fn no_two_snapshots_have_one_name() {
    let bounds = Bounds { late: 1, layers: 3, generations: 1, damages: 0, ..SNAPSHOTS };
    breaks(Weakening::ReusedName, bounds, NAMED);
}

#[test]
fn files_are_deleted_after_a_commit_of_the_run() {
    breaks(Weakening::CleanEarly, SINKS, FINISH);
}
