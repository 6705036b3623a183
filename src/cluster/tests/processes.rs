//! Real processes that die or hang in the middle of a dataflow.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio, exit};

use timely::WorkerConfig;
use timely::dataflow::operators::{Exchange, Input, Probe};

use super::*;
use crate::error::Error;

/// The variables that make a process of the test binary a process of a run: the folder of the
/// sockets, its number, and the milliseconds of silence that it allows.
const FOLDER: &str = "WATERSHED_TEST_FOLDER";
const NUMBER: &str = "WATERSHED_TEST_NUMBER";
const SILENCE: &str = "WATERSHED_TEST_SILENCE";
const PROCESSES: usize = 3;

/// Reports a panic of the thread that owns it, as the runtime does.
struct Guard(Sender<Error>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = lost_process().unwrap_or_else(|| Error::internal("a worker panicked"));
            self.0.send(error).unwrap_or_default();
        }
    }
}

/// Steps a dataflow that never ends, and writes each epoch to the file `reached`.
fn dataflow(mesh: Mesh, failures: Sender<Error>, reached: PathBuf) {
    let MeshBuilders { builders, guard } = mesh.builders(2).unwrap();
    let work = move |worker: &mut timely::worker::Worker| {
        let _guard = Guard(failures.clone());
        let (mut input, probe) = worker.dataflow(|scope| {
            let (input, stream) = scope.new_input::<Vec<u64>>();
            (input, stream.exchange(|number| *number).probe().0)
        });
        for epoch in 1_u64.. {
            input.send(epoch);
            input.advance_to(epoch);
            while probe.less_than(&epoch) {
                worker.step_or_park(Some(Duration::from_millis(100)));
            }
            // All processes take part in each epoch.
            if worker.index().is_multiple_of(2) {
                std::fs::write(&reached, epoch.to_string()).unwrap();
            }
            worker.step_or_park(Some(Duration::from_millis(20)));
        }
    };
    let guards = timely::execute::execute_from(builders, guard, WorkerConfig::default(), work);
    std::mem::forget(guards);
}

/// A process of the tests below: it ends with the exit code of the first cause.
#[test]
#[ignore = "a process of other tests"]
fn a_process_of_a_run() {
    let Ok(folder) = std::env::var(FOLDER).map(PathBuf::from) else { return };
    let number: usize = std::env::var(NUMBER).unwrap().parse().unwrap();
    let mut own = memberships(&folder, PROCESSES, 2).remove(number);
    let silence = std::env::var(SILENCE).unwrap().parse().unwrap();
    own.limits.beat = Duration::from_millis(100);
    own.limits.silence = Duration::from_millis(silence);
    let (failures, failed) = channel();
    let (of_links, reached) = (failures.clone(), folder.join(format!("epoch-{number}")));
    let report = move |event: Event<Note>| {
        if let Event::Failed { error, .. } = event {
            of_links.send(error).unwrap_or_default();
        }
    };
    let cause = if number == 0 {
        let mut leader = gather::<Note, Note>(own, report).unwrap();
        dataflow(leader.welcome(1, &()).unwrap(), failures, reached);
        leader.fail(failed.recv().unwrap())
    } else {
        let mut member = join::<Note, Note>(own, report).unwrap();
        member.welcomed::<()>().unwrap();
        dataflow(member.mesh().unwrap(), failures, reached);
        member.fail(failed.recv().unwrap())
    };
    eprintln!("cause: {cause}");
    exit(cause.exit_code().into());
}

/// A process that ends with the test.
struct Running(Option<Child>);

impl Running {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    /// Waits until it has ended by itself; returns its exit code and its error messages.
    fn end(mut self) -> (Option<i32>, String) {
        let Output { status, stderr, .. } = self.0.take().unwrap().wait_with_output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }

    fn signal(&mut self, name: &str) {
        let number = self.child().id().to_string();
        assert!(Command::new("kill").args([name, &number]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().unwrap_or_default();
            child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// Starts the processes of a run, and waits until their dataflow runs.
fn start(folder: &Path, silence: &str) -> Vec<Running> {
    let name = concat!(module_path!(), "::a_process_of_a_run");
    let name = name.split_once("::").unwrap().1;
    let mut children: Vec<Running> = (0..PROCESSES)
        .map(|number| {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--ignored", "--nocapture"])
                .env(FOLDER, folder)
                .env(NUMBER, number.to_string())
                .env(SILENCE, silence)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            Running(Some(child.unwrap()))
        })
        .collect();
    wait_for_epoch(folder, &mut children, 3);
    children
}

/// Returns the last epoch of each process.
fn epochs(folder: &Path) -> Vec<u64> {
    // A file that is being written is empty.
    let epoch = |number| {
        let text = std::fs::read_to_string(folder.join(format!("epoch-{number}")));
        text.unwrap_or_default().parse().unwrap_or(0)
    };
    (0..PROCESSES).map(epoch).collect()
}

/// Waits until all processes have reached the epoch.
fn wait_for_epoch(folder: &Path, children: &mut [Running], epoch: u64) {
    while epochs(folder).iter().any(|reached| *reached < epoch) {
        let ended =
            children.iter_mut().any(|running| running.child().try_wait().unwrap().is_some());
        assert!(!ended, "a process has ended before epoch {epoch}");
        std::thread::yield_now();
    }
}

#[test]
fn a_death_ends_the_others_with_its_name_and_no_panic() {
    for victim in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let mut children = start(folder.path(), "30000");
        drop(children.remove(victim));
        for child in children {
            let (code, text) = child.end();
            assert_eq!(code, Some(75), "{text}");
            assert!(text.contains(&format!("process {victim} is gone")), "{victim}: {text}");
            assert!(!text.contains("panicked"), "{text}");
        }
    }
}

#[test]
fn a_short_pause_of_a_process_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let mut children = start(folder.path(), "30000");
    for number in 0..PROCESSES {
        children[number].signal("-STOP");
        children[number].signal("-CONT");
        let now = epochs(folder.path()).into_iter().max().unwrap();
        wait_for_epoch(folder.path(), &mut children, now + 20);
    }
}

#[test]
fn a_hang_ends_the_others_and_then_itself() {
    for victim in [0, 2] {
        let folder = tempfile::tempdir().unwrap();
        let mut children = start(folder.path(), "3000");
        let mut hung = children.remove(victim);
        hung.signal("-STOP");
        for child in children {
            let (code, text) = child.end();
            assert_eq!(code, Some(75), "{text}");
            assert!(!text.contains("panicked"), "{text}");
        }
        hung.signal("-CONT");
        let (code, text) = hung.end();
        assert_eq!(code, Some(75), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}
