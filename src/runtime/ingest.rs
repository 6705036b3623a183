//! Reading a partition, turn by turn: first again what was committed of it, then what comes,
//! bounded by the credit of the whole.

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
use crate::ports::Credit;
use crate::record::Batch;
use crate::secret::Secret;

/// Where a partition is bound: topic, source of the topic, partition.
pub(super) type Place = (usize, u16, u32);

/// The end of the run, for those who wait for time to pass.
#[derive(Default)]
pub(super) struct Control {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Control {
    /// Ends all waiting.
    pub(super) fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for `pause`; false at the end.
    fn wait(&self, pause: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.changed.wait_timeout_while(ended, pause, |ended| !*ended);
        !*ended.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A partition that is read, and what that needs.
pub(super) struct Reader {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) source: Arc<dyn Source>,
    /// What was committed of the partition; it is read again first.
    pub(super) bound: Option<Bound>,
    /// The partition where it is read next, if it is open.
    pub(super) partition: Option<Box<dyn Partition>>,
    pub(super) follow: bool,
    pub(super) credit: Arc<Credit>,
    /// What it has still to read, and what all readers have.
    pub(super) left: Arc<AtomicU64>,
    pub(super) remaining: Arc<AtomicU64>,
    pub(super) coordinator: Sender<Message>,
    /// For the digests of records.
    pub(super) secret: Secret,
    pub(super) so_far: SoFar,
}

/// How far a reader is.
#[derive(Default)]
pub(super) struct SoFar {
    /// Of what was committed, up to where it is read again.
    at: Option<u64>,
    live: bool,
    /// How long it waits before it asks again.
    pause: Duration,
    /// True once it was told that a partition can't be opened yet.
    told: bool,
}

/// The way on after a reader's turn.
pub(super) enum Turn {
    /// Its next turn, after this time.
    After(Duration),
    /// Its next turn, once all partitions are where they were.
    Rebuilt,
    /// Nothing: it is read to its end, or nobody wants more.
    Over,
}

impl Reader {
    /// Does what can be done without being long about it. Of a partition without news it waits for
    /// some, at most for `patience`, or has itself asked again, after `longest` at most.
    pub(super) fn turn(&mut self, patience: Duration, longest: Duration) -> Result<Turn> {
        if self.so_far.live {
            return self.go_on(patience, longest);
        }
        if let Some(bound) = self.bound {
            let at = self.so_far.at.unwrap_or(bound.from);
            if at < bound.to {
                return self.read_again(bound, at, patience);
            }
            // The open partition ends at the last committed offset.
            self.partition = None;
            self.partition = Some(self.source.open(self.place.2, Some(bound.to), self.follow)?);
        } else if self.partition.is_none() && !self.join()? {
            return Ok(Turn::After(LOOK));
        }
        self.so_far.live = true;
        let told = self.coordinator.send(Message::Recovered(self.place)).is_ok();
        Ok(if told { Turn::Rebuilt } else { Turn::Over })
    }

    /// Opens a partition that came while others were followed: it is waited for as they are. False
    /// if it can't be opened yet.
    fn join(&mut self) -> Result<bool> {
        match self.source.open(self.place.2, None, self.follow) {
            Err(error) if error.kind() == ErrorKind::Connect => {
                if !mem::replace(&mut self.so_far.told, true) {
                    tracing::warn!(partition = self.name, %error, "wait for it");
                }
            }
            opened => self.partition = Some(opened?),
        }
        Ok(self.partition.is_some())
    }

    /// Reads on in what was committed, from `at`: all of it must be there.
    fn read_again(&mut self, bound: Bound, at: u64, patience: Duration) -> Result<Turn> {
        let mut partition = match self.partition.take() {
            Some(partition) => partition,
            None => self.source.open(self.place.2, Some(at), false)?,
        };
        let turn = match partition.poll()? {
            Poll::Batch(mut batch) => {
                self.estimate(partition.remaining());
                self.so_far.at = Some(batch.next);
                // Later records are read when the run is live.
                batch.split_off(bound.to);
                self.hand_over(batch)
            }
            Poll::Idle => Turn::After(if partition.wait(patience) && !patience.is_zero() {
                Duration::ZERO
            } else {
                SHORT
            }),
            Poll::End => {
                let (name, to) = (&self.name, bound.to);
                return Err(Error::data(format!(
                    "{name} ends at {at}, but was read up to {to} before"
                ))
                .hint("Restore what is missing, or begin anew with another --state and --lake."));
            }
        };
        self.partition = Some(partition);
        Ok(turn)
    }

    /// Reads on in what was never read before.
    fn go_on(&mut self, patience: Duration, longest: Duration) -> Result<Turn> {
        let Some(partition) = &mut self.partition else { return Ok(Turn::Over) };
        let poll = partition.poll()?;
        let remaining = partition.remaining();
        let waited = matches!(poll, Poll::Idle) && partition.wait(patience) && !patience.is_zero();
        self.estimate(remaining);
        Ok(match poll {
            Poll::Batch(batch) => {
                self.so_far.pause = Duration::ZERO;
                self.hand_over(batch)
            }
            Poll::Idle if waited => Turn::After(Duration::ZERO),
            Poll::Idle => {
                self.so_far.pause = (self.so_far.pause * 2).clamp(SHORT, longest);
                Turn::After(self.so_far.pause)
            }
            Poll::End => Turn::Over,
        })
    }

    fn hand_over(&self, batch: Batch) -> Turn {
        let digest =
            batch.iter(0).fold(0, |sum: u64, record| sum.wrapping_add(record.digest(self.secret)));
        let sent = self.credit.acquire(batch.cost())
            && self.coordinator.send(Message::Batch(self.place, batch, digest)).is_ok();
        if sent { Turn::After(Duration::ZERO) } else { Turn::Over }
    }

    /// Keeps the sum of what all readers have still to read.
    fn estimate(&self, now: u64) {
        let before = self.left.swap(now, Ordering::Relaxed);
        self.remaining.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

/// How long a reader without news waits before it asks again, the first time and, of few
/// partitions, at most.
const SHORT: Duration = Duration::from_millis(1);
pub(super) const LONG: Duration = Duration::from_millis(20);

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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Has nothing; tells whether it was waited for.
    struct Nothing {
        waits: bool,
    }

    impl Partition for Nothing {
        fn poll(&mut self) -> Result<Poll> {
            Ok(Poll::Idle)
        }
        fn wait(&mut self, _patience: Duration) -> bool {
            self.waits
        }
    }

    fn reader(waits: bool) -> (Reader, std::sync::mpsc::Receiver<Message>) {
        let (coordinator, inbox) = channel();
        let reader = Reader {
            place: (0, 0, 0),
            name: "nothing".into(),
            source: Arc::new(crate::connect::memory::MemoryLog::default()),
            bound: None,
            partition: Some(Box::new(Nothing { waits })),
            follow: true,
            credit: Arc::new(Credit::new(1)),
            left: Arc::default(),
            remaining: Arc::default(),
            coordinator,
            secret: Secret::new([7; 16]),
            so_far: SoFar::default(),
        };
        (reader, inbox)
    }

    /// How many milliseconds a reader pauses, turn after turn.
    fn pauses(waits: bool, patience: Duration, longest: Duration) -> Vec<u128> {
        let (mut reader, inbox) = reader(waits);
        assert!(matches!(reader.turn(patience, longest), Ok(Turn::Rebuilt)));
        assert!(matches!(inbox.try_recv(), Ok(Message::Recovered((0, 0, 0)))));
        let pause = |_| match reader.turn(patience, longest) {
            Ok(Turn::After(pause)) => pause.as_millis(),
            _ => panic!("a partition without news is asked again"),
        };
        (0..7).map(pause).collect()
    }

    #[test]
    fn a_partition_without_news_is_asked_more_and_more_seldom() {
        assert_eq!(pauses(false, LONG, LONG), [1, 2, 4, 8, 16, 20, 20]);
        assert_eq!(pauses(true, Duration::ZERO, LONG * 2), [1, 2, 4, 8, 16, 32, 40]);
        assert_eq!(pauses(true, LONG, LONG), [0; 7], "it was waited for");
    }
}
