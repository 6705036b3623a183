//! Reading: a thread a partition, bounded by the credit of the whole, silent while there is nothing.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::alarm::spawn;
use super::coordinator::Message;
use crate::connect::{Partition, Poll, Source};
use crate::durable::Bound;
use crate::error::{Error, ErrorKind, Result};
use crate::operators::Credit;
use crate::record::Batch;
use crate::secret::Secret;

/// Where a partition is bound: topic, source of the topic, partition.
pub(super) type Place = (usize, u16, u32);

/// What readers share: the gate that opens after the recovery, the end, and the secret for the digests of records.
pub(super) struct Control {
    secret: Secret,
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Control {
    pub(super) fn new(secret: Secret) -> Self {
        Control { secret, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Lets readers go beyond what was committed.
    pub(super) fn go_live(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
        self.changed.notify_all();
    }

    /// Ends all readers.
    pub(super) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }

    /// Waits for the gate; false at the end.
    fn wait_live(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.0 && !state.1 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.1
    }

    /// Waits for `pause`; false at the end.
    fn wait(&self, pause: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.changed.wait_timeout_while(state, pause, |state| !state.1);
        !ended.unwrap_or_else(PoisonError::into_inner).0.1
    }
}

/// A reader and what it needs.
pub(super) struct Reader {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) source: Arc<dyn Source>,
    /// What was committed of the partition; it is read again first.
    pub(super) bound: Option<Bound>,
    /// The partition where it is read first, if it is open already.
    pub(super) opened: Option<Box<dyn Partition>>,
    pub(super) follow: bool,
    pub(super) credit: Arc<Credit>,
    pub(super) control: Arc<Control>,
    /// What it has still to read, and what all readers have.
    pub(super) left: Arc<AtomicU64>,
    pub(super) remaining: Arc<AtomicU64>,
    pub(super) coordinator: Sender<Message>,
}

impl Reader {
    /// Starts reading on a thread of its own.
    pub(super) fn spawn(self) -> Result<JoinHandle<()>> {
        let (name, coordinator) = (format!("read {}", self.name), self.coordinator.clone());
        spawn("reader", name, &coordinator, move || self.run())
    }

    fn run(self) {
        let (place, coordinator) = (self.place, self.coordinator.clone());
        // A coordinator that is gone has no use for the message.
        let _ = match self.read() {
            Ok(()) => coordinator.send(Message::End(place)),
            Err(error) => coordinator.send(Message::Failed(error)),
        };
    }

    fn read(mut self) -> Result<()> {
        if let Some(bound) = self.bound
            && !self.recover(bound)?
        {
            return Ok(());
        }
        let mut partition = match (self.opened.take(), self.bound) {
            (Some(opened), _) => opened,
            (None, Some(bound)) => self.source.open(self.place.2, Some(bound.to), self.follow)?,
            (None, None) => match self.join()? {
                Some(opened) => opened,
                None => return Ok(()),
            },
        };
        if self.coordinator.send(Message::Recovered(self.place)).is_err() || !self.control.wait_live() {
            return Ok(());
        }
        let mut pause = SHORT;
        loop {
            let poll = partition.poll()?;
            self.estimate(partition.as_ref());
            match poll {
                Poll::Batch(batch) => {
                    pause = SHORT;
                    if !self.hand_over(batch) {
                        return Ok(());
                    }
                }
                Poll::Idle => {
                    let waited = partition.wait(LONG);
                    if !self.control.wait(if waited { Duration::ZERO } else { pause }) {
                        return Ok(());
                    }
                    pause = (pause * 2).min(LONG);
                }
                Poll::End => return Ok(()),
            }
        }
    }

    /// Opens a partition that came while others were followed: it is waited for as they are. `None` at the end of the run.
    fn join(&self) -> Result<Option<Box<dyn Partition>>> {
        let mut said = false;
        loop {
            match self.source.open(self.place.2, None, self.follow) {
                Err(error) if error.kind() == ErrorKind::Connect => {
                    if !mem::replace(&mut said, true) {
                        tracing::warn!(partition = self.name, %error, "wait for it");
                    }
                    if !self.control.wait(LOOK) {
                        return Ok(None);
                    }
                }
                opened => return opened.map(Some),
            }
        }
    }

    /// Reads `[from, to)` again: all of it must be there. False at the end of the run.
    fn recover(&mut self, bound: Bound) -> Result<bool> {
        let mut partition = match self.opened.take() {
            Some(opened) => opened,
            None => self.source.open(self.place.2, Some(bound.from), false)?,
        };
        let mut at = bound.from;
        while at < bound.to {
            match partition.poll()? {
                Poll::Batch(mut batch) => {
                    self.estimate(partition.as_ref());
                    at = batch.next;
                    // What lies beyond is read when the run is live.
                    batch.split_off(bound.to);
                    if !self.hand_over(batch) {
                        return Ok(false);
                    }
                }
                Poll::Idle if partition.wait(LONG) || self.control.wait(SHORT) => {}
                Poll::Idle => return Ok(false),
                Poll::End => {
                    let (name, to) = (&self.name, bound.to);
                    return Err(Error::data(format!("{name} ends at {at}, but was read up to {to} before"))
                        .hint("Restore what is missing, or begin anew with another --state and --lake."));
                }
            }
        }
        Ok(true)
    }

    fn hand_over(&self, batch: Batch) -> bool {
        let digest = batch.iter(0).fold(0, |sum: u64, record| sum.wrapping_add(record.digest(self.control.secret)));
        self.credit.acquire(batch.bytes.len()) && self.coordinator.send(Message::Batch(self.place, batch, digest)).is_ok()
    }

    /// Keeps the sum of what all readers have still to read.
    fn estimate(&self, partition: &dyn Partition) {
        let now = partition.remaining();
        let before = self.left.swap(now, Ordering::Relaxed);
        self.remaining.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

/// How long a reader without news waits before it asks again, the first time and at most.
const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(20);

/// How long who looks for new partitions waits before it looks again.
const LOOK: Duration = Duration::from_secs(1);

/// Looks for new partitions of a source once a second.
pub(super) fn scout(
    topic: usize,
    rank: u16,
    source: Arc<dyn Source>,
    control: Arc<Control>,
    coordinator: Sender<Message>,
) -> Result<JoinHandle<()>> {
    let alarm = coordinator.clone();
    let look = move || {
        while control.wait(LOOK) {
            let message = match source.partitions() {
                Ok(partitions) => Message::Partitions(topic, rank, partitions),
                Err(error) => Message::Failed(error),
            };
            if coordinator.send(message).is_err() {
                return;
            }
        }
    };
    spawn("scout", "scout".into(), &alarm, look)
}
