//! The liveness probe of a pod, on this machine.

use std::process::{Command, Stdio};

use super::super::Place;
use super::super::follow::{copy_share, signal, terminate, until};
use super::super::processes::with_archive;
use super::files::{manifest, pod_args, value};

/// Runs the probe of the manifest in the folder of `place`, for a file of fewer seconds.
fn is_alive(place: &Place) -> bool {
    let set = manifest("StatefulSet");
    let probe = set.at("spec.template.spec.containers.0.livenessProbe");
    let file = place.path("alive").display().to_string();
    let mut command = probe.texts("exec.command").into_iter().map(|word| {
        let word = word.replace(value(&pod_args(&set, 0), "--liveness-file"), &file);
        word.replace("30 seconds ago", "3 seconds ago")
    });
    let probe = Command::new(command.next().unwrap()).args(command).stderr(Stdio::null()).status();
    probe.unwrap().success()
}

const RUN: [&str; 6] = ["run", "--follow", "--from", "archive", "--lake", "lake"];
const FILE: [&str; 2] = ["--liveness-file", "alive"];

#[test]
fn the_probe_fails_for_a_pod_that_is_stopped() {
    let place = with_archive();
    copy_share(&place.path("all"), &place.path("archive"), 1, 1);
    assert!(!is_alive(&place));
    let run = place.spawn(&[&RUN[..], &FILE].concat());
    until("a sign of life", || is_alive(&place));
    until("a commit", || !place.manifests().is_empty());
    signal(&run, "-STOP");
    until("the end of the signs of life", || !is_alive(&place));
    signal(&run, "-CONT");
    until("new signs of life", || is_alive(&place));
    terminate(&run);
    assert!(run.wait_with_output().unwrap().status.success());
}

#[test]
fn the_probe_fails_for_a_pod_with_a_stuck_worker() {
    let mut place = with_archive();
    copy_share(&place.path("all"), &place.path("archive"), 1, 1);
    place.environment.push(("WATERSHED_BUG", "stuck_worker".into()));
    place.environment.push(("WATERSHED_LIMITS", "stuck_millis=2000".into()));
    let mut run = place.spawn(&[&RUN[..], &FILE].concat());
    until("a sign of life", || is_alive(&place));
    until("the end of the signs of life", || !is_alive(&place));
    assert!(run.try_wait().unwrap().is_none(), "it would not have ended");
    run.kill().unwrap();
    run.wait().unwrap();
}

#[test]
fn a_liveness_file_that_cannot_be_written_is_an_error() {
    let place = with_archive();
    let file = ["--liveness-file", "no folder/alive"];
    let error = place.fail(&[&RUN[..], &file].concat(), 69);
    assert!(error.contains("can't write the liveness file no folder/alive"), "{error}");
}
