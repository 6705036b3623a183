//! A run that is killed at any moment and started again ends like one that was never killed.

use std::process::Child;
use std::time::Duration;

use rand_core::{RngCore, SeedableRng};

use super::follow::{copy_share, until};
use super::readers::assert_every_commit_equals_the_oracle;
use super::{Place, assert_same};

/// Starts the program `rounds` times and kills it each time. `start` gets the round and first adds
/// input. `done` counts the output, which must never shrink.
pub(super) fn killed_again_and_again(
    rounds: usize,
    done: impl Fn() -> usize,
    mut start: impl FnMut(usize) -> Child,
) {
    let mut random = rand_pcg::Pcg64::seed_from_u64(rounds as u64);
    let mut before = 0;
    for round in 1..=rounds {
        let mut child = start(round);
        // The kill comes at a random moment, from before the first read to after a commit. Often it
        // comes during a commit.
        if random.next_u32() % 3 > 0 {
            until("something", || done() > before);
        }
        std::thread::park_timeout(Duration::from_millis(u64::from(random.next_u32() % 40)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(done() >= before, "something is gone");
        before = done();
    }
    assert!(before * 5 >= rounds * 2, "{before} are too few to mean something");
}

/// Starts a run that follows, with a number of workers that depends on the round.
pub(super) fn following(place: &Place, args: &[&str], round: usize) -> Child {
    let workers = (round * 7 % 3 + 1).to_string();
    place.spawn(&[args, &["--follow", "--commit-every", "1ms", "--workers", &workers]].concat())
}

#[test]
fn a_run_killed_many_times_loses_and_repeats_nothing() {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "all",
        "--events",
        "900",
        "--dirt",
        "0.1",
        "--records-per-object",
        "10",
    ]);
    let args = ["run", "--from", "archive", "--lake", "lake"];
    killed_again_and_again(
        12,
        || place.manifests().len(),
        |round| {
            copy_share(&place.path("all"), &place.path("archive"), round, 12);
            following(&place, &args, round)
        },
    );
    place.run(&args);
    assert_same("after the last kill", &place.oracle("all", &[]), &place.lake("lake", None));
    assert!(place.run(&["check", "--from", "archive", "--lake", "lake"]).contains("equal"));
    assert_every_commit_equals_the_oracle(&place, "archive");
    // Small tables stay readable without support for deletion vectors, for any number of workers.
    assert!(
        ["top_country", "category_by_country", "dead_letters"]
            .iter()
            .all(|table| place.declared(table).is_empty())
    );
}
