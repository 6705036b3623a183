//! The commands of `deploy/` on this machine: each process at an address of its own.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};

use super::super::follow::{copy_share, terminate, until};
use super::super::processes::with_archive;
use super::super::{Place, assert_same};
use super::files::{Unit, manifest, pod_args};

/// Returns a port that is free at all addresses of the processes.
fn free_port(processes: usize) -> u16 {
    let port = || TcpListener::bind("127.0.1.10:0").unwrap().local_addr().unwrap().port();
    let is_free = |port: &u16| {
        (0..processes).all(|process| TcpListener::bind((host(process), *port)).is_ok())
    };
    std::iter::repeat_with(port).find(is_free).unwrap()
}

fn host(process: usize) -> String {
    format!("127.0.1.1{process}")
}

/// Returns the arguments with the places and addresses of this machine.
fn local(mut args: Vec<String>, process: usize, port: u16, secret: &Path) -> Vec<String> {
    let own = format!("{}:{port}", host(process));
    let secret = secret.display().to_string();
    let hosts = format!("127.0.1.1{{}}:{port}");
    let places = [
        ("--hosts", hosts.as_str()),
        ("--listen-at", &own),
        ("--secret", &secret),
        ("--from", "archive"),
        ("--lake", "lake"),
        ("--commit-every", "1ms"),
    ];
    for (option, place) in places {
        if let Some(at) = args.iter().position(|arg| arg == option) {
            args[at + 1] = place.to_owned();
        }
    }
    args
}

fn exit_code(mut child: Child) -> Option<i32> {
    child.wait().unwrap().code()
}

/// Starts all processes, kills one, and starts again those that `starts_again` names, until the
/// tables have all records.
fn dies_and_continues(
    processes: usize,
    args: impl Fn(usize) -> Vec<String>,
    starts_again: impl Fn(i32) -> bool,
) {
    let place: Place = with_archive();
    copy_share(&place.path("all"), &place.path("archive"), 1, 2);
    let (port, secret) = (free_port(processes), place.path("secret"));
    // The tools that write it end the line.
    fs::write(&secret, "a secret of these processes\n").unwrap();
    let start = |process| {
        let args = local(args(process), process, port, &secret);
        place.spawn(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut children: Vec<Child> = (0..processes).rev().map(start).collect();
    until("a commit", || !place.manifests().is_empty());
    let before = place.manifests().len();
    let killed = children.pop().unwrap();
    let id = killed.id().to_string();
    assert!(Command::new("kill").args(["-9", &id]).status().unwrap().success());
    assert_eq!(exit_code(killed), None);
    for child in children {
        let code = exit_code(child).unwrap();
        assert!(code == 75 && starts_again(code), "{code}");
    }
    copy_share(&place.path("all"), &place.path("archive"), 2, 2);
    let mut children: Vec<Child> = (0..processes).map(start).collect();
    until("another commit", || place.manifests().len() > before);
    // The end of one is the end of all, and each of them commits its part.
    let last = children.pop().unwrap();
    terminate(&last);
    for child in children.into_iter().chain([last]) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    place.run(&["run", "--from", "archive", "--lake", "lake", "--workers", "1"]);
    assert_same("after all", &place.oracle("archive", &[]), &place.lake("lake", None));
}

#[test]
fn the_command_of_the_unit_continues_after_a_death() {
    let unit = Unit::read();
    let starts_again = |code| unit.starts_again_after(code);
    dies_and_continues(unit.processes(), |process| unit.args(process), starts_again);
}

#[test]
fn the_command_of_a_pod_continues_after_a_death() {
    let set = manifest("StatefulSet");
    let replicas = set.text("spec.replicas").parse().unwrap();
    // A pod starts its container again, however it has ended.
    dies_and_continues(replicas, |process| pod_args(&set, process), |_| true);
}
