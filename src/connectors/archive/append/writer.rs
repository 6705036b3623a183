//! The writer of an appender: one thread that writes records to the journal, many with each sync.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_64;

use crate::connect::append::{Appended, NewRecord, Position, Refusal};
use crate::error::Error;
use crate::sync::lock;

use super::Shared;
use super::command::{Command, Request};
use super::journal::{Journal, Note, Run, WriteError};
use super::publish::Group;
use super::topics::Key;

/// Most requests of one sync.
const GROUP_REQUESTS: usize = 1024;

/// Writes records to the journal.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    /// The partition of the latest records without a key, by topic.
    pub(super) turns: BTreeMap<Arc<str>, u32>,
}

impl Writer {
    /// Works until the queue is closed, or the journal is lost.
    pub(super) fn work(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.blocking_recv() {
            let mut appends = Vec::new();
            let mut next = Some(command);
            let last = loop {
                match next {
                    Some(Command::Append(append)) => appends.push(append),
                    other => break other,
                }
                next = if appends.len() < GROUP_REQUESTS { queue.try_recv().ok() } else { None };
            };
            let worked = self.take(appends).and_then(|()| match last {
                Some(Command::Drain(done)) => self.drain(done),
                Some(Command::Delete { topic, aside, done }) => self.delete(topic, aside, done),
                _ => Ok(()),
            });
            if let Err(error) = worked {
                return self.lost(&error);
            }
        }
    }

    /// Ends appending, because the journal can't be written any more.
    fn lost(&self, error: &io::Error) {
        let failed =
            format!("can't write the journal {}: {error}", self.shared.journal().display());
        self.shared.give_up(
            &Error::connect(failed)
                .hint("Acknowledged records are safe. Repair the disk and start again."),
        );
    }

    fn take(&mut self, appends: Vec<Request>) -> io::Result<()> {
        let mut runs = BTreeMap::new();
        let mut placed = Vec::new();
        let mut room = Vec::new();
        for Request { topic, records, room: taken, done } in appends {
            let places = self.place(&topic, records, &mut runs);
            room.push(taken);
            placed.push((done, places));
        }
        let notes: Vec<Note> = runs.into_values().map(Note::Run).collect();
        if !notes.is_empty() {
            match self.journal.append(&notes) {
                Ok(()) => self.add_to_backlog(notes, room),
                Err(WriteError::Undone(e)) => {
                    let refusal = refused(&e);
                    placed
                        .iter_mut()
                        .filter(|(_, places)| places.is_ok())
                        .for_each(|(_, places)| *places = Err(refusal.clone()));
                }
                Err(WriteError::Lost(e)) => return Err(e),
            }
        }
        // A client that has disconnected gets no response; its records are kept.
        placed.into_iter().for_each(|(done, places)| drop(done.send(places)));
        if self.journal.is_long() { self.rotate() } else { Ok(()) }
    }

    /// Gives each record a place at the end of its partition's run.
    fn place(
        &mut self,
        topic: &Arc<str>,
        records: Vec<NewRecord>,
        runs: &mut BTreeMap<Key, Run>,
    ) -> Result<Vec<Appended>, Refusal> {
        let topics = lock(&self.shared.topics);
        let ends = topics.get(topic).ok_or(Refusal::NoTopic)?;
        if records.iter().any(|record| record.partition.is_some_and(|p| p as usize >= ends.len())) {
            return Err(Refusal::NoPartition);
        }
        let count = ends.len() as u32;
        let turn = self.turns.entry(topic.clone()).or_default();
        *turn = (*turn + 1) % count;
        let mut places = Vec::with_capacity(records.len());
        for NewRecord { partition, key, value } in records {
            let hashed =
                key.map(|key| ((u128::from(xxh3_64(&key)) * u128::from(count)) >> 64) as u32);
            let partition = partition.or(hashed).unwrap_or(*turn);
            let run = runs.entry((topic.clone(), partition)).or_insert_with(|| Run {
                topic: topic.clone(),
                partition,
                first: ends[partition as usize],
                values: Vec::new(),
            });
            places.push(Appended { partition, position: Position::Offset(run.end()) });
            run.values.push(value.unwrap_or_else(|| "null".into()));
        }
        Ok(places)
    }

    /// Passes synced records to the publisher.
    fn add_to_backlog(&mut self, notes: Vec<Note>, room: Vec<OwnedSemaphorePermit>) {
        let run = |note| if let Note::Run(run) = note { Some(run) } else { None };
        let runs: Vec<Run> = notes.into_iter().filter_map(run).collect();
        let mut topics = lock(&self.shared.topics);
        for run in &runs {
            // The topic may have been deleted in the meantime.
            if let Some(end) =
                topics.get_mut(&run.topic).and_then(|ends| ends.get_mut(run.partition as usize))
            {
                *end = run.end();
            }
        }
        drop(topics);
        lock(&self.shared.backlog).groups.push(Group::new(self.journal.segment(), runs, room));
        self.shared.wake.notify_one();
    }

    fn drain(&mut self, done: oneshot::Sender<()>) -> io::Result<()> {
        // Record the error before `done` is dropped, because its receiver then reads it.
        self.rotate().inspect_err(|error| self.lost(error))?;
        lock(&self.shared.backlog).drained.push(done);
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
            Err(WriteError::Undone(e)) => Err(refused(&e)),
            Err(WriteError::Lost(e)) => return Err(e),
        };
        let _ = done.send(deleted);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        match self.journal.rotate() {
            Err(WriteError::Lost(e)) => return Err(e),
            // On a full disk the same segment continues, until there is room for another.
            Err(WriteError::Undone(error)) => {
                tracing::warn!(%error, "can't begin another segment of the journal")
            }
            Ok(()) => {}
        }
        lock(&self.shared.backlog).segment = self.journal.segment();
        Ok(())
    }
}

/// The refusal of records whose write failed and left no trace.
fn refused(error: &io::Error) -> Refusal {
    tracing::warn!(%error, "can't write the journal: refuse records");
    let why = "the journal can't be written".to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::Full(why),
        _ => Refusal::Busy(why),
    }
}
