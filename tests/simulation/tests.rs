//! The histories of every check.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use watershed::runtime::Summary;
use watershed::simulation::{End, Life, Simulation, draw, pause, start};
use watershed::{ErrorKind, Result};

use super::Histories;
use super::history::history;
use super::programs::Program;
use super::world::{Settings, World};
use crate::support::lossy::Lossy;

/// Returns the first histories.
fn histories(count: u64) -> Histories {
    Histories { seeds: 1..1 + count, parallel: 1, twice: false, bug: None, prints: false }
}

#[test]
fn one_seed_is_one_history_without_a_difference() {
    let report = Histories { twice: true, parallel: 2, ..histories(200) }.run();
    println!("{report}");
    assert!(report.failed == 0, "{report}");
    assert_eq!(report.never(), [""; 0], "{report}");
}

#[test]
#[ignore = "another test runs it in a process of its own"]
fn traces() {
    println!("trace {:x}", histories(10).run().trace);
}

#[test]
fn other_processes_make_the_same_histories() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "simulation::tests::traces", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let trace = printed.lines().find_map(|line| line.strip_prefix("trace "));
    let own = histories(10).run().trace;
    assert_eq!(trace, Some(&*format!("{own:x}")), "{printed}");
}

#[test]
fn histories_find_every_planted_bug() {
    let bugs = [
        ("backward_frontier", "the frontier of the workers moved backwards"),
        ("late_barrier", "no end after"),
        ("lost_wakeup", "no end after"),
        ("binding_off_by_one", ""),
        ("fresh_bindings", ""),
        ("offsets_after_commit", "which no manifest names"),
        ("collected_snapshot", ""),
        ("mislabelled_snapshot", ""),
        ("dropped_bucket", ""),
        ("colliding_digest", ""),
    ];
    for (bug, words) in bugs {
        let found = |seed| {
            let bug = Some(bug.to_string());
            let result = history(Simulation { bug, ..Simulation::new(seed) }).result;
            result.and_then(|result| result.map(|_| ())).err().filter(|text| text.contains(words))
        };
        let first = (1..400).find_map(|seed| Some((seed, found(seed)?)));
        let (seed, text) = first.unwrap_or_else(|| panic!("{bug} is not found"));
        println!("{bug}: seed {seed}: {text}");
    }
}

/// Returns the kinds of errors of an older run and of a newer one, which begins soon afterwards.
fn takeover(older_stops: Duration) -> [Option<ErrorKind>; 2] {
    let world = Arc::new(World::new(Program::Tables, false));
    let run = || start(None, world.run(Lossy::to(&world.bucket), Settings::to_the_end(1)));
    let end = |life: Life<Result<Summary>>| match life.join() {
        End::Returned(result) => result.err().map(|error| error.kind()),
        End::Crashed(place) => panic!("a crash at {place}"),
    };
    world.append(8);
    assert_eq!(end(run()), None);
    world.append(8);
    let older = run();
    pause(Duration::from_micros(draw(60_000)));
    older.stop(older_stops);
    world.append(8);
    let newer = end(run());
    [end(older), newer]
}

/// Returns the errors of older and of newer runs, and checks that none has found any damage.
fn takeovers(older_stops: Duration) -> [Vec<ErrorKind>; 2] {
    let mut errors = [Vec::new(), Vec::new()];
    for seed in 0..150 {
        let ends = Simulation::new(seed).run(|| takeover(older_stops)).result.unwrap();
        for (all, error) in errors.iter_mut().zip(ends) {
            assert_ne!(error, Some(ErrorKind::Data), "seed {seed}");
            all.extend(error);
        }
    }
    errors
}

#[test]
fn a_run_that_is_overtaken_in_its_recovery_finds_no_damage() {
    let [older, newer] = takeovers(Duration::from_secs(10));
    assert!(older.contains(&ErrorKind::Superseded), "{older:?}");
    assert_eq!(newer, []);
}

#[test]
fn a_run_that_begins_beside_another_finds_no_damage() {
    let [older, _] = takeovers(Duration::ZERO);
    assert!(older.contains(&ErrorKind::Superseded), "{older:?}");
}

#[test]
fn two_runs_that_begin_at_once_share_an_empty_place() {
    let begin = || {
        let world = Arc::new(World::new(Program::Tables, false));
        world.append(6);
        let run = || world.run(Lossy::to(&world.bucket), Settings::to_the_end(1));
        [(); 2].map(|()| start(None, run())).map(|life| match life.join() {
            End::Returned(result) => result.err().map(|error| (error.kind(), error.to_string())),
            End::Crashed(place) => panic!("a crash at {place}"),
        })
    };
    let mut refused = 0;
    for seed in 0..100 {
        for (kind, text) in Simulation::new(seed).run(begin).result.unwrap().into_iter().flatten() {
            assert!([ErrorKind::Superseded, ErrorKind::Connect].contains(&kind), "{seed}: {text}");
            refused += 1;
        }
    }
    assert!(refused > 0, "the runs were never at work at the same time");
}

#[test]
fn an_hour_of_virtual_time_takes_no_time() {
    let hour = Duration::from_secs(3600);
    let history = Simulation::new(1).run(|| {
        let life = start(None, move || pause(hour));
        matches!(life.join(), End::Returned(()))
    });
    assert_eq!(history.result, Ok(true));
    assert!(history.time >= hour && history.turns < 100, "{history:?}");
}

#[test]
fn a_crash_ends_a_life_at_the_drawn_turn() {
    let crash = |turn| {
        Simulation::new(3).run(move || match start(Some(turn), || pause(Duration::MAX)).join() {
            End::Crashed(place) => place,
            End::Returned(()) => "no crash".into(),
        })
    };
    assert_eq!(crash(1).result, Ok("a pause".to_string()));
}
