//! Asking one shard for its records, call after call, at the pace the service allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::error::{Advice, Error, Result};

use super::api::{Api, Fault, FaultKind, Page, Raw, Start};
use super::lineage::Lineage;

/// Five calls a second and shard are allowed, and two megabytes, to all its readers together.
pub(super) const PACE: Duration = Duration::from_millis(210);
const BYTES_A_SECOND: usize = 2 << 20;
/// Iterators live for five minutes; one that waited for so long is not tried.
const FRESH: Duration = Duration::from_secs(240);
/// The wait before a call is made again, at first and at most.
const PAUSE: Duration = Duration::from_millis(200);
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// How often a call is made before it is given up: for seven seconds of pauses.
pub(super) const ATTEMPTS: u32 = 6;
/// The longest it is asked, so that a service which gives no answer is soon reported.
pub(super) const SOON: Duration = Duration::from_secs(12);
/// As many as one call can return.
pub(super) const ALL: i32 = 10_000;

/// Calls until it succeeds: again after a fault that passes, with longer and longer pauses,
/// `attempts` times or for ever.
pub(super) async fn insist<T, F: Future<Output = Result<T, Fault>>>(
    what: &str,
    attempts: Option<u32>,
    mut call: impl FnMut() -> F,
) -> Result<T, Fault> {
    let (mut pause, mut made) = (PAUSE, 1);
    loop {
        match call().await {
            Err(fault) if fault.passes() && attempts.is_none_or(|attempts| made < attempts) => {
                tracing::debug!(what, made, cause = %fault.cause, "call Kinesis again");
                if made.is_power_of_two() && made >= ATTEMPTS {
                    tracing::warn!(what, made, cause = %fault.cause, "Kinesis gives no answer");
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONG_PAUSE);
                made = made.saturating_add(1);
            }
            other => return other,
        }
    }
}

/// Gives up what isn't done within [`SOON`].
pub(super) async fn soon<T>(call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = || Fault {
        kind: FaultKind::Passing,
        cause: format!("no answer within {} seconds", SOON.as_secs()).into(),
    };
    timeout(SOON, call).await.unwrap_or_else(|_| Err(late()))
}

/// What a reader gets of its shard.
pub(super) enum Item {
    /// Records, at least one; there is room for no more than some pages in all.
    Page(Vec<Raw>, OwnedSemaphorePermit),
    /// The end of what was there, and whether it is that of the shard.
    End(bool),
    Failed(Error),
}

/// Reads a shard on and on.
pub(super) struct Fetcher {
    pub(super) api: Arc<dyn Api>,
    pub(super) lineage: Arc<Lineage>,
    pub(super) room: Arc<Semaphore>,
    pub(super) pace: Duration,
    pub(super) stream: String,
    pub(super) number: u32,
    pub(super) shard: String,
    pub(super) follow: bool,
    /// Whether the shard has an end that was known when it was opened: then that is the end of what
    /// was there.
    pub(super) closed: bool,
    pub(super) iterator: Option<String>,
    /// The record that must come next, and whether it is still to be handed over.
    pub(super) expected: Option<(String, bool)>,
    /// The last record that was read.
    pub(super) last: Option<String>,
}

impl Fetcher {
    pub(super) fn name(&self) -> String {
        format!("stream {}, shard {}", self.stream, self.number)
    }

    /// The next page. A position is the record before it, which is read again and must be there:
    /// Kinesis itself skips without a word what it no longer has.
    pub(super) async fn next(&mut self, limit: i32) -> Result<Page> {
        let what = format!("read {}", self.name());
        let attempts = (!self.follow).then_some(ATTEMPTS);
        let mut page = loop {
            let iterator = match self.iterator.take() {
                Some(iterator) => iterator,
                None => self.begin(&what, attempts).await?,
            };
            match insist(&what, attempts, || self.api.records(&iterator, limit)).await {
                Ok(page) => break page,
                Err(fault) if fault.kind == FaultKind::Expired => {}
                Err(fault) => return Err(fault.error(&what)),
            }
        };
        self.iterator.clone_from(&page.next);
        let last = page.records.last().map(|record| record.sequence.clone());
        if let Some((sequence, fresh)) = &self.expected {
            match page.records.first() {
                None if page.next.is_some() && !page.newest => return Ok(page),
                Some(record) if record.sequence == *sequence => {
                    if !fresh {
                        page.records.remove(0);
                    }
                    self.expected = None;
                }
                _ => return Err(self.gone(sequence)),
            }
        }
        self.last = last.or(self.last.take());
        // An iterator, too, passes over what retention took in the meantime.
        if page.old && !page.records.is_empty() {
            self.iterator = None;
        }
        Ok(page)
    }

    /// A new iterator where the reading stands.
    async fn begin(&mut self, what: &str, attempts: Option<u32>) -> Result<String> {
        if self.expected.is_none() {
            self.expected = self.last.clone().map(|last| (last, false));
        }
        let start = self
            .expected
            .as_ref()
            .map_or(Start::Horizon, |(sequence, _)| Start::At(sequence.clone()));
        let made =
            insist(what, attempts, || self.api.iterator(&self.stream, &self.shard, &start)).await;
        made.map_err(|fault| match (&start, fault.kind) {
            (Start::At(sequence), FaultKind::Invalid | FaultKind::Missing) => {
                self.gone(sequence).because(fault.cause)
            }
            _ => fault.error(what),
        })
    }

    fn gone(&self, sequence: &str) -> Error {
        Error::data(format!(
            "can't go on reading {}: it no longer holds record {sequence}",
            self.name()
        ))
        .hint(
            "Retention took it away, or the stream was made anew: lengthen the retention, or begin \
             anew.",
        )
        .advise(Advice::BeginAnew)
    }

    /// Hands pages to a reader, to the end. A shard whose position is its beginning waits for its
    /// parents.
    pub(super) async fn run(mut self, fresh: bool, reader: Sender<Item>) {
        if fresh {
            self.lineage.parents(self.number).await;
        }
        let last = self.pages(&reader).await.map_or_else(Item::Failed, Item::End);
        // A reader that is gone needs no end.
        let _ = reader.send(last).await;
    }

    async fn pages(&mut self, reader: &Sender<Item>) -> Result<bool> {
        loop {
            let room = async {
                let place = reader.reserve().await;
                (place, self.room.clone().acquire_owned().await)
            };
            let room = match timeout(FRESH, room).await.ok() {
                Some(room) => room,
                None => {
                    self.iterator = None;
                    (reader.reserve().await, self.room.clone().acquire_owned().await)
                }
            };
            // Nobody reads on.
            let (Ok(place), Ok(permit)) = room else { return Ok(false) };
            let page = self.next(ALL).await?;
            let bytes: usize = page.records.iter().map(|record| record.data.len()).sum();
            if page.records.is_empty() {
                drop(permit);
            } else {
                place.send(Item::Page(page.records, permit));
            }
            if page.next.is_none() {
                return Ok(true);
            }
            if page.newest && !self.follow && !self.closed {
                return Ok(false);
            }
            sleep(self.pace.max(Duration::from_secs(1) * bytes as u32 / BYTES_A_SECOND as u32))
                .await;
        }
    }
}
