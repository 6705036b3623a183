//! Short campaigns in worlds of event time: programs of joins in time, and of tables that depend on
//! where epochs end.

use std::time::Duration;

use super::bugs::{after, at, life};
use super::cluster::{Cluster, End, Strike, Target};
use super::oracle::{Answer, Oracle};
use super::plan::{Fault, Life, Moment, World};
use super::report::MISSED;
use super::tests::run;
use super::worlds::{Kind, generate_visits};

#[test]
fn each_family_has_rows_of_each_of_its_tables() {
    for (version, exact, chosen, steps) in [(8 | 4, 11, 0, 2), (16 | 4, 7, 8, 3)] {
        let folder = tempfile::tempdir().unwrap();
        generate_visits(folder.path(), 700, 1);
        let mut oracle = Oracle::start(Kind::Visits);
        let Answer { tables, choices, late } =
            oracle.answer(folder.path(), &serde_json::Value::Null, version);
        let rows: Vec<_> = tables.iter().map(|(name, rows)| (name.as_str(), rows.len())).collect();
        assert!(rows.len() == exact && rows.iter().all(|(_, count)| *count >= 4), "{rows:?}");
        let keys: Vec<_> = choices.iter().map(|(name, keys)| (name.as_str(), keys.len())).collect();
        assert!(keys.len() == chosen && keys.iter().all(|(_, count)| *count >= 4), "{keys:?}");
        assert!(late.len() == steps && late.values().all(|count| *count > 10), "{late:?}");
    }
}

/// Runs a world of a family, whose versions adopt the state of one another.
fn assert_lives(family: u8, seed: u64) {
    let commit = Moment::Commit(Duration::from_millis(20));
    let cluster = |processes, strike| {
        let end = End::Terminate(Target::Supervisor);
        Fault::Cluster(Cluster { processes, strike, end })
    };
    let faults = [
        (1, 0, Fault::KillAt(at("commit.staged", 3))),
        (4, 0, Fault::Kill(commit)),
        (2, 1, Fault::KillAt(at("snapshot.object", 2))),
        (4, 3, cluster(2, Strike::Kill(Target::Process(1), commit))),
        (1, 2, Fault::Takeover(commit)),
        (2, 6, cluster(3, Strike::KillAt { process: 0, at: at("commit.staged", 1), times: 1 })),
        (1, 5, Fault::KillAt(at("commit.manifest.after", 2))),
        (4, 5, after(100)),
    ];
    let commit_every = Duration::from_millis(20);
    let life = |(workers, version, fault)| {
        let version = family << 3 | version;
        Life { workers, version, quick_portions: 20, commit_every, ..life(fault) }
    };
    let (kind, lives) = (Kind::Visits, faults.map(life).to_vec());
    let report = run(vec![World { kind, seed, lives }]);
    assert!(report.is_right() && report.counted(kind, MISSED) == 0, "{report}");
    assert!(report.findings.late > 100 && report.findings.adoptions > 3, "{report}");
}

#[test]
fn lives_of_joins_in_time_lose_and_repeat_nothing() {
    assert_lives(1, 4);
}

/// Results of look-ups stay, and changes that wait are not forgotten.
#[test]
fn lives_of_tables_by_epoch_lose_and_repeat_nothing() {
    assert_lives(2, 4);
}
