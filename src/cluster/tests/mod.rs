//! Tests of the connections between processes. A process is a set of threads here.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key::Random;
use super::*;
use crate::error::Result;
use crate::sync::{Receiver, Sender, channel};

mod handshake;
mod links;
mod meeting;
mod processes;
mod pulse;
mod strangers;
mod supervisor;

/// A message in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    number: u64,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

impl Note {
    fn new(number: u64) -> Self {
        Note { number, bytes: vec![number as u8; 3] }
    }
}

/// A seeded source of random numbers, which never repeats one.
fn random(seed: u64) -> Random {
    let next = AtomicU64::new(0);
    Arc::new(move || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        Ok(Sha256::digest([seed.to_le_bytes(), number.to_le_bytes()].concat()).into())
    })
}

fn key(text: &str) -> Key {
    Key::from_pipe(&mut format!("{text}, and sixteen bytes\n").as_bytes()).unwrap()
}

/// Limits for tests in which nobody is late.
fn limits() -> Limits {
    Limits { gather: Duration::from_secs(30), ..Limits::default() }
}

/// The memberships of a run whose sockets are in `folder`.
fn memberships(folder: &Path, processes: usize, workers: usize) -> Vec<Membership> {
    let pattern = format!("unix:{}/{{}}", folder.display());
    let addresses = Address::several(&pattern, processes).unwrap();
    let membership = |process| Membership {
        hello: Hello::new(process, processes, workers).build("1.0").installed("a"),
        addresses: addresses.clone(),
        listen: None,
        key: key("right"),
        random: random(process as u64),
        limits: limits(),
        is_connected: Arc::default(),
    };
    (0..processes).map(membership).collect()
}

/// A callback that sends the events to the receiver.
fn events<M: Send + 'static>() -> (impl Fn(Event<M>) + Send + Sync + 'static, Receiver<Event<M>>) {
    let (sender, receiver): (Sender<Event<M>>, _) = channel();
    (move |event| sender.send(event).unwrap_or_default(), receiver)
}

/// Waits for the failure of a process.
fn failure<M>(events: &Receiver<Event<M>>) -> (usize, crate::error::Error) {
    loop {
        if let Event::Failed { process, error } = events.recv().unwrap() {
            return (process, error);
        }
    }
}

/// Runs the pieces of work of all processes at the same time.
fn together<T: Send>(work: Vec<Box<dyn FnOnce() -> Result<T> + Send + '_>>) -> Vec<Result<T>> {
    crate::sync::side_by_side("a process", work)
}
