//! The short campaign, and the checks of the campaign itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Campaign;
use super::bugs::{after, at, life, programs};
use super::cluster::{Cluster, End, Strike, Target};
use super::oracle::{Answer, Oracle};
use super::plan::{Fault, Life, Moment, PlannedChange, Runs, World, plan};
use super::points::{points, spots};
use super::report::{MISSED, Report};
use super::worlds::{Change, KINDS, Kind, Occasion, generate_visits};
use crate::support::proxy::Weather;

/// Runs a campaign.
pub(super) fn run(plan: Vec<World>) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let campaign = Campaign {
        programs: &programs(),
        folder: folder.path(),
        plan,
        bug: None,
        progress: &|line| println!("{line}"),
    };
    let report = campaign.run();
    println!("{report}");
    report
}

/// Faults and points that strike in the thirty lives on any machine. The other points need more
/// commits than a busy machine makes before the log of a life ends.
const STRUCK: [&str; 16] = [
    "archive: kill at a moment",
    "archive: kill at a point",
    "archive: pause and takeover at a point",
    "archive: full disk",
    "archive: slow disk and kill",
    "archive: second run beside the first",
    "archive: the supervisor is killed",
    "archive: one of several is killed at a point",
    "archive: one of several hangs",
    "archive: SIGTERM at another process",
    "commit.sink.before",
    "commit.staged",
    "recovery.table.before",
    "reset.manifest.before",
    "reset.table.after in process 0 of several",
    "cluster.gathered in process 0 of several",
];

#[test]
fn thirty_lives_with_faults_lose_and_repeat_nothing() {
    let (kind, kinds) = (Kind::Archive, [Kind::Archive]);
    let all = Report::default().never(&kinds, Runs::All);
    assert!(STRUCK.iter().all(|name| all.iter().any(|it| it == name)), "{all:?}");
    let report = run(plan(1, 30, &kinds, Runs::All));
    assert!(report.is_right(), "{report}");
    assert_eq!(report.lives, 30);
    let never = report.never(&kinds, Runs::All);
    let missed = STRUCK.iter().filter(|name| never.iter().any(|it| it == *name));
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "{missed:?} never struck: {report}");
    assert!(report.counted(kind, MISSED) <= 15, "too few faults struck: {report}");
}

#[test]
fn lives_in_several_processes_lose_and_repeat_nothing() {
    let commit = |millis| Moment::Commit(Duration::from_millis(millis));
    let kill_at = |process, point| Strike::KillAt { process, at: at(point, 1), times: 1 };
    let silent = Strike::Link { process: 0, weather: Weather::Silent, moment: commit(20) };
    let strikes = [
        (2, Strike::Kill(Target::Process(0), commit(30))),
        (2, Strike::Kill(Target::Supervisor, commit(20))),
        (2, Strike::KillAt { process: 0, at: at("cluster.gathered", 1), times: 2 }),
        (2, kill_at(1, "recover.load")),
        (2, Strike::HangAt { process: 0, at: at("commit.staged", 2) }),
        (2, silent),
        (3, Strike::KillMachine { process: 2, moment: commit(0) }),
        (3, Strike::Terminate(Target::All, commit(10))),
    ];
    let end = End::Terminate(Target::Process(1));
    let faults = strikes
        .map(|(processes, strike)| Fault::Cluster(Cluster { processes, strike, end }))
        .into_iter()
        .chain([after(0)]);
    // The archive grows slowly, so that it lasts for all lives, and few versions are compared.
    let commit_every = Duration::from_millis(40);
    let slow = |fault| Life { workers: 1, quick_portions: 10, commit_every, ..life(fault) };
    let lives = faults.map(slow);
    let (kind, lives) = (Kind::Archive, lives.collect());
    let report = run(vec![World { kind, seed: 7, lives }]);
    assert!(report.is_right() && report.counted(kind, MISSED) == 0, "{report}");
}

#[test]
fn a_world_of_event_time_has_rows_of_each_table() {
    let folder = tempfile::tempdir().unwrap();
    generate_visits(folder.path(), 700, 1);
    let mut oracle = Oracle::start(Kind::Visits);
    let Answer { tables, late, .. } = oracle.answer(folder.path(), &serde_json::Value::Null, 4);
    let rows: Vec<_> = tables.iter().map(|(name, rows)| (name.as_str(), rows.len())).collect();
    assert!(rows.len() == 14 && rows.iter().all(|(_, count)| *count >= 5), "{rows:?}");
    assert!(late.len() == 8 && late.values().all(|count| *count > 10), "{late:?}");
}

/// Tables, and late records, of windows, sessions, outer joins and suppression. Versions of the
/// program adopt the state of one another.
#[test]
fn lives_of_event_time_lose_and_repeat_nothing() {
    let commit = Moment::Commit(Duration::from_millis(20));
    let cluster = |processes, strike| {
        let end = End::Terminate(Target::Supervisor);
        Fault::Cluster(Cluster { processes, strike, end })
    };
    let faults = [
        (1, 0, Fault::Kill(commit)),
        (2, 0, Fault::KillAt(at("snapshot.object", 2))),
        (4, 1, Fault::Takeover(commit)),
        (1, 0, Fault::KillAt(at("commit.manifest.after", 1))),
        (2, 3, Fault::KillAt(at("merge", 1))),
        (1, 3, cluster(2, Strike::Kill(Target::Process(1), commit))),
        (2, 6, cluster(3, Strike::KillAt { process: 0, at: at("commit.staged", 1), times: 1 })),
        (4, 5, Fault::TakeoverAt(at("recover.load", 1))),
        (1, 4, after(100)),
    ];
    let commit_every = Duration::from_millis(20);
    let life = |(workers, version, fault)| Life {
        workers,
        version,
        quick_portions: 20,
        commit_every,
        ..life(fault)
    };
    let (kind, lives) = (Kind::Visits, faults.map(life).to_vec());
    let report = run(vec![World { kind, seed: 4, lives }]);
    assert!(report.is_right() && report.counted(kind, MISSED) == 0, "{report}");
    assert!(report.findings.late > 100 && report.findings.adoptions > 4, "{report}");
}

/// A life with a change of the log.
fn changed(change: Change, occasion: Occasion, fault: Fault) -> Life {
    Life { change: Some(PlannedChange { change, occasion }), ..life(fault) }
}

/// Runs a world with a service. Each fault must strike, and each condition must be met.
fn assert_service(kind: Kind, lives: [Life; 5]) {
    if !kind.is_ready() {
        return;
    }
    // The log grows slowly, so that it lasts for all lives.
    let lives = lives.map(|life| Life { quick_portions: 20, ..life }).to_vec();
    let report = run(vec![World { kind, seed: 5, lives }]);
    assert!(report.is_right() && report.counted(kind, MISSED) == 0, "{report}");
    // One change is also made in a pause.
    let unmet = kind.conditions().into_iter().filter(|name| report.counted(kind, name) == 0);
    let unmet: Vec<_> = unmet.collect();
    assert!(unmet.iter().all(|name| name.ends_with("in a pause")), "{unmet:?}: {report}");
    assert_eq!(unmet.len(), 1, "{unmet:?}: {report}");
}

#[test]
fn lives_on_kafka_lose_and_repeat_nothing() {
    let commit = Moment::Commit(Duration::from_millis(20));
    let away = Fault::Outage { weather: Weather::Silent, begin: commit, millis: 400 };
    let killed = Fault::KillAt(at("commit.sink.before", 3));
    let lives = [
        changed(Change::AddPartition, Occasion::InLife, after(100)),
        changed(Change::Retention, Occasion::BetweenLives, killed),
        changed(Change::Retention, Occasion::InPause, Fault::Takeover(commit)),
        changed(Change::AddPartition, Occasion::BetweenLives, away),
        changed(Change::Retention, Occasion::InLife, Fault::Kill(commit)),
    ];
    assert_service(Kind::Kafka, lives);
}

#[test]
fn lives_on_kinesis_lose_and_repeat_nothing() {
    let commit = Moment::Commit(Duration::from_millis(20));
    let away = Fault::Outage { weather: Weather::Closed, begin: commit, millis: 400 };
    let killed = Fault::KillAt(at("commit.sink.before", 3));
    let lives = [
        changed(Change::SplitShard, Occasion::InLife, after(100)),
        changed(Change::MergeShards, Occasion::BetweenLives, killed),
        changed(Change::SplitShard, Occasion::InPause, Fault::Takeover(commit)),
        changed(Change::SplitShard, Occasion::BetweenLives, away),
        changed(Change::MergeShards, Occasion::InLife, Fault::Kill(commit)),
    ];
    assert_service(Kind::Kinesis, lives);
}

#[test]
fn a_run_overtaken_at_its_start_is_superseded() {
    let commit = Moment::Commit(Duration::ZERO);
    let pause = |point| Fault::TakeoverAt(at(point, 5));
    let faults = [
        Fault::Terminate(commit),
        pause("recovery.table.before"),
        pause("recovery.table.after"),
        Fault::Rival(commit),
    ];
    // The archive grows slowly, so that it lasts for all lives.
    let lives = faults.map(|fault| Life { quick_portions: 20, ..life(fault) }).to_vec();
    let kind = Kind::Archive;
    let report = run(vec![World { kind, seed: 5, lives }]);
    assert!(report.is_right() && report.counted(kind, MISSED) == 0, "{report}");
}

/// The second run examines all tables, and the first makes a commit in less time.
#[test]
fn a_run_that_commits_all_the_time_is_taken_over() {
    let rival = life(Fault::Rival(Moment::Commit(Duration::ZERO)));
    let kind = Kind::Archive;
    let report = run((0..4).map(|seed| World { kind, seed, lives: vec![rival] }).collect());
    assert!(report.is_right() && report.counted(kind, MISSED) == 0, "{report}");
}

#[test]
fn a_reset_that_dies_or_is_overtaken_at_any_point_is_completed() {
    let points = [
        at("reset.manifest.before", 1),
        at("reset.manifest.after", 1),
        at("reset.sink.before", 1),
        at("reset.sink.after", 4),
        at("reset.table.before", 4),
        at("reset.table.after", 1),
    ];
    let commit = Fault::Terminate(Moment::Commit(Duration::ZERO));
    let kills = points.iter().flat_map(|at| [Fault::KillAt(*at), commit]);
    let pauses = points.iter().step_by(3).map(|at| Fault::TakeoverAt(*at));
    let lives = [commit].into_iter().chain(kills).chain(pauses).chain([commit]);
    let lives: Vec<_> = lives.map(|fault| Life { quick_portions: 10, ..life(fault) }).collect();
    let (kind, count) = (Kind::Archive, lives.len());
    let report = run(vec![World { kind, seed: 6, lives }]);
    assert!(report.is_right() && report.counted(kind, MISSED) == 0, "{report}");
    assert_eq!(report.deaths.values().sum::<u64>(), points.len() as u64, "{report}");
    assert_eq!(report.lives, count);
}

/// Returns the text of all files of Rust below `folder`.
fn source(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.extension() {
        _ if path.is_dir() => source(&path),
        Some(extension) if extension == "rs" => std::fs::read_to_string(&path).unwrap(),
        _ => String::new(),
    };
    entries.map(text).collect()
}

/// Returns the names that a text has behind `call`.
fn named(text: &str, call: &str) -> BTreeSet<String> {
    let names = text.split(call).skip(1);
    names.filter_map(|rest| Some(rest.split_once('"')?.0.to_string())).collect()
}

/// The calls behind which the library has names of points and of bugs.
const POINT: &str = "faults::point(\"";
const BUG: &str = "faults::bug(\"";

#[test]
fn a_campaign_plans_every_point_of_the_library() {
    let library = source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let (mut found, bugs) = (named(&library, POINT), named(&library, BUG));
    // A point within a planted bug has the name of the bug.
    found.retain(|point| !bugs.contains(point));
    let planned = points().into_iter().chain(spots().into_iter().map(|spot| spot.point));
    assert_eq!(found, planned.map(str::to_owned).collect());
}

#[test]
fn a_test_plants_each_bug_of_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [library, tests] = ["src", "tests"].map(|folder| source(&root.join(folder)));
    let (bugs, all) = (named(&library, BUG), library + &tests);
    assert!(bugs.len() > 20, "{bugs:?}");
    // A test has the name in a list or as an argument, not behind these calls.
    let is_planted = |bug: &String| {
        let count = |before: &str| all.matches(&format!("{before}\"{bug}\"")).count();
        count("") > count("faults::bug(") + count("faults::point(")
    };
    let forgotten: Vec<_> = bugs.iter().filter(|bug| !is_planted(bug)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn a_seed_decides_the_whole_plan() {
    let drawn = |seed, lives| plan(seed, lives, &KINDS, Runs::All);
    assert_eq!(drawn(7, 500), drawn(7, 500));
    assert_ne!(drawn(7, 500), drawn(8, 500));
    let lives: Vec<_> = drawn(7, 3000).into_iter().flat_map(|world| world.lives).collect();
    assert_eq!(lives.len(), 3000);
    let planned: BTreeSet<_> =
        lives.iter().filter_map(|life| life.fault.point()).map(|at| at.point).collect();
    let all = points().into_iter().chain(spots().into_iter().map(|spot| spot.point));
    assert_eq!(planned, all.collect(), "every point is planned");
}
