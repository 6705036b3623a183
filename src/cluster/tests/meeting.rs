//! Whole starts: processes come, are compared, are welcomed, and run a dataflow together.

use std::net::TcpListener;
use std::process::Command;

use timely::WorkerConfig;
use timely::dataflow::operators::{Exchange, Inspect, ToStream};

use super::super::dial::attempt;
use super::super::handshake::{Refusal, Role, Session};
use super::*;
use crate::error::{Error, ErrorKind};

/// Numbers that each worker sends to all.
const NUMBERS: u64 = 10_000;

/// Runs a dataflow on the workers of one process; returns the count and the sum of the numbers that
/// came to each of them.
fn exchange(mesh: Mesh, workers: usize) -> Vec<(u64, u64)> {
    let MeshBuilders { builders, guard } = mesh.builders(workers).unwrap();
    let guards =
        timely::execute::execute_from(builders, guard, WorkerConfig::default(), |worker| {
            let (own, all) = (worker.index() as u64, worker.peers() as u64);
            let seen = std::rc::Rc::new(std::cell::Cell::new((0, 0)));
            let shown = seen.clone();
            worker.dataflow::<u64, _, _>(move |scope| {
                (0..NUMBERS)
                    .to_stream(scope)
                    .container::<Vec<_>>()
                    .exchange(|number| *number)
                    .inspect(move |number| {
                        assert_eq!(number % all, own);
                        let (count, sum) = shown.get();
                        shown.set((count + 1, sum + number));
                    });
            });
            while worker.has_dataflows() {
                worker.step_or_park(None);
            }
            seen.get()
        });
    guards.unwrap().join().into_iter().map(Result::unwrap).collect()
}

/// Starts a run of these processes, and returns the numbers of each worker.
fn run(memberships: Vec<Membership>, workers: usize) -> Vec<(u64, u64)> {
    let mut work: Vec<Box<dyn FnOnce() -> Result<Vec<(u64, u64)>> + Send>> = Vec::new();
    for membership in memberships {
        work.push(match membership.hello.process {
            0 => Box::new(move || {
                let mut leader = gather::<Note, Note>(membership, |_| {})?;
                let mesh = leader.welcome(3, &"welcome")?;
                let seen = exchange(mesh, workers);
                leader.finish().map(|()| seen)
            }),
            _ => Box::new(move || {
                let mut member = join::<Note, Note>(membership, |_| {})?;
                let welcome = member.welcomed::<String>()?;
                assert_eq!((welcome.generation, welcome.payload.as_str()), (3, "welcome"));
                let mesh = member.mesh()?;
                let seen = exchange(mesh, workers);
                member.finish().map(|()| seen)
            }),
        });
    }
    together(work).into_iter().flat_map(Result::unwrap).collect()
}

fn check(seen: &[(u64, u64)]) {
    let all = seen.len() as u64;
    assert_eq!(seen.iter().map(|(count, _)| count).sum::<u64>(), NUMBERS * all);
    for (own, (count, sum)) in (0..all).zip(seen) {
        let numbers = (0..NUMBERS).filter(|number| number % all == own);
        assert_eq!(
            (*count, *sum),
            (numbers.clone().count() as u64 * all, numbers.sum::<u64>() * all)
        );
    }
}

#[test]
fn three_processes_share_a_dataflow() {
    for workers in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let seen = run(memberships(folder.path(), 3, workers), workers);
        assert_eq!(seen.len(), 3 * workers);
        check(&seen);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "sockets are removed");
    }
}

#[test]
fn two_processes_share_a_dataflow_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let port = |_| TcpListener::bind("127.0.0.1:0").unwrap();
    let free: Vec<TcpListener> = (0..2).map(port).collect();
    let texts: Vec<String> =
        free.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    drop(free);
    let mut all = memberships(folder.path(), 2, 1);
    for membership in &mut all {
        membership.addresses = Address::several(&texts.join(","), 2).unwrap();
    }
    check(&run(all, 1));
}

#[test]
fn processes_within_one_share_a_dataflow() {
    let LocalProcesses { mut leader, members } =
        in_one_process::<Note, Note>(2, |_| {}, |_, _| {}).unwrap();
    let mut work: Vec<Box<dyn FnOnce() -> Result<Vec<(u64, u64)>> + Send>> = Vec::new();
    work.push(Box::new(move || leader.welcome(1, &()).map(|mesh| exchange(mesh, 2))));
    for mut member in members {
        work.push(Box::new(move || {
            member.welcomed::<()>()?;
            member.mesh().map(|mesh| exchange(mesh, 2))
        }));
    }
    let seen: Vec<_> = together(work).into_iter().flat_map(Result::unwrap).collect();
    check(&seen);
}

#[test]
fn differences_are_named_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = memberships(folder.path(), 2, 1);
    all[1].hello = Hello::new(1, 2, 2).build("1.0").installed("c");
    let mut all = all.into_iter();
    let (zero, one) = (all.next().unwrap(), all.next().unwrap());
    let work: Vec<Box<dyn FnOnce() -> Result<()> + Send>> = vec![
        Box::new(|| gather::<Note, Note>(zero, |_| {}).map(drop)),
        Box::new(|| join::<Note, Note>(one, |_| {}).map(drop)),
    ];
    let texts = [
        "processes 0 and 1 differ in the number of workers (1 and 2), the dataflow, its outputs or its stores (a and c)",
        "processes 1 and 0 differ in the number of workers (2 and 1), the dataflow, its outputs or its stores (c and a)",
    ];
    for (result, text) in together(work).into_iter().zip(texts) {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Config, 78));
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

#[test]
fn a_process_that_does_not_come_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = memberships(folder.path(), 3, 1);
    all.iter_mut().for_each(|one| one.limits.gather = Duration::from_secs(3));
    let one = all.remove(1);
    let alone = join::<Note, Note>(one.clone(), |_| {}).err().unwrap();
    assert_eq!(alone.exit_code(), 75);
    let text = alone.to_string();
    assert!(text.starts_with("can't reach process 0 at unix:"), "{text}");
    assert!(text.contains("within 3s: No such file"), "{text}");
    let zero = all.remove(0);
    let work: Vec<Box<dyn FnOnce() -> Result<()> + Send>> = vec![
        Box::new(|| gather::<Note, Note>(zero, |_| {}).map(drop)),
        Box::new(|| join::<Note, Note>(one, |_| {})?.welcomed::<()>().map(drop)),
    ];
    let errors: Vec<Error> = together(work).into_iter().map(|done| done.unwrap_err()).collect();
    assert_eq!(errors[0].exit_code(), 75);
    let text = errors[0].to_string();
    assert!(text.contains("process 2 (unix:") && !text.contains("process 1"), "{text}");
    assert_eq!(errors[1].to_string(), "process 0 is gone");
}

#[test]
fn an_address_may_become_free_after_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let later = folder.path().join("later");
    let [zero, one] = <[Membership; 2]>::try_from(memberships(&later, 2, 1)).ok().unwrap();
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| gather::<Note, Note>(zero, |_| {}));
        let member = scope.spawn(|| join::<Note, Note>(one, |_| {}));
        assert!(!leader.is_finished());
        std::fs::create_dir(&later).unwrap();
        assert!(member.join().unwrap().is_ok() && leader.join().unwrap().is_ok());
    });
    let mut never = memberships(&later.join("never"), 2, 1).remove(0);
    never.limits.gather = Duration::from_millis(200);
    let error = gather::<Note, Note>(never, |_| {}).err().unwrap();
    assert_eq!(error.exit_code(), 75);
    assert!(error.to_string().starts_with("can't listen at unix:"), "{error}");
    let long = folder.path().join("x".repeat(200));
    let error = gather::<Note, Note>(memberships(&long, 2, 1).remove(0), |_| {}).err().unwrap();
    assert_eq!(error.exit_code(), 78, "a path that is too long will never do");
}

#[test]
fn a_process_that_starts_again_replaces_its_earlier_life() {
    let folder = tempfile::tempdir().unwrap();
    let all = memberships(folder.path(), 3, 1);
    let [zero, one, two] = <[Membership; 3]>::try_from(all).ok().unwrap();
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| gather::<Note, Note>(zero, |_| {}));
        let first = join::<Note, Note>(one.clone(), |_| {}).unwrap();
        drop(first);
        let again = Membership { random: random(99), ..one };
        let second = join::<Note, Note>(again, |_| {}).unwrap();
        let third = join::<Note, Note>(two, |_| {}).unwrap();
        let leader = leader.join().unwrap().unwrap();
        let error = leader.fail(Error::data("a cause that all receive"));
        for mut member in [second, third] {
            let received = member.welcomed::<()>().err().unwrap();
            assert_eq!(received.to_string(), format!("process 0: {error}"));
        }
    });
}

#[test]
fn a_process_of_an_earlier_life_is_not_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let [zero, one] = <[Membership; 2]>::try_from(memberships(folder.path(), 2, 1)).ok().unwrap();
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| {
            let mut leader = gather::<Note, Note>(zero, |_| {})?;
            leader.welcome(4, &()).map(|mesh| (mesh, leader))
        });
        let mut member = join::<Note, Note>(one.clone(), |_| {}).unwrap();
        let _ = member.welcomed::<()>().unwrap();
        // It holds the secret and the generation, but not the session.
        let session = Session { generation: 4, number: [0; 32] };
        let stale = one.clone().begin().unwrap().identity(session).unwrap();
        let dialled = attempt(&one.addresses[0], &stale, Role::Mesh);
        let refused = crate::sync::io_runtime().unwrap().block_on(dialled);
        let Err(Refusal::Broken(error)) = refused else { panic!("it was let in") };
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(!leader.is_finished());
        let own = member.mesh().unwrap();
        let (other, _leader) = leader.join().unwrap().unwrap();
        drop((own, other));
    });
}

#[test]
fn a_bug_that_lets_an_earlier_life_in_is_found() {
    let test = "cluster::tests::meeting::a_process_of_an_earlier_life_is_not_let_in";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("WATERSHED_BUG", "old_session")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("it was let in"), "{text}");
}
