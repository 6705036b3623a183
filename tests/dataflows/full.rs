//! A disk that is full ends a run with one clear error; with room made, the same command goes on as if nothing had been.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::follow::copy_share;
use super::{Place, assert_same};
use crate::support::services::skipped;

/// A disk of its own, unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts a disk of so many KiB, or says why it can't.
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
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "{} stays mounted", self.0.display());
    }
}

fn mount(args: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(args).arg(folder).output().map_err(|e| format!("mount: {e}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_string()) }
}

/// One message of two lines: what happened, and what to do.
fn assert_clear(said: &str) {
    assert!(said.contains("No space left on device") && said.contains("Make room there"), "{said}");
    assert_eq!(said.lines().count(), 2, "one error and its way out: {said}");
    assert_eq!(said.matches("No space left").count(), 1, "each cause once: {said}");
}

#[test]
fn a_run_onto_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let place = Place::new();
    let disk = match Disk::mount(&place.path("disk"), 640) {
        Ok(disk) => disk,
        Err(why) => return skipped(format_args!("no disk of its own can be mounted: {why}")),
    };
    place.run(&["generate", "--to", "all", "--events", "6000", "--dirt", "0.1", "--records-per-object", "100"]);
    let run = ["run", "--from", "archive", "--lake", "disk/lake"];
    // The first commits fit, a later one does not: wherever it strikes, the same command goes on when there is room.
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
    assert_eq!(std::fs::read_dir(place.path("disk/archive")).unwrap().count(), 0, "room is made again");
    disk.resize(65536);
    place.run(&generate);
    assert!(place.path("disk/archive/topics").exists());
}
