//! Writing: each commit stages one object for each worker that has rows, and then makes it visible
//! at its final name.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::connect::{Chore, Committer, Identity, Mode, Opened, Schema, Sink, SinkContext};

use super::rows::{Encoder, Lines};
use super::{ArchiveTopic, WriterLock, layout};
use crate::error::{Error, Result};

/// An object of a commit, as the manifest records it.
#[derive(Debug, Serialize, Deserialize)]
struct Staged {
    partition: u32,
    first: u64,
    records: u64,
    bytes: u64,
    /// Its name below `_staged` until it is visible.
    staged: String,
}

impl Sink for ArchiveTopic {
    fn describe(&self) -> String {
        self.name()
    }

    fn identity(&self) -> Result<Identity> {
        Ok(self.identity())
    }

    fn check(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        self.claimed(schema, context).map(|_| ())
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Opened> {
        let lock = self.archive.lock("an application")?;
        self.claim(schema, context)?;
        let schema = Arc::new(schema.clone());
        let committer = Objects {
            topic: self.clone(),
            path: self.path()?,
            generation: context.generation,
            ends: BTreeMap::new(),
            tidy: false,
            _lock: lock,
        };
        Ok(Opened {
            writers: (0..context.workers as u32)
                .map(|worker| Box::new(Encoder::new(schema.clone(), worker)) as _)
                .collect(),
            committer: Box::new(committer),
        })
    }
}

impl ArchiveTopic {
    /// Makes the topic this application's own, for good: a file `_writer` holds its name.
    fn claim(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        let file = layout::writer_path(&self.path()?);
        if self.claimed(schema, context)? {
            return self.archive.store.confirm(&file);
        }
        if !self.archive.store.settle(&file, context.app.as_bytes())? {
            return Err(self.refused("another application has just taken it"));
        }
        Ok(())
    }

    /// Whether the topic is this application's own already; an error if it can't become so.
    fn claimed(&self, schema: &Schema, context: &SinkContext) -> Result<bool> {
        if schema.mode == Mode::Snapshot {
            return Err(Error::config(format!(
                "can't keep the table {} in {}: an archive holds every row that ever came",
                schema.topic,
                self.name()
            ))
            .hint("Bind the topic to a table, or write a stream to the archive."));
        }
        let owner = self.archive.store.get(&layout::writer_path(&self.path()?))?;
        if owner.as_ref().is_some_and(|owner| owner != context.app.as_bytes()) {
            return Err(self.refused("it belongs to another application"));
        }
        if owner.is_none() || context.committed == 0 {
            for partition in self.partitions()? {
                if !self.objects(partition)?.list()?.is_empty() {
                    return Err(
                        self.refused("it holds records that this application did not write")
                    );
                }
            }
        }
        Ok(owner.is_some())
    }

    fn refused(&self, why: &str) -> Error {
        Error::data(format!("can't write to {}: {why}", self.name()))
            .hint("Write to another topic, or go on with the state that belongs to this one.")
    }
}

/// Names the objects of all partitions and makes them visible.
struct Objects {
    topic: ArchiveTopic,
    path: String,
    generation: u64,
    /// Offsets after the last record of each partition, staged ones too; those of earlier runs are
    /// read when they are needed.
    ends: BTreeMap<u32, u64>,
    /// Whether nothing is left in `_staged` of earlier runs.
    tidy: bool,
    _lock: Arc<WriterLock>,
}

impl Objects {
    fn staged(&self, name: &str) -> String {
        format!("{}/{name}", layout::staged_path(&self.path))
    }

    /// Where a partition ends. Not asked for before earlier commits are visible, so what is visible
    /// is all there is.
    fn end(&self, partition: u32) -> Result<u64> {
        if let Some(end) = self.ends.get(&partition) {
            return Ok(*end);
        }
        Ok(self.topic.end(partition)?.unwrap_or(0))
    }
}

impl Committer for Objects {
    fn recovered(&mut self, rows: u64) -> Result<()> {
        let ends = self.topic.partitions()?.into_iter().map(|partition| self.end(partition));
        let held = ends.sum::<Result<u64>>()?;
        if held != rows {
            return Err(Error::data(format!(
                "{} holds {held} rows, but what was read again makes {rows}",
                self.topic.name()
            ))
            .hint("Restore the archive, or begin anew with another topic and state."));
        }
        Ok(())
    }

    fn stage(
        &mut self,
        n: u64,
        parts: Vec<Box<dyn Any + Send>>,
    ) -> Result<Option<serde_json::Value>> {
        let mut content = Vec::new();
        for part in parts {
            let lines = part
                .downcast::<Lines>()
                .map_err(|_| Error::internal("the archive was handed another sink's rows"))?;
            let Lines { partition, bytes, records } = *lines;
            let first = self.end(partition)?;
            // The generation keeps a run that doesn't know of its end from writing over what its
            // successor stages.
            let staged = format!("{}-{n}-{partition}.json", self.generation);
            self.topic.archive.store.put(&self.staged(&staged), &bytes)?;
            self.ends.insert(partition, first + records);
            content.push(Staged { partition, first, records, bytes: bytes.len() as u64, staged });
        }
        let json = |e| {
            Error::internal(format!("can't record commit {n} of {}", self.topic.name())).because(e)
        };
        (!content.is_empty()).then(|| serde_json::to_value(&content).map_err(json)).transpose()
    }

    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()> {
        let store = &self.topic.archive.store;
        let wrong = |what: String| {
            Error::data(format!("can't make commit {n} of {} visible: {what}", self.topic.name()))
                .hint("Restore the archive, or begin anew with another topic and state.")
        };
        let content = Vec::<Staged>::deserialize(content)
            .map_err(|e| wrong("its record is damaged".to_string()).because(e))?;
        for object in content {
            let path = self.topic.objects(object.partition)?.path(object.first);
            let staged = self.staged(&object.staged);
            // Only a commit takes the staged bytes away, and not before they are at their final
            // name.
            let bytes = store.get(&staged)?;
            let there = match &bytes {
                Some(bytes) if bytes.len() as u64 == object.bytes => store.settle(&path, bytes)?,
                Some(_) => {
                    return Err(wrong(format!("{} is not as it was written", store.name(&staged))));
                }
                None if store.get(&path)?.is_some_and(|held| held.len() as u64 == object.bytes) => {
                    store.confirm(&path).map(|()| true)?
                }
                None => false,
            };
            if !there {
                return Err(wrong(format!(
                    "{} is missing or holds other records",
                    store.name(&path)
                )));
            }
            store.delete(&staged)?;
        }
        Ok(())
    }

    /// Takes away what earlier runs staged and never committed.
    fn maintain(&mut self) -> Result<Option<Chore>> {
        // Before the first stage of this run the last commit of an earlier one may still be needed.
        if self.tidy || self.ends.is_empty() {
            return Ok(None);
        }
        let (store, folder, now) =
            (self.topic.archive.store.clone(), layout::staged_path(&self.path), self.generation);
        Ok(Some(Box::new(move || {
            for (name, _) in store.list(&folder)? {
                let generation =
                    name.split_once('-').and_then(|(generation, _)| generation.parse::<u64>().ok());
                if generation.is_some_and(|generation| generation < now) {
                    store.delete(&format!("{folder}/{name}"))?;
                }
            }
            Ok(Box::new(()))
        })))
    }

    fn maintained(&mut self, _done: Box<dyn Any + Send>) -> Result<()> {
        self.tidy = true;
        Ok(())
    }
}
