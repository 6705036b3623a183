//! A full disk ends a run with one clear error. Once there is room, the same command continues
//! normally.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::follow::{copy_share, terminate};
use super::posting::{JSON, Running, records};
use super::{Place, assert_same};
use crate::support::http::Client;
use crate::support::services::skipped;

/// A mounted file system, unmounted on drop.
struct Disk(PathBuf);

impl Disk {
    /// Mounts a disk of `size` KiB, or returns the reason of a failure.
    fn mount(folder: &Path, size: u32) -> Result<Self, String> {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={size}k");
        mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], folder).map(|()| Disk(folder.into()))
    }

    fn resize(&self, size: u32) {
        mount(&["-o", &format!("remount,size={size}k")], &self.0).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "{} stays mounted",
            self.0.display()
        );
    }
}

fn mount(args: &[&str], folder: &Path) -> Result<(), String> {
    let output =
        Command::new("mount").args(args).arg(folder).output().map_err(|e| format!("mount: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
    }
}

/// Checks for one message of two lines: the failure and the advice.
fn assert_clear(printed: &str) {
    assert!(
        printed.contains("No space left on device") && printed.contains("Make room there"),
        "{printed}"
    );
    assert_eq!(printed.lines().count(), 2, "one error and its way out: {printed}");
    assert_eq!(printed.matches("No space left").count(), 1, "each cause once: {printed}");
}

#[test]
fn a_run_reports_a_full_disk_and_continues_with_room() {
    let place = Place::new();
    let disk = match Disk::mount(&place.path("disk"), 640) {
        Ok(disk) => disk,
        Err(why) => return skipped(format_args!("no disk of its own can be mounted: {why}")),
    };
    place.run(&[
        "generate",
        "--to",
        "all",
        "--events",
        "6000",
        "--dirt",
        "0.1",
        "--records-per-object",
        "100",
    ]);
    let run = ["run", "--from", "archive", "--lake", "disk/lake"];
    // The first commits fit, a later one does not. Wherever it fails, the same command continues
    // once there is room.
    copy_share(&place.path("all"), &place.path("archive"), 1, 20);
    place.run(&run);
    let mut full = 0;
    for (share, size) in [(10, 640), (14, 1300), (20, 1700), (20, 65536)] {
        disk.resize(size);
        copy_share(&place.path("all"), &place.path("archive"), share, 20);
        let output = place.output(&run);
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(69));
            assert_clear(&String::from_utf8(output.stderr).unwrap());
            full += 1;
        }
    }
    assert!(full >= 2, "the disk was full {full} times only");
    assert_same("with room made", &place.oracle("all", &[]), &place.lake("disk/lake", None));
    assert!(place.run(&["check", "--from", "archive", "--lake", "disk/lake"]).contains("equal"));
}

#[test]
fn a_full_disk_is_no_place_for_half_an_archive() {
    let place = Place::new();
    let disk = match Disk::mount(&place.path("disk"), 640) {
        Ok(disk) => disk,
        Err(why) => return skipped(format_args!("no disk of its own can be mounted: {why}")),
    };
    let generate = ["generate", "--to", "disk/archive", "--events", "2000"];
    assert_clear(&place.fail(&generate, 69));
    assert_eq!(
        std::fs::read_dir(place.path("disk/archive")).unwrap().count(),
        0,
        "room is made again"
    );
    disk.resize(65536);
    place.run(&generate);
    assert!(place.path("disk/archive/topics").exists());
}

/// A gateway into an archive on a disk that is full after `values` are acknowledged.
fn stuck(place: &Place, within: &str, values: &[&str]) -> Running {
    let to = [
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "disk/archive",
        "--object-every",
        "60m",
        "--close-within",
        within,
    ];
    let running = Running::of(place.spawn(&to));
    let mut client = Client::connect(running.address);
    for value in values {
        let body = format!(r#"{{"records":[{{"value":{value}}}]}}"#);
        assert_eq!(client.ask("POST", "/topics/demo.pin", &[JSON], &body).unwrap().status, 200);
    }
    let mut rest = File::create(place.path("disk/rest")).unwrap();
    while rest.write_all(&[0; 4096]).is_ok() {}
    running
}

#[test]
fn a_gateway_with_a_full_disk_ends_and_loses_nothing() {
    let place = Place::new();
    let _disk = match Disk::mount(&place.path("disk"), 4096) {
        Ok(disk) => disk,
        Err(why) => return skipped(format_args!("no disk of its own can be mounted: {why}")),
    };
    let running = stuck(&place, "1s", &["1", "2"]);
    terminate(&running.child);
    let output = running.child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{printed}");
    assert!(
        printed.contains("acknowledged records are in the journal")
            && printed.contains("start again"),
        "{printed}"
    );

    // A second signal ends at once a gateway that would wait for an hour.
    std::fs::remove_file(place.path("disk/rest")).unwrap();
    let mut running = stuck(&place, "60m", &["3"]);
    terminate(&running.child);
    let printed =
        BufReader::new(running.child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(
        printed.take_while(|line| !line.contains("a second signal ends it at once")).count() < 10
    );
    terminate(&running.child);
    assert_eq!(running.child.wait().unwrap().code(), Some(130));

    std::fs::remove_file(place.path("disk/rest")).unwrap();
    let running =
        Running::of(place.spawn(&["gateway", "--listen", "127.0.0.1:0", "--to", "disk/archive"]));
    running.stop();
    let found: Vec<String> =
        records(&place.path("disk/archive"), "demo.pin").into_values().collect();
    assert_eq!(found, ["1", "2", "3"]);
}
