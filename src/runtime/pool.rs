//! The threads that read. Up to 64 partitions have a thread each. More partitions share 64 threads,
//! and then no partition may block a thread for long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::ingest::{IDLE_PAUSE_MAX, Reader, Turn};
use super::message::Message;
use super::panic_guard::spawn;
use crate::error::Result;
use crate::ports::Credit;
use crate::record::PartitionId;
use crate::sync::{Condvar, JoinHandle, Sender, elapsed, lock, now};

/// Number of threads, unless all are blocked. Each may hold one batch that credit does not bound.
const THREADS: usize = 64;
/// Up to this number of partitions, each idle one is polled as often as if it were alone. With
/// more, all are polled less often.
const FREQUENTLY_POLLED: u32 = 256;
/// Another thread is started if all threads were blocked for this time while readers waited.
const BLOCKED_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest time for which a reader sleeps that nothing wakes.
const SLEEP_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The readers of a run, and the threads that give each its turns.
pub(super) struct ReaderPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    credit: Arc<Credit>,
    coordinator: Sender<Message>,
    last_check: Check,
}

/// A check whether the threads make progress.
struct Check {
    time: Instant,
    /// Number of turns begun until then.
    turns: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The time of a reader's next turn, and a unique number.
type Place = (Instant, u64);

#[derive(Default)]
struct State {
    /// Readers by the time of their next turn, then by a unique number, because times may be equal.
    due: BTreeMap<Place, Box<Reader>>,
    /// Places in `due` of readers that can be woken.
    asleep: BTreeMap<PartitionId, Place>,
    /// Readers that were woken during their turn, when it may already have been too late to read.
    woken: BTreeSet<PartitionId>,
    /// Readers that have replayed their recorded range and wait until all have.
    replayed: Vec<Reader>,
    /// Earliest time until which a thread sleeps. The other threads sleep without a timer.
    watched: Option<Instant>,
    live: bool,
    ended: bool,
    /// Number of partitions that are not read to their end.
    partitions: usize,
    /// Number of threads.
    threads: usize,
    /// Number of attempts to start a thread.
    attempts: usize,
    /// Number of turns begun so far.
    turns: u64,
    /// Number of times that a reader was put into `due`.
    queued: u64,
}

/// A reader with the limits of its turn.
struct Due {
    reader: Box<Reader>,
    /// Longest time for which the turn may block.
    wait: Duration,
    /// Longest pause until its next turn.
    pause: Duration,
}

impl State {
    fn put(&mut self, due: Instant, reader: Box<Reader>) -> Place {
        self.queued += 1;
        let place = (due, self.queued);
        self.due.insert(place, reader);
        place
    }

    /// Puts a reader to sleep, unless it was woken during its turn.
    fn put_asleep(&mut self, longest: Duration, reader: Box<Reader>) {
        let id = reader.id;
        if self.woken.remove(&id) {
            self.put(now(), reader);
        } else {
            let place = self.put(now() + longest.min(SLEEP_TIMEOUT), reader);
            self.asleep.insert(id, place);
        }
    }

    /// Takes the reader whose turn is next.
    fn take_first(&mut self) -> Option<Box<Reader>> {
        let (_, reader) = self.due.pop_first()?;
        self.asleep.remove(&reader.id);
        // The turn reads everything that has come before it.
        self.woken.remove(&reader.id);
        self.turns += 1;
        Some(reader)
    }

    fn put_replayed(&mut self, reader: Box<Reader>) {
        if self.live {
            self.put(now(), reader);
        } else {
            self.replayed.push(*reader);
        }
    }
}

/// Wakes a reader.
struct Alarm {
    pool: Weak<Shared>,
    id: PartitionId,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut state = lock(&pool.state);
        let Some(place) = state.asleep.remove(&self.id) else {
            state.woken.insert(self.id);
            return;
        };
        if let Some(reader) = state.due.remove(&place) {
            state.put(now(), reader);
            drop(state);
            pool.changed.notify_one();
        }
    }
}

impl ReaderPool {
    /// Returns a pool without readers and threads.
    pub(super) fn new(credit: Arc<Credit>, coordinator: Sender<Message>) -> Self {
        ReaderPool {
            shared: Arc::default(),
            threads: Vec::new(),
            credit,
            coordinator,
            last_check: Check { time: now(), turns: 0 },
        }
    }

    /// Adds a reader, and a thread if there are fewer than partitions.
    ///
    /// # Errors
    /// When the pool has no thread, and none can be started.
    pub(super) fn add(&mut self, mut reader: Reader) -> Result<()> {
        let alarm = Alarm { pool: Arc::downgrade(&self.shared), id: reader.id };
        reader.waker = Waker::from(Arc::new(alarm));
        let mut state = lock(&self.shared.state);
        state.partitions += 1;
        state.put(now(), Box::new(reader));
        let one_more = state.attempts < state.partitions.min(THREADS);
        drop(state);
        self.shared.changed.notify_one();
        if one_more { self.start_thread() } else { Ok(()) }
    }

    /// Lets every reader read beyond its recorded range.
    pub(super) fn go_live(&self) {
        let mut state = lock(&self.shared.state);
        state.live = true;
        while let Some(reader) = state.replayed.pop() {
            state.put(now(), Box::new(reader));
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Ends all reading. Batches that were read before may still be sent.
    pub(super) fn end(&self) {
        lock(&self.shared.state).ended = true;
        self.shared.changed.notify_all();
    }

    /// Waits for the threads after [`end`](Self::end). Returns false if one has panicked.
    pub(super) fn join(&mut self) -> bool {
        self.threads.drain(..).all(|thread| thread.join().is_ok())
    }

    /// Starts one more thread if every thread is blocked by a partition while other readers wait.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(super) fn add_thread_if_blocked(&mut self) -> Result<()> {
        if elapsed(self.last_check.time) < BLOCKED_TIMEOUT {
            return Ok(());
        }
        let (state, time) = (lock(&self.shared.state), now());
        let earliest = state.due.first_key_value().map(|((due, _), _)| *due);
        let overdue = earliest.is_some_and(|due| due + BLOCKED_TIMEOUT < time);
        let blocked = overdue && !state.ended && state.turns == self.last_check.turns;
        self.last_check = Check { time, turns: state.turns };
        drop(state);
        // Another thread does not help if the threads wait for credit: it would wait too.
        if blocked && !self.credit.is_waited_for() { self.start_thread() } else { Ok(()) }
    }

    fn start_thread(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        let (number, coordinator) = (self.threads.len(), self.coordinator.clone());
        lock(&self.shared.state).attempts += 1;
        let work = move || shared.work(&coordinator);
        match spawn("reader", format!("read {number}"), &self.coordinator, work) {
            Ok(thread) => self.threads.push(thread),
            Err(error) if self.threads.is_empty() => return Err(error),
            // Fewer threads read the same records, only slower.
            Err(error) => {
                tracing::warn!(threads = number, %error, "read with fewer threads");
            }
        }
        lock(&self.shared.state).threads = self.threads.len();
        Ok(())
    }
}

impl Shared {
    /// Gives a turn to each reader that is due, until the end.
    fn work(&self, coordinator: &Sender<Message>) {
        while let Some(Due { mut reader, wait, pause }) = self.next() {
            let id = reader.id;
            let message = match reader.turn(wait, pause) {
                Ok(Turn::After(pause)) => {
                    lock(&self.state).put(now() + pause, reader);
                    continue;
                }
                Ok(Turn::Asleep(longest)) => {
                    lock(&self.state).put_asleep(longest, reader);
                    continue;
                }
                Ok(Turn::Replayed) => {
                    lock(&self.state).put_replayed(reader);
                    continue;
                }
                Ok(Turn::Over) => Message::End(id),
                Err(error) => Message::Failed(error),
            };
            lock(&self.state).partitions -= 1;
            // Closing the partition may take long, so no lock is held.
            drop(reader);
            // The run may be over already.
            let _ = coordinator.send(message);
        }
        while let Some(reader) = self.remove() {
            drop(reader);
        }
    }

    /// Blocks until a reader is due. Returns none at the end.
    fn next(&self) -> Option<Due> {
        let mut state = lock(&self.state);
        while !state.ended {
            let now = now();
            match state.due.first_key_value().map(|((due, _), _)| *due) {
                Some(due) if due <= now => {
                    let reader = state.take_first()?;
                    let unwatched = |due| state.watched.is_none_or(|watched| due < watched);
                    let next = state.due.first_key_value().map(|((due, _), _)| *due);
                    if next.is_some_and(|due| due <= now || unwatched(due)) {
                        self.changed.notify_one();
                    }
                    let shared = state.threads < state.partitions;
                    let wait = if shared { Duration::ZERO } else { IDLE_PAUSE_MAX };
                    let slower = 1 + state.partitions as u32 / FREQUENTLY_POLLED;
                    return Some(Due { reader, wait, pause: IDLE_PAUSE_MAX * slower });
                }
                Some(due) if state.watched.is_none_or(|watched| due < watched) => {
                    state.watched = Some(due);
                    state = self.changed.wait_timeout(&self.state, state, due - now);
                    if state.watched == Some(due) {
                        state.watched = None;
                    }
                }
                _ => state = self.changed.wait(&self.state, state),
            }
        }
        None
    }

    /// Removes a reader that gets no further turn.
    fn remove(&self) -> Option<Box<Reader>> {
        let mut state = lock(&self.state);
        let replayed = state.replayed.pop().map(Box::new);
        replayed.or_else(|| state.due.pop_first().map(|(_, reader)| reader))
    }
}
