//! Fetches the records of one shard, at the rate that the service allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::error::{Advice, Error, Result};

use super::api::{Api, CallError, CallErrorKind, Page, Start, StoredRecord};
use super::shard_tree::ShardTree;

/// Per shard, all readers together may make five calls and read two megabytes a second.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(210);
const BYTES_PER_SECOND: usize = 2 << 20;
/// Iterators are valid for five minutes. An older one is not used.
const ITERATOR_MAX_AGE: Duration = Duration::from_secs(240);
/// The pauses between retries: the first, and the longest.
const MIN_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The number of attempts of a call, which take seven seconds of pauses.
pub(super) const ATTEMPTS: u32 = 6;
/// The time limit of a request with all its retries, so that a silent service is soon reported.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(12);
/// The most records that one call can return.
pub(super) const PAGE_MAX_RECORDS: i32 = 10_000;

/// Retries a call after transient failures, with growing pauses: `attempts` times, or for ever.
pub(super) async fn retry<T, F: Future<Output = Result<T, CallError>>>(
    action: &str,
    attempts: Option<u32>,
    mut call: impl FnMut() -> F,
) -> Result<T, CallError> {
    let (mut pause, mut attempt) = (MIN_PAUSE, 1);
    loop {
        match call().await {
            Err(error)
                if error.is_transient() && attempts.is_none_or(|attempts| attempt < attempts) =>
            {
                tracing::debug!(action, attempt, cause = %error.cause, "retry a call of Kinesis");
                if attempt.is_power_of_two() && attempt >= ATTEMPTS {
                    tracing::warn!(action, attempt, cause = %error.cause, "no answer from Kinesis");
                }
                sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
                attempt = attempt.saturating_add(1);
            }
            other => return other,
        }
    }
}

/// Limits a request to [`REQUEST_TIMEOUT`].
pub(super) async fn within_timeout<T>(
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let late = || CallError {
        kind: CallErrorKind::Transient,
        cause: format!("no answer within {} seconds", REQUEST_TIMEOUT.as_secs()).into(),
    };
    timeout(REQUEST_TIMEOUT, call).await.unwrap_or_else(|_| Err(late()))
}

/// An item that a reader receives of its shard.
pub(super) enum Item {
    /// Records, at least one. The permit limits the pages in memory.
    Page {
        records: Vec<StoredRecord>,
        permit: OwnedSemaphorePermit,
    },
    /// The end of the reading.
    End(Ending),
    Failed(Error),
}

/// The reason why a reading ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The shard is closed, and read to its end.
    ShardClosed,
    /// The reading has caught up, or the reader is gone.
    CaughtUp,
}

/// The time at which a reader may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstRead {
    /// Begin once all parents of the shard have been read.
    AfterParents,
    Now,
}

/// A record that must come next.
pub(super) struct Expected {
    pub(super) sequence: String,
    /// True if the record itself is before the position.
    pub(super) already_read: bool,
}

/// Fetches a shard page by page.
pub(super) struct Fetcher {
    pub(super) api: Arc<dyn Api>,
    pub(super) shard_tree: Arc<ShardTree>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) poll_interval: Duration,
    pub(super) stream: String,
    pub(super) number: u32,
    pub(super) shard: String,
    pub(super) follow: bool,
    /// True if the shard was closed when the reader was opened. Then the reading ends with the
    /// shard.
    pub(super) closed: bool,
    pub(super) iterator: Option<String>,
    /// The record that must come next.
    pub(super) expected: Option<Expected>,
    /// The last record that was read.
    pub(super) last: Option<String>,
}

impl Fetcher {
    pub(super) fn name(&self) -> String {
        format!("stream {}, shard {}", self.stream, self.number)
    }

    /// Returns the next page.
    ///
    /// A position is verified by its previous record, which is read again and must exist. Kinesis
    /// itself silently skips records that retention has deleted.
    pub(super) async fn next(&mut self, limit: i32) -> Result<Page> {
        let action = format!("read {}", self.name());
        let attempts = (!self.follow).then_some(ATTEMPTS);
        let mut page = loop {
            let iterator = match self.iterator.take() {
                Some(iterator) => iterator,
                None => self.new_iterator(&action, attempts).await?,
            };
            match retry(&action, attempts, || self.api.records(&iterator, limit)).await {
                Ok(page) => break page,
                Err(error) if error.kind == CallErrorKind::Expired => {}
                Err(error) => return Err(error.error(&action)),
            }
        };
        self.iterator.clone_from(&page.next);
        let last = page.records.last().map(|record| record.sequence.clone());
        if let Some(Expected { sequence, already_read }) = &self.expected {
            match page.records.first() {
                None if page.next.is_some() && !page.caught_up => return Ok(page),
                Some(record) if record.sequence == *sequence => {
                    if *already_read {
                        page.records.remove(0);
                    }
                    self.expected = None;
                }
                _ => return Err(self.missing(sequence)),
            }
        }
        self.last = last.or(self.last.take());
        // An iterator silently skips records that retention has deleted in the meantime. A new one
        // verifies the position.
        if page.near_horizon && !page.records.is_empty() {
            self.iterator = None;
        }
        Ok(page)
    }

    /// Returns a new iterator at the current position.
    async fn new_iterator(&mut self, action: &str, attempts: Option<u32>) -> Result<String> {
        if self.expected.is_none() {
            self.expected =
                self.last.clone().map(|sequence| Expected { sequence, already_read: true });
        }
        let start = self
            .expected
            .as_ref()
            .map_or(Start::TrimHorizon, |expected| Start::AtSequence(expected.sequence.clone()));
        let attempt =
            retry(action, attempts, || self.api.iterator(&self.stream, &self.shard, &start)).await;
        attempt.map_err(|error| match (&start, error.kind) {
            (Start::AtSequence(sequence), CallErrorKind::Invalid | CallErrorKind::Missing) => {
                self.missing(sequence).because(error.cause)
            }
            _ => error.error(action),
        })
    }

    fn missing(&self, sequence: &str) -> Error {
        Error::data(format!(
            "can't continue reading {}: it no longer has record {sequence}",
            self.name()
        ))
        .hint(
            "Retention deleted it, or the stream was recreated. Lengthen the retention, and begin \
             anew.",
        )
        .advise(Advice::BeginAnew)
    }

    /// Sends pages to the reader until the end.
    pub(super) async fn run(mut self, start: FirstRead, reader: Sender<Item>) {
        if start == FirstRead::AfterParents {
            self.shard_tree.wait_for_parents(self.number).await;
        }
        let last = self.pages(&reader).await.map_or_else(Item::Failed, Item::End);
        // The reader may be gone.
        let _ = reader.send(last).await;
    }

    async fn pages(&mut self, reader: &Sender<Item>) -> Result<Ending> {
        loop {
            let both = async {
                let slot = reader.reserve().await;
                (slot, self.permits.clone().acquire_owned().await)
            };
            let both = match timeout(ITERATOR_MAX_AGE, both).await.ok() {
                Some(both) => both,
                None => {
                    self.iterator = None;
                    (reader.reserve().await, self.permits.clone().acquire_owned().await)
                }
            };
            // The reader is gone.
            let (Ok(slot), Ok(permit)) = both else { return Ok(Ending::CaughtUp) };
            let page = self.next(PAGE_MAX_RECORDS).await?;
            let bytes: usize = page.records.iter().map(|record| record.data.len()).sum();
            if page.records.is_empty() {
                drop(permit);
            } else {
                slot.send(Item::Page { records: page.records, permit });
            }
            if page.next.is_none() {
                return Ok(Ending::ShardClosed);
            }
            if page.caught_up && !self.follow && !self.closed {
                return Ok(Ending::CaughtUp);
            }
            sleep(
                self.poll_interval
                    .max(Duration::from_secs(1) * bytes as u32 / BYTES_PER_SECOND as u32),
            )
            .await;
        }
    }
}
