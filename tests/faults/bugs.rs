//! Planted bugs: each must be found, by a campaign of a few lives or by the record of the syncs.
//! Some need a log of a service.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Campaign;
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
        fault,
    }
}

/// Returns the report of a campaign of these faults with a bug.
fn findings(kind: Kind, bug: &str, faults: &[Fault]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let lives = faults.iter().map(|fault| life(*fault)).collect();
    let campaign = Campaign {
        program: Path::new(env!("CARGO_BIN_EXE_pinterest")),
        folder: folder.path(),
        plan: vec![World { kind, seed: 3, lives }],
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

/// Plants bugs one after the other. Each must be found, in these words.
fn assert_found(kind: Kind, bugs: &[(&str, &[Fault], &str)]) {
    for (bug, faults, words) in bugs {
        let found = findings(kind, bug, faults);
        assert!(found.iter().any(|fault| fault.contains(words)), "{bug} is not found: {found:?}");
        println!("{bug}: {}", found[0].lines().next().unwrap_or_default());
    }
}

#[test]
fn the_campaign_finds_every_planted_bug() {
    let overtaken = Fault::TakeoverAt(at("compaction.before", 1));
    let bugs: [(&str, &[Fault], &str); 6] = [
        ("no_txn_check", &[Fault::KillAt(at("commit.end", 1)), after(0)], "again"),
        (
            "offsets_after_commit",
            &[Fault::KillAt(at("commit.manifest.before", 2)), after(0)],
            "there is no such manifest",
        ),
        ("fresh_bindings", &[after(700), after(700), after(700)], "rows"),
        ("binding_off_by_one", &[after(0)], "rows too many"),
        ("old_rearrangement", &[overtaken; 5], ""),
        ("colliding_digest", &[after(2000), after(2000)], "rows lost"),
    ];
    assert_found(Kind::Archive, &bugs);
}

#[test]
fn a_campaign_on_kafka_finds_its_planted_bugs() {
    if Kind::Kafka.is_ready() {
        // A commit may change nothing, and then it proves nothing.
        let killed = Fault::KillAt(at("commit.manifest.before", 2));
        let bugs: [(&str, &[Fault], &str); 2] = [
            ("offsets_after_commit", &[killed; 4], "there is no such manifest"),
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
