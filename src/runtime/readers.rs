//! The threads that read: up to 64 partitions have one each, of more some share one, and none waits
//! long for another.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::alarm::spawn;
use super::coordinator::Message;
use super::ingest::{LONG, Reader, Turn};
use crate::error::Result;
use crate::ports::Credit;

/// Threads that read, unless partitions keep them waiting: each has a batch in its hands that no
/// credit bounds.
const THREADS: usize = 64;
/// Of so many partitions without news each is asked as often as if it were the only one; of more,
/// more seldom.
const CALM: u32 = 256;
/// After what time in which all threads are at one partition each there is one thread more, if
/// others wait.
const STUCK: Duration = Duration::from_millis(250);

/// The partitions that are read, and the threads that read them.
pub(super) struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    credit: Arc<Credit>,
    coordinator: Sender<Message>,
    /// When it was last looked whether the threads go on, and how many turns there were until then.
    looked: (Instant, u64),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By the time when it is its turn, and by number, for times may be equal.
    due: BTreeMap<(Instant, u64), Box<Reader>>,
    /// Those that are rebuilt, and wait for all others to be.
    rebuilt: Vec<Reader>,
    /// The earliest time up to which a thread sleeps: the others need not look at the clock.
    watched: Option<Instant>,
    live: bool,
    ended: bool,
    /// Partitions that are not read to their end.
    partitions: usize,
    /// Threads, and how often one was to be started.
    threads: usize,
    tried: usize,
    /// Turns that were begun.
    turns: u64,
    /// Partitions that were put in the queue so far.
    queued: u64,
}

impl State {
    fn put(&mut self, due: Instant, reader: Box<Reader>) {
        self.queued += 1;
        self.due.insert((due, self.queued), reader);
    }

    fn rebuilt(&mut self, reader: Box<Reader>) {
        if self.live { self.put(Instant::now(), reader) } else { self.rebuilt.push(*reader) }
    }
}

impl Readers {
    /// No partitions yet.
    pub(super) fn new(credit: Arc<Credit>, coordinator: Sender<Message>) -> Self {
        Readers {
            shared: Arc::default(),
            threads: Vec::new(),
            credit,
            coordinator,
            looked: (Instant::now(), 0),
        }
    }

    /// Reads one more partition.
    ///
    /// # Errors
    /// When there is no thread, and none can be started.
    pub(super) fn add(&mut self, reader: Reader) -> Result<()> {
        let mut state = self.shared.lock();
        state.partitions += 1;
        state.put(Instant::now(), Box::new(reader));
        let one_more = state.tried < state.partitions.min(THREADS);
        drop(state);
        self.shared.changed.notify_one();
        if one_more { self.start() } else { Ok(()) }
    }

    /// Lets all go beyond what was committed.
    pub(super) fn go_live(&self) {
        let mut state = self.shared.lock();
        state.live = true;
        while let Some(reader) = state.rebuilt.pop() {
            state.put(Instant::now(), Box::new(reader));
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Ends all reading; a batch that was read before may still come.
    pub(super) fn end(&self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }

    /// Waits for the threads; the reading must be ended. False if one has panicked.
    pub(super) fn join(&mut self) -> bool {
        self.threads.drain(..).all(|thread| thread.join().is_ok())
    }

    /// Starts one more thread if all that there are wait for a partition each, while others are
    /// due.
    ///
    /// # Errors
    /// Never but as [`add`](Self::add).
    pub(super) fn relieve(&mut self) -> Result<()> {
        if self.looked.0.elapsed() < STUCK {
            return Ok(());
        }
        let (state, now) = (self.shared.lock(), Instant::now());
        let waits = state.due.first_key_value().is_some_and(|((due, _), _)| *due + STUCK < now);
        let stuck = waits && !state.ended && state.turns == self.looked.1;
        self.looked = (now, state.turns);
        drop(state);
        // Where credit is what they wait for, one more would wait for it too.
        if stuck && !self.credit.is_waited_for() { self.start() } else { Ok(()) }
    }

    fn start(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        let (number, coordinator) = (self.threads.len(), self.coordinator.clone());
        self.shared.lock().tried += 1;
        match spawn("reader", format!("read {number}"), &self.coordinator, move || {
            shared.work(&coordinator)
        }) {
            Ok(thread) => self.threads.push(thread),
            Err(error) if self.threads.is_empty() => return Err(error),
            // Fewer do the same, but slower.
            Err(error) => tracing::warn!(threads = number, %error, "read with fewer threads"),
        }
        self.shared.lock().threads = self.threads.len();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads whatever partition is due, until the end.
    fn work(&self, coordinator: &Sender<Message>) {
        while let Some((mut reader, patience, pause)) = self.next() {
            let place = reader.place;
            let message = match reader.turn(patience, pause) {
                Ok(Turn::After(pause)) => {
                    self.lock().put(Instant::now() + pause, reader);
                    continue;
                }
                Ok(Turn::Rebuilt) => {
                    self.lock().rebuilt(reader);
                    continue;
                }
                Ok(Turn::Over) => Message::End(place),
                Err(error) => Message::Failed(error),
            };
            self.lock().partitions -= 1;
            // To close what a partition holds open may take long.
            drop(reader);
            // A coordinator that is gone has no use for the message.
            let _ = coordinator.send(message);
        }
        while let Some(reader) = self.left() {
            drop(reader);
        }
    }

    /// The partition whose turn it is, how long it may be waited for, and the longest pause after
    /// which it is asked again. None at the end.
    fn next(&self) -> Option<(Box<Reader>, Duration, Duration)> {
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            match state.due.first_key_value().map(|((due, _), _)| *due) {
                Some(due) if due <= now => {
                    let (_, reader) = state.due.pop_first()?;
                    state.turns += 1;
                    let next = state.due.first_key_value().map(|((due, _), _)| *due);
                    if next.is_some_and(|due| {
                        due <= now || state.watched.is_none_or(|watched| due < watched)
                    }) {
                        self.changed.notify_one();
                    }
                    let patience =
                        if state.threads < state.partitions { Duration::ZERO } else { LONG };
                    return Some((reader, patience, LONG * (1 + state.partitions as u32 / CALM)));
                }
                Some(due) if state.watched.is_none_or(|watched| due < watched) => {
                    state.watched = Some(due);
                    state = self
                        .changed
                        .wait_timeout(state, due - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                    if state.watched == Some(due) {
                        state.watched = None;
                    }
                }
                _ => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        None
    }

    /// A partition that is not read any further.
    fn left(&self) -> Option<Box<Reader>> {
        let mut state = self.lock();
        state
            .rebuilt
            .pop()
            .map(Box::new)
            .or_else(|| state.due.pop_first().map(|(_, reader)| reader))
    }
}
