//! Promises of the supervisor, on shells as processes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::key::Random;
use super::super::supervisor::{Notices, Orders, Patience, Supervisor, orders};
use super::random;
use crate::error::Result;

fn patience() -> Patience {
    Patience {
        ending: Duration::from_secs(20),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        starts: 5,
    }
}

/// The command of a process: a shell that reads the secret, and then runs the script. It is in a
/// folder of its own for each test; `$own` is its number, `$key` the secret.
fn shell(folder: &Path, script: &str, process: usize) -> Command {
    let mut command = Command::new("sh");
    let script = format!("read -r key\n{script}");
    command.args(["-c", &script]).current_dir(folder).env("own", process.to_string());
    command
}

/// Runs two processes of this script.
fn supervise(
    folder: &Path,
    script: &str,
    patience: Patience,
    progress: &dyn Fn() -> u64,
    notices: &Notices,
) -> Result<u8> {
    let command = |process| shell(folder, script, process);
    let random: Random = random(5);
    Supervisor { processes: 2, command: &command, progress, random, patience }.run(notices)
}

fn result(folder: &Path, script: &str, patience: Patience) -> Result<u8> {
    supervise(folder, script, patience, &|| 0, &orders().1)
}

/// Waits until the file is there.
fn wait_for(path: &Path) {
    while !path.exists() {
        std::thread::yield_now();
    }
}

#[test]
fn the_first_cause_decides_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    // Process 0 has only lost process 1, and ends first.
    let script = "
        if [ $own = 0 ]; then : > lost; exit 75; fi
        until [ -e lost ]; do :; done
        exit 78";
    assert_eq!(result(folder.path(), script, patience()).unwrap(), 78);
    assert_eq!(result(folder.path(), "exit 0", patience()).unwrap(), 0);
}

#[test]
fn all_processes_start_again_after_a_death() {
    let folder = tempfile::tempdir().unwrap();
    // The first life: process 1 is killed, and process 0 hangs.
    let script = "
        echo \"$key\" >> keys-$own
        if [ $own = 1 ] && [ ! -e died ]; then
            until [ -s keys-0 ]; do :; done
            : > died; kill -9 $$
        fi
        if [ $(wc -l < keys-$own) = 1 ]; then kill -STOP $$; fi
        exit 0";
    let short = Patience { ending: Duration::from_millis(300), ..patience() };
    assert_eq!(result(folder.path(), script, short).unwrap(), 0);
    let keys = [0, 1].map(|process| {
        let text = fs::read_to_string(folder.path().join(format!("keys-{process}"))).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(keys[0], keys[1], "all processes of a life share a secret");
    assert!(keys[0].len() == 2 && keys[0][0] != keys[0][1], "each life has its own");
}

#[test]
fn codes_that_a_restart_cannot_cure_end_the_run() {
    for code in [1, 2, 65, 76, 78] {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("echo >> lives-$own; exit {code}");
        assert_eq!(result(folder.path(), &script, patience()).unwrap(), code);
        let lives = fs::read_to_string(folder.path().join("lives-0")).unwrap();
        assert_eq!(lives.lines().count(), 1, "{code}");
    }
}

#[test]
fn failures_without_progress_end_the_run_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo >> lives-$own; exit 70";
    let error = result(folder.path(), script, patience()).unwrap_err();
    assert_eq!(error.exit_code(), 65);
    assert!(error.to_string().contains("failed 5 times without a commit"), "{error}");
    let lives = || fs::read_to_string(folder.path().join("lives-0")).unwrap().lines().count();
    assert_eq!(lives(), 5);
    // Each of the next lives makes a commit, until the twentieth life ends well.
    let script = "
        echo >> lives-$own
        if [ $(wc -l < lives-$own) = 20 ]; then exit 0; fi
        exit 70";
    let progress = || lives() as u64;
    let code = supervise(folder.path(), script, patience(), &progress, &orders().1).unwrap();
    assert_eq!((code, lives()), (0, 20));
}

#[test]
fn a_lost_machine_may_take_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
        echo >> lives-$own
        if [ $(wc -l < lives-$own) = 20 ]; then exit 0; fi
        exit 75";
    assert_eq!(result(folder.path(), script, patience()).unwrap(), 0);
}

/// Runs the script until both processes have created `ready-0` and `ready-1`, calls `order`, and
/// returns the exit code.
fn ordered(script: &str, order: impl FnOnce(&Orders)) -> u8 {
    let folder = tempfile::tempdir().unwrap();
    let (orders, notices) = orders();
    std::thread::scope(|scope| {
        let path = folder.path();
        let run = scope.spawn(move || supervise(path, script, patience(), &|| 0, &notices));
        (0..2).for_each(|own| wait_for(&folder.path().join(format!("ready-{own}"))));
        order(&orders);
        run.join().unwrap().unwrap()
    })
}

#[test]
fn a_stop_reaches_all_processes_and_no_life_follows() {
    let waits = ": > ready-$own; read -r order; [ \"$order\" = stop ] && exit $own; exit 9";
    assert_eq!(ordered(waits, Orders::stop), 1);
    let waits = ": > ready-$own; read -r order; [ \"$order\" = stop ] && exit 70; exit 9";
    assert_eq!(ordered(waits, Orders::stop), 70, "a failure while it ends is not cured");
}

#[test]
fn sigterm_at_a_process_that_starts_is_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    // Process 0 has lost process 1, which does not handle the signal yet.
    let script = "
        echo >> lives-$own
        if [ $own = 1 ]; then kill -TERM $$; fi
        read -r order; [ \"$order\" = stop ] || exit 9
        exit 75";
    assert_eq!(result(folder.path(), script, patience()).unwrap(), 0);
    let lives = fs::read_to_string(folder.path().join("lives-0")).unwrap();
    assert_eq!(lives.lines().count(), 1);
    let failing = script.replace("exit 75", "exit 70");
    assert_eq!(result(folder.path(), &failing, patience()).unwrap(), 70);
}

#[test]
fn the_secret_is_in_no_argument_and_no_variable() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
        [ ${#key} = 64 ] || exit 2
        for file in cmdline environ; do
            if grep -q \"$key\" /proc/$$/$file; then exit 3; fi
        done
        exit 0";
    assert_eq!(result(folder.path(), script, patience()).unwrap_or(9), 0);
}

#[test]
fn a_program_that_does_not_exist_is_an_error() {
    let command = |_| Command::new("/no/such/program");
    let count = Arc::new(AtomicU64::new(0));
    let progress = || count.fetch_add(1, Ordering::Relaxed);
    let supervisor = Supervisor {
        processes: 2,
        command: &command,
        progress: &progress,
        random: random(1),
        patience: patience(),
    };
    let error = supervisor.run(&orders().1).unwrap_err();
    assert_eq!((error.exit_code(), count.load(Ordering::Relaxed)), (69, 1));
    assert!(error.to_string().starts_with("can't start process 0: No such file"), "{error}");
}
