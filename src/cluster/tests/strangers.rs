//! Strangers at the address of a process, while a run starts there.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// Connects strangers until `stop` is set, and returns their number. Half of them stay silent.
fn attack(path: &Path, stop: &AtomicBool, count: &AtomicU64) {
    let mut silent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stranger) = UnixStream::connect(path) else {
            std::thread::yield_now();
            continue;
        };
        let number = count.fetch_add(1, Ordering::Relaxed);
        match number % 4 {
            0 | 1 => silent.push(stranger),
            2 => {
                // The listener may have closed the connection already.
                let _ = stranger.write_all(b"GET / HTTP/1.1\r\n\r\n");
            }
            _ => {
                let first = [b"wtrshed\x01\x01".as_slice(), &[7; 32]].concat();
                let proof = [&[0, 2], b"{}".as_slice(), &[7; 32]].concat();
                let _ = stranger.write_all(&first).and_then(|()| stranger.write_all(&proof));
                let _ = stranger.read(&mut [0; 64]);
            }
        }
        if silent.len() > 100 {
            silent.clear();
        }
    }
}

#[test]
fn a_run_starts_although_strangers_crowd_the_door() {
    start_in_a_crowd(1_000);
}

/// Run it with `cargo test --release --lib a_million_strangers -- --ignored`.
#[test]
#[ignore = "takes a minute"]
fn a_million_strangers_crowd_the_door() {
    start_in_a_crowd(1_000_000);
}

/// Starts two processes. Of `first` strangers, all come before the second process; more of them
/// come at the same time.
fn start_in_a_crowd(first: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut all = memberships(folder.path(), 2, 1).into_iter();
    let (mut zero, one) = (all.next().unwrap(), all.next().unwrap());
    zero.limits.gather = Duration::from_secs(600);
    let door = folder.path().join("0");
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let (deliver, reports) = events::<Note>();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| attack(&door, &stop, &count));
        }
        let leader = scope.spawn(move || gather::<Note, Note>(zero, deliver));
        // Some strangers are there first.
        while count.load(Ordering::Relaxed) < first {
            std::thread::yield_now();
        }
        let member = join::<Note, Note>(one, |_| {});
        let leader = leader.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        let (member, leader) = (member.unwrap(), leader.unwrap());
        member.outbox().unwrap().send(&Note::new(7)).unwrap();
        let Event::Message { process, message } = reports.recv().unwrap() else { panic!() };
        assert_eq!((process, message), (1, Note::new(7)));
        // The last ones may still be silent.
        let refused = leader.strangers();
        assert!(refused > first - 10, "{refused}");
        drop(leader);
    });
}

#[test]
fn silent_strangers_are_counted_and_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut zero = memberships(folder.path(), 2, 1).remove(0);
    zero.limits = Limits {
        gather: Duration::from_secs(3),
        handshake: Duration::from_millis(100),
        ..limits()
    };
    let door = folder.path().join("0");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stranger = loop {
                if let Ok(stranger) = UnixStream::connect(&door) {
                    break stranger;
                }
                std::thread::yield_now();
            };
            // The end of the stream.
            assert_eq!(stranger.read(&mut [0; 64]).unwrap(), 0);
        });
        let error = gather::<Note, Note>(zero, |_| {}).err().unwrap();
        assert_eq!(error.exit_code(), 75);
        let text = error.to_string();
        assert!(text.contains("not connected within 3s: process 1 (unix:"), "{text}");
        assert!(text.contains("; 1 connections without the shared secret were refused"), "{text}");
    });
}
