//! A run continues after a power loss at any point, and nothing that it has reported is lost.
//!
//! A process writes the state, Delta tables and an archive to folders, and a library records its
//! changes to files. Then the folder is rebuilt as a disk could have kept it: synced bytes and
//! names, and any part of the others. From each such folder a run continues.
//! `WATERSHED_POINTS=100000 cargo test --release --test watershed runtime::power` tries all points.

mod check;
mod disk;
mod record;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use watershed::connectors::archive::Archive;
use watershed::connectors::delta::Delta;
use watershed::runtime::{Config, Milestone, Streams};
use watershed::store::Store;

use super::{SINKS, World, program};
use crate::support::Dice;
use crate::support::broken::{Fuse, Log};
use check::Check;
use disk::Disk;
use record::{Change, Record};

/// The number of points of which a test tries the power loss.
const POINTS: u64 = 60;

/// Returns the world after some lives. The records are the same in each process.
fn world(lives: u32) -> World {
    let world = World::busy();
    (1..lives).for_each(|_| world.more());
    world
}

/// Binds the program to the logs of a world and to tables in a folder. The appended stream goes to
/// an archive.
fn streams(world: &World, folder: &Path) -> Streams {
    let mut streams = Streams::new(program());
    for (topic, log) in &world.logs {
        let (log, seen, fuse) = (log.clone(), world.seen[topic].clone(), Fuse::sound());
        let name = format!("log {topic}");
        streams = streams.source(topic, Log { name, log, batch: 4, seen, fuse });
    }
    let path = |name: &str| folder.join(name).display().to_string();
    for topic in SINKS {
        streams = match topic {
            "all" => streams.sink(topic, Archive::open(&path("archive")).unwrap().topic("all")),
            _ => streams.sink(topic, Delta::table(&path(topic)).unwrap()),
        };
    }
    streams
}

fn config(folder: &Path, workers: usize) -> Config {
    let state = Store::open(&folder.join("state").display().to_string()).unwrap();
    Config { workers, state: Some(state), commit_every: Duration::ZERO, ..Config::default() }
}

#[test]
#[ignore = "the other tests run it in a process of its own, whose changes to files are recorded"]
fn recorded() {
    let folder = PathBuf::from(std::env::var("POWER_ROOT").unwrap());
    let log = PathBuf::from(std::env::var("POWER_LOG").unwrap());
    for life in 1..=3 {
        let log = log.clone();
        let milestone = move |milestone| {
            if let Milestone::Committed(records) = milestone {
                let mut log = std::fs::File::options().append(true).open(&log).unwrap();
                log.write_all(format!("report {records}\n").as_bytes()).unwrap();
            }
        };
        let milestone: Box<dyn FnMut(Milestone) + Send> = Box::new(milestone);
        let config = Config { milestone: Some(milestone), ..config(&folder, life as usize) };
        streams(&world(life), &folder).run(config).unwrap();
    }
}

/// Records a process, once for all tests. Returns its folder and the changes.
fn recording() -> &'static (PathBuf, Record) {
    static RECORDING: OnceLock<(PathBuf, Record)> = OnceLock::new();
    RECORDING.get_or_init(|| {
        let base =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("power-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let (library, log, root) = (base.join("power.so"), base.join("log"), base.join("root"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/power.c");
        let mut cc = Command::new("cc");
        let built = cc.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
        assert!(built.status().unwrap().success(), "{} can't be built", source.display());
        std::fs::create_dir(&root).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "runtime::power::recorded", "--ignored"])
            .env("LD_PRELOAD", library)
            .env("POWER_ROOT", &root)
            .env("POWER_LOG", &log)
            .env("WATERSHED_LIMITS", super::lossy::LIMITS)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let record = Record::parse(&std::fs::read(log).unwrap(), &root);
        let mut whole = Disk::default();
        record.changes.iter().for_each(|change| whole.apply(change));
        whole.assert_equals(&root);
        std::fs::remove_dir_all(&base).unwrap();
        (root, record)
    })
}

/// Loses the power at some points of the recording. `is_synced` is false for syncs that the disk
/// skips. Returns the number of points, or the first failure.
fn lose_power(points: u64, seed: u64, is_synced: impl Fn(&str) -> bool) -> Result<u64, String> {
    let (root, record) = recording();
    let (mut dice, mut disk, mut tried) = (Dice::new(seed), Disk::default(), 0);
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (mut reported, total) = (0, record.changes.len() as u64);
    for (at, change) in record.changes.iter().enumerate() {
        match change {
            Change::Report(records) => reported = *records,
            Change::Sync { path, .. } | Change::SyncFolder(path) if !is_synced(path) => {}
            change => disk.apply(change),
        }
        if dice.below(total) >= points {
            continue;
        }
        tried += 1;
        // No change, all changes, and any of the changes that were not synced.
        let kept = [0, 100, 50, 50][dice.below(4) as usize];
        let place = folder.path().join(tried.to_string());
        disk.write(&place, &mut dice, kept);
        let check = Check { folder: &place, reported };
        check.run(&mut dice).map_err(|error| {
            format!("power loss after change {at} of {}, {kept} % kept: {error}", root.display())
        })?;
        std::fs::remove_dir_all(&place).unwrap();
    }
    Ok(tried)
}

#[test]
fn a_power_loss_at_any_point_loses_nothing_reported() {
    let points = std::env::var("WATERSHED_POINTS").ok().and_then(|points| points.parse().ok());
    let tried = lose_power(points.unwrap_or(POINTS), 1, |_| true).unwrap();
    println!("{tried} points of {} changes", recording().1.changes.len());
    assert!(tried > POINTS / 2);
}

#[test]
fn a_sync_that_the_disk_skips_is_found() {
    for skipped in
        ["/state/manifest", "/state/snap", "/state/layer", "_delta_log", ".parquet", "/archive/"]
    {
        let found = lose_power(200, 2, |path| !path.contains(skipped));
        let error = found.expect_err(&format!("a skipped sync of {skipped} is not found"));
        println!("{skipped}: {error}");
    }
}
