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
use super::seeds::{FOUND, Named, PLANTED, of_two_runs};
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
fn histories_of_named_seeds_are_sound() {
    for Named { name, seed, .. } in PLANTED.iter().chain(&FOUND) {
        let result = history(Simulation::new(*seed)).result;
        assert!(matches!(result, Ok(Ok(_))), "seed {seed} of {name}: {result:?}");
    }
}

#[test]
fn histories_find_every_planted_bug() {
    for Named { name, seed: named, found: words } in PLANTED {
        let found = |seed| {
            let bug = Some(name.to_string());
            let result = history(Simulation { bug, ..Simulation::new(seed) }).result;
            result.and_then(|result| result.map(|_| ())).err().filter(|text| text.contains(words))
        };
        let mut seeds = [named].into_iter().chain(1..400);
        let first = seeds.find_map(|seed| Some((seed, found(seed)?)));
        let (seed, text) = first.unwrap_or_else(|| panic!("{name} is not found"));
        println!("{name}: seed {seed}, named {named}: {text}");
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
fn takeovers(named: u64, older_stops: Duration) -> [Vec<ErrorKind>; 2] {
    let mut errors = [Vec::new(), Vec::new()];
    for seed in [named].into_iter().chain(0..150) {
        let ends = Simulation::new(seed).run(|| takeover(older_stops)).result.unwrap();
        if ends[0] == Some(ErrorKind::Superseded) && !errors[0].contains(&ErrorKind::Superseded) {
            println!("seed {seed} is the first in which the older run is superseded");
        }
        for (all, error) in errors.iter_mut().zip(ends) {
            assert_ne!(error, Some(ErrorKind::Data), "seed {seed}");
            all.extend(error);
        }
    }
    errors
}

#[test]
fn a_run_that_is_overtaken_in_its_recovery_finds_no_damage() {
    let [older, newer] = takeovers(of_two_runs("overtaken"), Duration::from_secs(10));
    assert!(older.contains(&ErrorKind::Superseded), "{older:?}");
    assert_eq!(newer, []);
}

#[test]
fn a_run_that_begins_beside_another_finds_no_damage() {
    let [older, _] = takeovers(of_two_runs("beside"), Duration::ZERO);
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
    for seed in [of_two_runs("at once")].into_iter().chain(0..100) {
        for (kind, text) in Simulation::new(seed).run(begin).result.unwrap().into_iter().flatten() {
            assert!([ErrorKind::Superseded, ErrorKind::Connect].contains(&kind), "{seed}: {text}");
            if refused == 0 {
                println!("seed {seed} is the first in which a run is refused: {text}");
            }
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
