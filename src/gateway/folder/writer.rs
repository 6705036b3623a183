//! The two that work for a folder log: one takes records into the journal, many at a sync; the
//! other puts them into the archive.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_64;

use crate::connect::log::{Entry, Place, Position, Refusal};
use crate::error::{Error, Result};

use super::archive::{self, Key};
use super::journal::{self, Journal, Note, Run, Trouble};
use super::{Shared, lock};

/// How many requests are synced at once, at most.
const GROUP: usize = 1024;

/// What the writer is asked for.
pub(super) enum Command {
    Append(Append),
    /// Answered when all that was asked for before is in the archive and nothing of it is needed in
    /// the journal.
    Settle(oneshot::Sender<()>),
    /// Answered when it is in the journal that a topic gets the name `aside`.
    Delete {
        topic: Arc<str>,
        aside: String,
        done: oneshot::Sender<Result<(), Refusal>>,
    },
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

/// The ends of the archive's partitions, and the records on their way there.
pub(super) struct Published {
    /// Where each partition ends in the archive.
    pub(super) ends: BTreeMap<Key, u64>,
    /// Records that could not be added, retried alone: an object that is perhaps there already gets
    /// the same records again.
    stuck: Vec<Group>,
}

impl Published {
    pub(super) fn at(ends: BTreeMap<Key, u64>) -> Self {
        Published { ends, stuck: Vec::new() }
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
            let last = loop {
                match next {
                    Some(Command::Append(append)) => appends.push(append),
                    other => break other,
                }
                next = if appends.len() < GROUP { queue.try_recv().ok() } else { None };
            };
            let worked = self.take(appends).and_then(|()| match last {
                Some(Command::Settle(done)) => self.settle(done),
                Some(Command::Delete { topic, aside, done }) => self.delete(topic, aside, done),
                _ => Ok(()),
            });
            if let Err(error) = worked {
                return self.lost(&error);
            }
        }
    }

    /// Ends the log, as its journal can't be written any more.
    fn lost(&self, error: &io::Error) {
        let what = format!("can't write the journal {}: {error}", self.shared.journal().display());
        self.shared.give_up(
            &Error::connect(what)
                .hint("What was acknowledged is safe; see to the disk and start again."),
        );
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
        let notes: Vec<Note> = runs.into_values().map(Note::Run).collect();
        if !notes.is_empty() {
            match self.journal.append(&notes) {
                Ok(()) => self.taken(notes, room),
                Err(Trouble::Undone(e)) => {
                    let refusal = refused(&e);
                    placed
                        .iter_mut()
                        .filter(|(_, places)| places.is_ok())
                        .for_each(|(_, places)| *places = Err(refusal.clone()));
                }
                Err(Trouble::Lost(e)) => return Err(e),
            }
        }
        // Whose client is gone has taken its chance: the record stays.
        placed.into_iter().for_each(|(done, places)| drop(done.send(places)));
        if self.journal.is_long() { self.rotate() } else { Ok(()) }
    }

    /// Gives each entry its place at the end of a run.
    fn place(
        &mut self,
        topic: &Arc<str>,
        entries: Vec<Entry>,
        runs: &mut BTreeMap<Key, Run>,
    ) -> Result<Vec<Place>, Refusal> {
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
            let hashed =
                key.map(|key| ((u128::from(xxh3_64(&key)) * u128::from(count)) >> 64) as u32);
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

    fn taken(&mut self, notes: Vec<Note>, room: Vec<OwnedSemaphorePermit>) {
        let run = |note| if let Note::Run(run) = note { Some(run) } else { None };
        let runs: Vec<Run> = notes.into_iter().filter_map(run).collect();
        let mut topics = lock(&self.shared.topics);
        for run in &runs {
            // A topic may have been deleted meanwhile.
            if let Some(end) =
                topics.get_mut(&run.topic).and_then(|ends| ends.get_mut(run.partition as usize))
            {
                *end = run.end();
            }
        }
        drop(topics);
        lock(&self.shared.backlog).groups.push(Group {
            segment: self.journal.segment(),
            runs,
            _room: room,
        });
        self.shared.wake.notify_one();
    }

    fn settle(&mut self, done: oneshot::Sender<()>) -> io::Result<()> {
        // The error is known before the waiter is told, which then asks for it.
        self.rotate().inspect_err(|error| self.lost(error))?;
        lock(&self.shared.backlog).settled.push(done);
        self.shared.wake.notify_one();
        self.shared.hurry.notify_one();
        Ok(())
    }

    fn delete(
        &mut self,
        topic: Arc<str>,
        aside: String,
        done: oneshot::Sender<Result<(), Refusal>>,
    ) -> io::Result<()> {
        let deleted = match self.journal.append(&[Note::Deleted { topic, aside }]) {
            Ok(()) => Ok(()),
            Err(Trouble::Undone(e)) => Err(refused(&e)),
            Err(Trouble::Lost(e)) => return Err(e),
        };
        let _ = done.send(deleted);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        match self.journal.rotate() {
            Err(Trouble::Lost(e)) => return Err(e),
            // A full disk: the same segment goes on, until there is room for another.
            Err(Trouble::Undone(error)) => {
                tracing::warn!(%error, "can't begin another segment of the journal")
            }
            Ok(()) => {}
        }
        lock(&self.shared.backlog).segment = self.journal.segment();
        Ok(())
    }
}

/// The refusal of what could not be written, and left no trace.
fn refused(error: &io::Error) -> Refusal {
    tracing::warn!(%error, "can't write the journal: refuse records");
    let why = "the journal can't be written".to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::Full(why),
        _ => Refusal::Busy(why),
    }
}

impl Shared {
    /// Puts what is in the journal into the archive, an object for each partition, and drops the
    /// segments that no one needs; says whether there was anything.
    ///
    /// # Errors
    /// Of the data, when the archive is not as it was left; else it may go better in a moment.
    pub(super) fn publish(&self) -> Result<bool> {
        // Held all the time: one publishes, and in order.
        let mut published = lock(&self.published);
        let stuck = mem::take(&mut published.stuck);
        let retried = !stuck.is_empty();
        self.put(&mut published, stuck)?;
        let (groups, settled) = {
            let mut backlog = lock(&self.backlog);
            (mem::take(&mut backlog.groups), mem::take(&mut backlog.settled))
        };
        let any = retried || !groups.is_empty();
        let worked = self.put(&mut published, groups).and_then(|()| {
            let backlog = lock(&self.backlog);
            let needed = backlog.groups.first().map_or(backlog.segment, |group| group.segment);
            drop(backlog);
            let failed = |e| {
                Error::connect(format!("can't take away segments of {}", self.journal().display()))
                    .because(e)
            };
            journal::drop_before(&self.journal(), needed).map_err(failed)
        });
        if let Err(error) = worked {
            lock(&self.backlog).settled.extend(settled);
            return Err(error);
        }
        for done in settled {
            let _ = done.send(());
        }
        Ok(any)
    }

    /// Adds the runs of `groups` to the archive; keeps them if that fails.
    fn put(&self, published: &mut Published, groups: Vec<Group>) -> Result<()> {
        let mut runs: BTreeMap<Key, Vec<Run>> = BTreeMap::new();
        for run in groups.iter().flat_map(|group| &group.runs) {
            runs.entry((run.topic.clone(), run.partition)).or_default().push(run.clone());
        }
        for (key, mut runs) in runs {
            let end = published.ends.entry(key.clone()).or_default();
            runs.retain(|run| run.first >= *end);
            if !runs.is_empty()
                && let Err(error) = archive::add(&self.root, &key, end, &runs)
            {
                published.stuck = groups;
                return Err(error);
            }
        }
        Ok(())
    }
}
