//! The two that work for a folder log: one takes records into the journal, many at a sync; the other puts them into the archive.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_64;

use crate::connect::log::{Entry, Place, Position, Refusal};

use super::archive::{self, Key};
use super::journal::{self, Journal, Run, Trouble};
use super::{Shared, lock};

/// How many requests are synced at once, at most.
const GROUP: usize = 1024;

/// What the writer is asked for.
pub(super) enum Command {
    Append(Append),
    /// Answered when all that was asked for before is in the archive and nothing of it is needed in the journal.
    Settle(oneshot::Sender<()>),
}

/// Records of one request.
pub(super) struct Append {
    pub(super) topic: Arc<str>,
    pub(super) entries: Vec<Entry>,
    /// The room that they take until they are in the archive.
    pub(super) room: OwnedSemaphorePermit,
    pub(super) done: oneshot::Sender<Result<Vec<Place>, Refusal>>,
}

/// What is in the journal and not yet in the archive.
#[derive(Default)]
pub(super) struct Backlog {
    groups: Vec<Group>,
    /// Number of the journal's segment that is written now.
    segment: u64,
    settled: Vec<oneshot::Sender<()>>,
}

impl Backlog {
    /// Nothing yet, while segment number `segment` is written.
    pub(super) fn at(segment: u64) -> Self {
        Backlog { segment, ..Self::default() }
    }
}

/// What one sync has made durable.
struct Group {
    segment: u64,
    runs: Vec<Run>,
    /// Given back when this is dropped.
    _room: Vec<OwnedSemaphorePermit>,
}

/// Takes records into the journal.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    /// Where the next records without a key go, by topic.
    pub(super) turns: BTreeMap<Arc<str>, u32>,
}

impl Writer {
    /// Works until nobody asks any more, or the journal is lost.
    pub(super) fn work(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.blocking_recv() {
            let mut appends = Vec::new();
            let mut next = Some(command);
            let settle = loop {
                match next {
                    Some(Command::Append(append)) => appends.push(append),
                    Some(Command::Settle(done)) => break Some(done),
                    None => break None,
                }
                next = if appends.len() < GROUP { queue.try_recv().ok() } else { None };
            };
            let worked = self.take(appends).and_then(|()| self.settle(settle));
            if let Err(error) = worked {
                self.shared.broken.send_replace(Some(error.to_string()));
                return;
            }
        }
    }

    fn take(&mut self, appends: Vec<Append>) -> io::Result<()> {
        let mut runs = BTreeMap::new();
        let mut placed = Vec::new();
        let mut room = Vec::new();
        for Append { topic, entries, room: taken, done } in appends {
            let places = self.place(&topic, entries, &mut runs);
            room.push(taken);
            placed.push((done, places));
        }
        let runs: Vec<Run> = runs.into_values().collect();
        if !runs.is_empty() {
            match self.journal.append(&runs) {
                Ok(()) => self.taken(runs, room),
                Err(Trouble::Undone(e)) => {
                    tracing::warn!(error = %e, "can't write the journal: refuse records");
                    let full = matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                    let why = "the journal can't be written".to_string();
                    let refusal = if full { Refusal::Full(why) } else { Refusal::Busy(why) };
                    placed.iter_mut().filter(|(_, places)| places.is_ok()).for_each(|(_, places)| *places = Err(refusal.clone()));
                }
                Err(Trouble::Lost(e)) => return Err(e),
            }
        }
        // Whose client is gone has taken its chance: the record stays.
        placed.into_iter().for_each(|(done, places)| drop(done.send(places)));
        if self.journal.is_long() { self.rotate() } else { Ok(()) }
    }

    /// Gives each entry its place at the end of a run.
    fn place(&mut self, topic: &Arc<str>, entries: Vec<Entry>, runs: &mut BTreeMap<Key, Run>) -> Result<Vec<Place>, Refusal> {
        let topics = lock(&self.shared.topics);
        let ends = topics.get(topic).ok_or(Refusal::NoTopic)?;
        if entries.iter().any(|entry| entry.partition.is_some_and(|p| p as usize >= ends.len())) {
            return Err(Refusal::NoPartition);
        }
        let count = ends.len() as u32;
        let turn = self.turns.entry(topic.clone()).or_default();
        *turn = (*turn + 1) % count;
        let mut places = Vec::with_capacity(entries.len());
        for Entry { partition, key, value } in entries {
            let hashed = key.map(|key| ((u128::from(xxh3_64(&key)) * u128::from(count)) >> 64) as u32);
            let partition = partition.or(hashed).unwrap_or(*turn);
            let run = runs.entry((topic.clone(), partition)).or_insert_with(|| Run {
                topic: topic.clone(),
                partition,
                first: ends[partition as usize],
                values: Vec::new(),
            });
            places.push(Place { partition, position: Position::Offset(run.end()) });
            run.values.push(value.unwrap_or_else(|| "null".into()));
        }
        Ok(places)
    }

    fn taken(&mut self, runs: Vec<Run>, room: Vec<OwnedSemaphorePermit>) {
        let mut topics = lock(&self.shared.topics);
        for run in &runs {
            // A topic may have been deleted meanwhile.
            if let Some(end) = topics.get_mut(&run.topic).and_then(|ends| ends.get_mut(run.partition as usize)) {
                *end = run.end();
            }
        }
        drop(topics);
        lock(&self.shared.backlog).groups.push(Group { segment: self.journal.segment(), runs, _room: room });
        self.shared.wake.notify_one();
    }

    fn settle(&mut self, settle: Option<oneshot::Sender<()>>) -> io::Result<()> {
        let Some(done) = settle else { return Ok(()) };
        self.rotate()?;
        lock(&self.shared.backlog).settled.push(done);
        self.shared.wake.notify_one();
        self.shared.hurry.notify_one();
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.journal.rotate()?;
        lock(&self.shared.backlog).segment = self.journal.segment();
        Ok(())
    }
}

impl Shared {
    /// Puts what is in the journal into the archive, an object for each partition, and drops the segments that no one needs.
    pub(super) fn publish(&self) -> io::Result<()> {
        // Held all the time: one publishes, and in order.
        let mut ends = lock(&self.published);
        let (groups, settled) = {
            let mut backlog = lock(&self.backlog);
            (mem::take(&mut backlog.groups), mem::take(&mut backlog.settled))
        };
        let mut runs: BTreeMap<Key, Vec<Run>> = BTreeMap::new();
        for run in groups.iter().flat_map(|group| &group.runs) {
            runs.entry((run.topic.clone(), run.partition)).or_default().push(run.clone());
        }
        let mut worked = Ok(());
        for (key, mut runs) in runs {
            let end = ends.entry(key.clone()).or_default();
            runs.retain(|run| run.first >= *end);
            if worked.is_ok() && !runs.is_empty() {
                worked = archive::add(&self.root, &key, end, &runs);
            }
        }
        let mut backlog = lock(&self.backlog);
        if worked.is_err() {
            let later = mem::replace(&mut backlog.groups, groups);
            backlog.groups.extend(later);
            backlog.settled.extend(settled);
            return worked;
        }
        let needed = backlog.groups.first().map_or(backlog.segment, |group| group.segment);
        drop(backlog);
        journal::drop_before(&self.journal(), needed)?;
        for done in settled {
            let _ = done.send(());
        }
        drop(groups);
        Ok(())
    }
}
