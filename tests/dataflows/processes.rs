//! A program in several processes makes the tables of one process, also if one of them is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};

use super::follow::{copy_share, terminate, until};
use super::readers::assert_every_commit_equals_the_oracle;
use super::{Place, assert_same};

/// A place with an archive of which a part is shown.
pub(super) fn with_archive() -> Place {
    let place = Place::new();
    let generate = ["generate", "--to", "all", "--events", "900", "--dirt", "0.1"];
    place.run(&[&generate[..], &["--records-per-object", "10"]].concat());
    fs::create_dir(place.path("archive")).unwrap();
    place
}

fn finish(child: Child) {
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Ids of the processes that a supervisor has started.
fn children(supervisor: &Child) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", supervisor.id())).unwrap();
    let of = |task: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default()
    };
    tasks
        .flat_map(|task| of(task).split(' ').map(str::to_owned).collect::<Vec<_>>())
        .filter(|id| !id.is_empty())
        .collect()
}

#[test]
fn any_number_of_processes_makes_the_tables_of_the_oracle() {
    let place = with_archive();
    for (share, processes) in ["2", "4", "3", "1"].into_iter().enumerate() {
        copy_share(&place.path("all"), &place.path("archive"), share + 1, 4);
        let run = ["run", "--from", "archive", "--lake", "lake", "--workers", "2"];
        let printed = place.run(&[&run[..], &["--processes", processes]].concat());
        assert!(printed.contains("new records"), "{printed}");
        assert_same(processes, &place.oracle("archive", &[]), &place.lake("lake", None));
    }
    assert_every_commit_equals_the_oracle(&place, "archive");
    let reset = ["run", "--from", "archive", "--lake", "lake", "--reset", "--processes", "2"];
    let printed = place.run(&reset);
    assert!(printed.contains("new records") && !printed.contains("earlier runs"), "{printed}");
    assert_same("reset", &place.oracle("archive", &[]), &place.lake("lake", None));
}

#[test]
fn a_killed_process_ends_the_others_and_all_start_again() {
    let place = with_archive();
    copy_share(&place.path("all"), &place.path("archive"), 1, 4);
    let args = ["run", "--from", "archive", "--lake", "lake", "--follow", "--commit-every", "1ms"];
    let run = place.spawn(&[&args[..], &["--processes", "3", "--workers", "1"]].concat());
    for share in 2..=4 {
        let before = place.manifests().len();
        let running = || children(&run).len() == 3;
        until("three processes and a commit", || running() && !place.manifests().is_empty());
        let ids = children(&run);
        let killed = Command::new("kill").args(["-9", &ids[share % ids.len()]]).status().unwrap();
        assert!(killed.success());
        copy_share(&place.path("all"), &place.path("archive"), share, 4);
        until("other processes", || children(&run).iter().all(|id| !ids.contains(id)));
        until("another commit", || place.manifests().len() > before);
    }
    finish(run);
    assert_same("after all", &place.oracle("archive", &[]), &place.lake("lake", None));
    assert_every_commit_equals_the_oracle(&place, "archive");
}

#[test]
fn processes_with_addresses_need_the_same_secret() {
    let place = with_archive();
    copy_share(&place.path("all"), &place.path("archive"), 1, 1);
    fs::write(place.path("secret"), "a secret of these processes").unwrap();
    let hosts = format!("unix:{}/{{}}", place.path("").display());
    let args = |process| {
        let run = ["run", "--from", "archive", "--lake", "lake", "--workers", "1"];
        [&run[..], &["--processes", "2", "--process", process, "--hosts", &hosts]].concat()
    };
    let message = place.fail(&args("0"), 78);
    assert!(message.contains("--secret"), "{message}");
    let with_secret = |process| [args(process), vec!["--secret", "secret"]].concat();
    for (mode, is_warned) in [(0o600, false), (0o444, true)] {
        fs::set_permissions(place.path("secret"), fs::Permissions::from_mode(mode)).unwrap();
        let second = place.spawn(&with_secret("1"));
        assert!(place.run(&with_secret("0")).contains("new records"));
        let second = second.wait_with_output().unwrap();
        assert!(second.status.success() && second.stdout.is_empty());
        let message = String::from_utf8(second.stderr).unwrap();
        assert_eq!(message.contains("every user of this machine can read"), is_warned, "{message}");
    }
    assert_same("two", &place.oracle("archive", &[]), &place.lake("lake", None));
}

#[test]
fn a_process_names_the_others_that_it_waits_for() {
    let mut place = with_archive();
    copy_share(&place.path("all"), &place.path("archive"), 1, 1);
    place.environment.push(("WATERSHED_LIMITS", "first_warning_millis=50".into()));
    place.environment.push(("WATERSHED_SECRET", "a secret of these processes".into()));
    // No name ends with .invalid.
    let own = format!("unix:{}/own", place.path("").display());
    let far = "pins-0.invalid:2101,pins-1.invalid:2101".to_owned();
    for (process, hosts, text) in [
        ("0", far, "still trying to listen at pins-0.invalid:2101: "),
        ("0", format!("{own},pins-1.invalid:2101"), "waiting for process 1 (pins-1.invalid:2101)"),
        ("1", format!("pins-0.invalid:2101,{own}"), "for the process at pins-0.invalid:2101: "),
    ] {
        let run = ["run", "--from", "archive", "--lake", "lake", "--processes", "2"];
        let args = [&run[..], &["--process", process, "--hosts", &hosts]].concat();
        let error = place.fail(&[&args[..], &["--start-within", "1s"]].concat(), 75);
        assert!(error.contains(text), "{error}");
        // It has nothing to commit, so a signal ends it at once.
        let mut child = place.spawn(&args);
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let warned = lines.map(Result::unwrap).any(|line| line.contains(text));
        assert!(warned);
        terminate(&child);
        assert!(child.wait().unwrap().success());
    }
}

/// Returns true if a process that a supervisor has started has this number.
fn has_number(id: &str, number: &str) -> bool {
    let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    let variable = format!("WATERSHED_PROCESS={number}");
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

#[test]
fn sigterm_before_all_are_connected_ends_the_others_too() {
    let mut place = with_archive();
    copy_share(&place.path("all"), &place.path("archive"), 1, 1);
    place.environment.push(("WATERSHED_LIMITS", "ending_millis=300".into()));
    let args = ["run", "--from", "archive", "--lake", "lake", "--follow", "--processes", "2"];
    let mut run = place.spawn(&args);
    // Process 1 is stopped at its start, so process 0 waits for it.
    let started = |number| children(&run).into_iter().find(|id| has_number(id, number));
    let stopped = std::iter::repeat_with(|| started("1")).flatten().next().unwrap();
    assert!(Command::new("kill").args(["-STOP", &stopped]).status().unwrap().success());
    let waiting = started("0").unwrap();
    let listens = || fs::read_to_string(format!("/proc/{waiting}/net/unix")).unwrap();
    until("process 0 to listen", || listens().contains("/tmp/watershed-"));
    assert!(Command::new("kill").args(["-TERM", &waiting]).status().unwrap().success());
    until("the end of all", || run.try_wait().unwrap().is_some());
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(place.manifests().is_empty());
}

/// Returns the number of workers of a process.
fn workers(process: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let names = tasks.flatten().map(|task| fs::read_to_string(task.path().join("comm")));
    names.filter(|name| name.as_ref().is_ok_and(|name| name.starts_with("timely:work"))).count()
}

#[test]
fn processes_of_one_machine_share_its_cores() {
    let place = with_archive();
    copy_share(&place.path("all"), &place.path("archive"), 1, 1);
    let cores = std::thread::available_parallelism().unwrap().get();
    for processes in [2, cores + 1] {
        let args = ["run", "--from", "archive", "--lake", "lake", "--follow", "--processes"];
        let run = place.spawn(&[&args[..], &[&processes.to_string()]].concat());
        let share = (cores / processes).max(1);
        // All workers take part in a commit.
        until("a commit", || !place.manifests().is_empty());
        // The system may leave out a thread of its list while another one ends.
        let all = vec![share; processes];
        let found = || children(&run).iter().map(|id| workers(id)).collect::<Vec<_>>();
        until(&format!("{all:?} workers on {cores} cores"), || found() == all);
        finish(run);
    }
}
