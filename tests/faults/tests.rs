//! The short campaign, and the checks of the campaign itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::Campaign;
use super::bugs::life;
use super::plan::{At, FAULTS, Fault, Life, Moment, World, plan, points};

#[test]
fn thirty_lives_with_faults_lose_and_repeat_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_pinterest"));
    let progress = |line: &str| println!("{line}");
    let plan = plan(1, 30);
    let campaign =
        Campaign { program, folder: folder.path(), plan, bug: None, progress: &progress };
    let report = campaign.run();
    println!("{report}");
    assert!(report.is_right(), "{report}");
    assert_eq!(report.lives, 30);
    let planned = FAULTS.len() + points().len();
    assert!(report.never().len() < planned / 2, "too few faults struck: {report}");
}

#[test]
fn a_run_overtaken_at_its_start_is_superseded() {
    let (folder, commit) = (tempfile::tempdir().unwrap(), Moment::Commit(Duration::ZERO));
    let pause = |point| Fault::TakeoverAt(At { point, passing: 5 });
    let faults = [
        Fault::Terminate(commit),
        pause("recovery.table.before"),
        pause("recovery.table.after"),
        Fault::Rival(commit),
    ];
    // The archive grows slowly, so that it lasts for all lives.
    let lives = faults.map(|fault| Life { quick_objects: 20, ..life(fault) }).to_vec();
    let campaign = Campaign {
        program: Path::new(env!("CARGO_BIN_EXE_pinterest")),
        folder: folder.path(),
        plan: vec![World { seed: 5, lives }],
        bug: None,
        progress: &|line| println!("{line}"),
    };
    let report = campaign.run();
    assert!(report.is_right() && report.missed == 0, "{report}");
}

/// Returns the names of points in the files below `folder`.
fn named(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let names = text.split("faults::point(\"").skip(1);
        found.extend(names.filter_map(|rest| Some(rest.split_once('"')?.0.to_string())));
    }
}

#[test]
fn a_campaign_plans_every_point_of_the_library() {
    let mut found = BTreeSet::new();
    named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert_eq!(found, points().into_iter().map(str::to_owned).collect());
}

#[test]
fn a_seed_decides_the_whole_plan() {
    assert_eq!(plan(7, 500), plan(7, 500));
    assert_ne!(plan(7, 500), plan(8, 500));
    let lives: Vec<_> = plan(7, 500).into_iter().flat_map(|world| world.lives).collect();
    assert_eq!(lives.len(), 500);
    let planned: BTreeSet<_> =
        lives.iter().filter_map(|life| life.fault.point()).map(|at| at.point).collect();
    assert_eq!(planned, points().into_iter().collect(), "every point is planned");
}
