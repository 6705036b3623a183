//! Killed at any moment and started again, a run ends where one that was never killed ends.

use std::time::Duration;

use rand_core::{RngCore, SeedableRng};

use super::follow::{copy_share, until};
use super::readers::assert_every_commit_equals_the_oracle;
use super::{Place, assert_same};

#[test]
fn a_run_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    let place = Place::new();
    place.run(&["generate", "--to", "all", "--events", "900", "--dirt", "0.1", "--records-per-object", "10"]);
    let mut random = rand_pcg::Pcg64::seed_from_u64(7);
    let manifests = || place.manifests().len();
    let mut committed = 0;
    for round in 1..=12 {
        copy_share(&place.path("all"), &place.path("archive"), round, 12);
        let workers = (random.next_u32() % 3 + 1).to_string();
        let args = ["run", "--from", "archive", "--lake", "lake", "--follow", "--commit-every", "1ms", "--workers", &workers];
        let mut child = place.spawn(&args);
        // Anywhere between before the first byte is read and well after a commit, and often just when one is decided.
        if random.next_u32() % 3 > 0 {
            until("a commit", || manifests() > committed);
        }
        std::thread::park_timeout(Duration::from_millis(u64::from(random.next_u32() % 40)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(manifests() >= committed, "a manifest is gone");
        committed = manifests();
    }
    assert!(committed >= 5, "{committed} commits are too few to mean something");
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    assert_same("after the last kill", &place.oracle("all", &[]), &place.lake("lake", None));
    assert!(place.run(&["check", "--from", "archive", "--lake", "lake"]).contains("equal"));
    assert_every_commit_equals_the_oracle(&place, "archive");
}
