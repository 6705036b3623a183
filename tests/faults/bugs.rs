//! Planted bugs: each must be found, by a campaign of a few lives or by the record of the syncs.
//! Some need a log of a service.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Campaign;
use super::cluster::{Cluster, End, Strike, Target};
use super::plan::{Fault, Life, Moment, World};
use super::points::At;
use super::worlds::Kind;
use crate::support::disk::{DiskCalls, watched};

/// A life with small limits, in which the log grows quickly.
pub(super) fn life(fault: Fault) -> Life {
    Life {
        workers: 2,
        other_workers: 1,
        small: true,
        commit_every: Duration::from_millis(1),
        pause: Duration::from_millis(1),
        quick_portions: 200,
        change: None,
        version: 0,
        fault,
    }
}

/// Returns the folder of the programs.
pub(super) fn programs() -> PathBuf {
    let programs = [env!("CARGO_BIN_EXE_pinterest"), env!("CARGO_BIN_EXE_visits")];
    let [folder, other] = programs.map(|program| Path::new(program).parent().unwrap());
    assert_eq!(folder, other);
    folder.into()
}

/// Returns the findings of a campaign in these worlds with a bug.
fn findings(plan: Vec<World>, bug: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let campaign = Campaign {
        programs: &programs(),
        folder: folder.path(),
        plan,
        bug: Some(bug),
        progress: &|line| println!("{line}"),
    };
    campaign.run().findings.faults
}

pub(super) fn at(point: &'static str, passing: u64) -> At {
    At { point, passing }
}

/// The end of a life some time after its first commit.
pub(super) fn after(millis: u64) -> Fault {
    Fault::Terminate(Moment::Commit(Duration::from_millis(millis)))
}

/// Plants bugs one after the other. Each must be found, in one of these words, which `|` separates.
fn assert_found(kind: Kind, bugs: &[(&str, &[Fault], &str)]) {
    for (bug, faults, words) in bugs {
        let lives = faults.iter().map(|fault| life(*fault)).collect();
        let found = findings(vec![World { kind, seed: 3, lives }], bug);
        let is_meant = |fault: &String| words.split('|').any(|words| fault.contains(words));
        assert!(found.iter().any(is_meant), "{bug} is not found: {found:?}");
        println!("{bug}: {}", found[0].lines().next().unwrap_or_default());
    }
}

#[test]
fn the_campaign_finds_every_planted_bug() {
    let bugs: [(&str, &[Fault], &str); 5] = [
        ("no_txn_check", &[Fault::KillAt(at("commit.end", 1)), after(0)], "again"),
        (
            "offsets_after_commit",
            &[2, 3, 4, 5].map(|passing| Fault::KillAt(at("commit.manifest.before", passing))),
            "there is no such manifest",
        ),
        ("fresh_bindings", &[after(700), after(700), after(700)], "rows"),
        ("binding_off_by_one", &[after(0)], "rows too many"),
        ("colliding_digest", &[after(2000), after(2000)], "rows lost"),
    ];
    assert_found(Kind::Archive, &bugs);
}

#[test]
fn a_campaign_of_event_time_finds_its_planted_bugs() {
    let bugs: [(&str, &[Fault], &str); 3] = [
        ("lost_part", &[after(300); 4], "rows"),
        // A partition time that is too low lets fewer records be late, keeps windows open, or both.
        ("lost_time", &[after(300); 4], "rows too many|late records, not|lacks commit"),
        ("binding_off_by_one", &[after(0)], "rows too many"),
    ];
    assert_found(Kind::Visits, &bugs);
}

#[test]
fn campaigns_of_joins_and_epochs_find_their_planted_bugs() {
    let bugs = [(8, "lost_part", "rows"), (16, "lost_rows", "looked"), (16, "lost_wake", "calm")];
    for (version, bug, words) in bugs {
        let lives = vec![Life { version, ..life(after(300)) }; 4];
        let found = findings(vec![World { kind: Kind::Visits, seed: 3, lives }], bug);
        assert!(found.iter().any(|fault| fault.contains(words)), "{bug} is not found: {found:?}");
        println!("{bug}: {}", found[0].lines().next().unwrap_or_default());
    }
}

#[test]
fn the_campaign_finds_a_rearrangement_by_an_old_run() {
    // Each life has a log of its own: it may need many records until a table shows the damage.
    let overtaken = life(Fault::TakeoverAt(at("compaction.before", 1)));
    let world = |seed| World { kind: Kind::Archive, seed, lives: vec![overtaken] };
    let found = findings((3..13).map(world).collect(), "old_rearrangement");
    assert!(!found.is_empty());
}

/// A socket with a deadline returns EINTR when the process continues after a pause.
#[test]
fn the_campaign_finds_a_socket_that_no_pause_may_interrupt() {
    let moment = Moment::Commit(Duration::from_millis(20));
    let strike = Strike::Pause { process: 1, moment, millis: 300 };
    let paused = Cluster { processes: 2, strike, end: End::Terminate(Target::Process(0)) };
    let faults = &[Fault::Cluster(paused); 3];
    assert_found(Kind::Archive, &[("interrupted_socket", faults, "a short pause ended all")]);
}

#[test]
fn a_campaign_on_kafka_finds_its_planted_bugs() {
    if Kind::Kafka.is_ready() {
        // A commit may name a snapshot and change nothing. Then it proves nothing.
        let killed = [2, 3, 4, 5, 2, 3, 4, 5]
            .map(|passing| Fault::KillAt(at("commit.manifest.before", passing)));
        let bugs: [(&str, &[Fault], &str); 2] = [
            ("offsets_after_commit", &killed, "there is no such manifest"),
            ("skipped_offset", &[after(0); 4], "rows lost"),
        ];
        assert_found(Kind::Kafka, &bugs);
    }
}

#[test]
fn a_campaign_on_kinesis_finds_its_planted_bugs() {
    if Kind::Kinesis.is_ready() {
        let bugs: [(&str, &[Fault], &str); 2] = [
            ("skipped_sequence", &[after(0)], "records the sequence numbers"),
            ("binding_off_by_one", &[after(0)], "rows too many"),
        ];
        assert_found(Kind::Kinesis, &bugs);
    }
}

/// Returns the files of a lake below `folder` that no recorded sync covers.
fn unsynced(folder: &Path, calls: &DiskCalls) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(unsynced(&path, calls));
            continue;
        }
        // A file is synced under the name of its draft, which begins with a dot.
        let name = path.file_name().unwrap().to_str().unwrap();
        let draft = path.with_file_name(format!(".{name}."));
        let covers =
            |synced: &str| Path::new(synced) == path || synced.starts_with(draft.to_str().unwrap());
        if calls.first("synced", covers).is_none() {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_skipped_sync_of_any_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let run = |args: &[&str], bug: &str, log: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinterest"));
        command.current_dir(&root).args(args).env("WATERSHED_BUG", bug);
        watched(&mut command, &root.join(log), None);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        DiskCalls::read(&root.join(log))
    };
    run(&["generate", "--to", "archive", "--events", "60"], "", "generated");
    let calls = run(&["run", "--from", "archive", "--lake", "sound"], "", "calls");
    assert_eq!(unsynced(&root.join("sound"), &calls), [""; 0]);
    let calls =
        run(&["run", "--from", "archive", "--lake", "lossy"], "skipped_sync", "other calls");
    assert!(!unsynced(&root.join("lossy"), &calls).is_empty(), "every file was synced");
}
