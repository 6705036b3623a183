//! Reading one partition, turn by turn: its recorded range again, then its new records. Credit
//! bounds the bytes that all readers have in flight.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::message::{Fetched, Message};
use super::recover::Replay;
use crate::connect::{Partition, Poll, Source};
use crate::durable::LastRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::faults;
use crate::ports::Credit;
use crate::record::{Batch, PartitionId};
use crate::secret::Secret;
use crate::sync::Sender;
use crate::time::ProcessingMode;

/// First pause of a reader whose partition has no new records.
const IDLE_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Longest pause of such a reader while there are few partitions.
pub(super) const IDLE_PAUSE_MAX: Duration = Duration::from_millis(20);
/// Pause before another attempt to open a partition that was discovered during the run.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Bytes that a partition has still to deliver, and their sum over all partitions.
pub(super) struct Backlog {
    pub(super) own: Arc<AtomicU64>,
    pub(super) total: Arc<AtomicU64>,
}

impl Backlog {
    fn update(&self, now: u64) {
        let before = self.own.swap(now, Ordering::Relaxed);
        self.total.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

/// The reader of one partition.
pub(super) struct Reader {
    pub(super) id: PartitionId,
    /// Name of the partition in logs and errors.
    pub(super) name: String,
    pub(super) source: Arc<dyn Source>,
    /// The recorded range, which is read first.
    pub(super) replay: Option<Replay>,
    /// The partition at its next record, if it is open.
    pub(super) partition: Option<Box<dyn Partition>>,
    pub(super) follow: bool,
    pub(super) mode: ProcessingMode,
    pub(super) credit: Arc<Credit>,
    pub(super) backlog: Backlog,
    pub(super) coordinator: Sender<Message>,
    /// Key of the digests of records.
    pub(super) secret: Secret,
    pub(super) state: ReaderState,
    /// Gives it a turn before its pause is over.
    pub(super) waker: Waker,
}

/// State of a reader between its turns.
#[derive(Default)]
pub(super) struct ReaderState {
    /// The recorded range has been read again.
    live: bool,
    /// Last pause without new records.
    pause: Duration,
    /// A warning that the partition can't be opened yet was logged.
    warned: bool,
    /// Offset after the last batch; none before the first.
    next: Option<u64>,
}

/// Continuation after a reader's turn.
pub(super) enum Turn {
    /// Its next turn comes after this time.
    After(Duration),
    /// Its next turn comes when its waker is woken, or else after this time.
    Asleep(Duration),
    /// Its next turn comes when all partitions have replayed their recorded range.
    Replayed,
    /// It has no further turn: the partition has ended, or the run has.
    Over,
}

impl Reader {
    /// Reads one batch if one is available. Otherwise it blocks for at most `wait`, or returns a
    /// pause of at most `pause`.
    ///
    /// # Errors
    /// When the partition can't be read, or is not the one recorded.
    pub(super) fn turn(&mut self, wait: Duration, pause: Duration) -> Result<Turn> {
        if self.state.live {
            return self.read_on(wait, pause);
        }
        if let Some(replay) = self.replay {
            if let Some(next) = replay.next() {
                return self.read_again(replay, next, wait);
            }
            // The open partition ends with the recorded range.
            self.partition = None;
            let end = Some(replay.end());
            self.partition = Some(self.source.open(self.id.partition, end, self.follow)?);
        } else if self.partition.is_none() && !self.open_discovered()? {
            return Ok(Turn::After(REOPEN_PAUSE));
        }
        self.state.live = true;
        let sent = self.coordinator.send(Message::Replayed(self.id)).is_ok();
        Ok(if sent { Turn::Replayed } else { Turn::Over })
    }

    /// Opens a partition that was discovered during the run. Returns false if its source can't be
    /// reached. Then the caller tries again after a pause.
    fn open_discovered(&mut self) -> Result<bool> {
        match self.source.open(self.id.partition, None, self.follow) {
            Err(error) if error.kind() == ErrorKind::Connect => {
                if !mem::replace(&mut self.state.warned, true) {
                    tracing::warn!(
                        partition = self.name,
                        %error,
                        "can't open a new partition, it will be tried again"
                    );
                }
            }
            opened => self.partition = Some(opened?),
        }
        Ok(self.partition.is_some())
    }

    /// Reads a batch of the recorded range, from `next` on. The whole range must exist.
    fn read_again(&mut self, mut replay: Replay, next: u64, wait: Duration) -> Result<Turn> {
        let mut partition = match self.partition.take() {
            Some(partition) => partition,
            None => self.source.open(self.id.partition, Some(next), false)?,
        };
        let turn = match partition.poll()? {
            Poll::Batch(mut batch) => {
                self.backlog.update(partition.remaining());
                replay.take(&mut batch);
                self.replay = Some(replay);
                self.submit(batch)?
            }
            Poll::Idle if partition.wait(wait) && !wait.is_zero() => Turn::After(Duration::ZERO),
            Poll::Idle => Turn::After(IDLE_PAUSE_MIN),
            Poll::End => return replay.ended_early(&self.name),
        };
        self.partition = Some(partition);
        Ok(turn)
    }

    /// Reads a batch behind the recorded range.
    fn read_on(&mut self, wait: Duration, pause: Duration) -> Result<Turn> {
        let Some(partition) = &mut self.partition else { return Ok(Turn::Over) };
        let poll = partition.poll()?;
        let remaining = partition.remaining();
        self.backlog.update(remaining);
        let is_idle = matches!(poll, Poll::Idle);
        if is_idle && let Some(longest) = partition.register(&self.waker) {
            return Ok(Turn::Asleep(longest));
        }
        let waited = is_idle && partition.wait(wait) && !wait.is_zero();
        Ok(match poll {
            Poll::Batch(batch) => {
                self.state.pause = Duration::ZERO;
                self.submit(batch)?
            }
            Poll::Idle if waited => Turn::After(Duration::ZERO),
            Poll::Idle => {
                self.state.pause = (self.state.pause * 2).clamp(IDLE_PAUSE_MIN, pause);
                Turn::After(self.state.pause)
            }
            Poll::End => Turn::Over,
        })
    }

    /// Sends a batch to the coordinator, as soon as there is credit for it.
    ///
    /// # Errors
    /// When it does not continue the batch before it: then the bindings would have a gap.
    fn submit(&mut self, mut batch: Batch) -> Result<Turn> {
        if faults::bug("gap_in_bindings") && self.state.next.is_some() {
            batch.first += 1;
        }
        if let Some(next) = self.state.next.filter(|next| *next != batch.first) {
            let (name, first) = (&self.name, batch.first);
            return Err(Error::internal(format!(
                "{name} continues at offset {first}, not at {next}"
            )));
        }
        self.state.next = Some(batch.next);
        let batches = match self.mode {
            ProcessingMode::Consistent => vec![batch],
            ProcessingMode::PerRecord => batch.into_records(),
        };
        let sent = batches.into_iter().all(|batch| self.send(batch));
        Ok(if sent { Turn::After(Duration::ZERO) } else { Turn::Over })
    }

    /// Sends a batch, as soon as there is credit for it. Returns false once the run is over.
    fn send(&self, batch: Batch) -> bool {
        let (mut sum, mut last) = (0u64, None);
        for record in batch.iter(0) {
            let digest = record.digest(self.secret);
            sum = sum.wrapping_add(digest);
            last = Some(LastRecord { offset: record.order.offset, digest });
        }
        self.credit.acquire(batch.cost()) && {
            let fetched = Fetched { id: self.id, batch, digest: sum, last };
            self.coordinator.send(Message::Batch(fetched)).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Receiver, channel};

    /// A partition without records, whose `wait` blocks or not.
    struct Empty {
        waits: bool,
    }

    impl Partition for Empty {
        fn poll(&mut self) -> Result<Poll> {
            Ok(Poll::Idle)
        }
        fn wait(&mut self, _patience: Duration) -> bool {
            self.waits
        }
    }

    fn reader(waits: bool) -> (Reader, Receiver<Message>) {
        let (coordinator, inbox) = channel();
        let reader = Reader {
            id: PartitionId::default(),
            name: "nothing".into(),
            source: Arc::new(crate::connect::memory::MemoryLog::default()),
            replay: None,
            partition: Some(Box::new(Empty { waits })),
            follow: true,
            mode: ProcessingMode::default(),
            credit: Arc::new(Credit::new(1)),
            backlog: Backlog { own: Arc::default(), total: Arc::default() },
            coordinator,
            secret: Secret::new([7; 16]),
            state: ReaderState::default(),
            waker: Waker::noop().clone(),
        };
        (reader, inbox)
    }

    /// The pauses of a reader, turn after turn, in milliseconds.
    fn pauses(waits: bool, wait: Duration, pause: Duration) -> Vec<u128> {
        let (mut reader, inbox) = reader(waits);
        assert!(matches!(reader.turn(wait, pause), Ok(Turn::Replayed)));
        assert!(matches!(inbox.try_recv(), Ok(Message::Replayed(PartitionId { topic: 0, .. }))));
        let next = |_| match reader.turn(wait, pause) {
            Ok(Turn::After(pause)) => pause.as_millis(),
            _ => panic!("a partition without new records is polled again"),
        };
        (0..7).map(next).collect()
    }

    #[test]
    fn an_idle_partition_is_polled_less_and_less_often() {
        let max = IDLE_PAUSE_MAX;
        assert_eq!(pauses(false, max, max), [1, 2, 4, 8, 16, 20, 20]);
        assert_eq!(pauses(true, Duration::ZERO, max * 2), [1, 2, 4, 8, 16, 32, 40]);
        assert_eq!(pauses(true, max, max), [0; 7], "a partition that blocks needs no pause");
    }
}
