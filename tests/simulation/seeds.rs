//! Named seeds: for each bug that a history has found, real or planted, the seed of the first one.
//! Tests replay it before all other seeds.
//!
//! A seed stands for a history only as long as the library draws the same numbers in the same
//! order. After another change the seed is one of many, and the tests print which seed finds a
//! planted bug now.

/// A bug and the seed that finds it.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) seed: u64,
    /// The bug, or for a planted one words of the failure.
    pub(super) found: &'static str,
}

/// Bugs of the library that histories of two runs have found.
pub(super) const FOUND: [Named; 3] = [
    Named {
        name: "overtaken",
        seed: 0,
        found: "a run stopped in its recovery compared its rows with those of a newer run",
    },
    Named {
        name: "beside",
        seed: 0,
        found: "a run that began beside the last commit of another compared its rows with it",
    },
    Named {
        name: "at once",
        seed: 5,
        found: "the second of two runs in an empty place refused the file of the first",
    },
];

/// Planted bugs.
pub(super) const PLANTED: [Named; 11] = [
    planted("backward_frontier", 1, "the frontier of the workers moved backwards"),
    planted("late_barrier", 4, "no end after"),
    planted("lost_wakeup", 4, "no end after"),
    planted("binding_off_by_one", 3, ""),
    planted("fresh_bindings", 4, ""),
    planted("offsets_after_commit", 1, "which no manifest names"),
    planted("collected_manifest", 1, "which no manifest names"),
    planted("collected_snapshot", 1, ""),
    planted("mislabelled_snapshot", 8, ""),
    planted("dropped_bucket", 8, ""),
    planted("colliding_digest", 3, ""),
];

const fn planted(name: &'static str, seed: u64, found: &'static str) -> Named {
    Named { name, seed, found }
}

/// Returns the seed of a bug that two runs have found.
pub(super) fn of_two_runs(name: &str) -> u64 {
    let named = FOUND.iter().find(|named| named.name == name).unwrap();
    println!("seed {}: {}", named.seed, named.found);
    named.seed
}
