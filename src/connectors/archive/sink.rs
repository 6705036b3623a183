//! The sink: each commit stages one object for each worker that has rows, and then makes it visible
//! at its final name.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::connect::{
    Committer, CountRows, FoundRows, Identity, MaintenanceTask, Mode, Part, PartFile, Recovering,
    Schema, Sink, SinkContext,
};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::store::Store;

use super::rows::{Encoder, Lines};
use super::{ArchiveTopic, WriterLock, layout};

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

    /// Accepts a topic without records and owner only: readers may have read its records.
    fn check_clear(&self, schema: &Schema, context: &SinkContext, _replaced: &str) -> Result<()> {
        let owned = self.claimed(schema, &SinkContext { committed: 0, ..context.clone() });
        owned.map(drop).map_err(|error| {
            if error.kind() != ErrorKind::Data {
                return error;
            }
            let message = format!("can't reset the state: {} can't be emptied", self.name());
            Error::config(message).because(error).hint(
                "Move the folder of the topic elsewhere, or use another state, empty tables and \
                 another archive.",
            )
        })
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        let lock = self.archive.lock("an application")?;
        self.claim(schema, context)?;
        Ok(Box::new(ArchiveCommitter {
            topic: self.clone(),
            path: self.path()?,
            generation: context.generation,
            ends: BTreeMap::new(),
            is_clean: false,
            _lock: lock,
        }))
    }

    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        _brief: &serde_json::Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        let schema = Arc::new(schema.clone());
        let encoder = |worker| Encoder::new(schema.clone(), context.generation, worker);
        let recovery = |worker| {
            let worker = u32::try_from(worker)
                .map_err(|e| Error::internal("can't number so many workers").because(e))?;
            Ok(Box::new(CountRows::before(encoder(worker))) as _)
        };
        workers.map(recovery).collect()
    }

    fn store_files(&self, files: &[PartFile]) -> Result<()> {
        put_all(&self.archive.store, &self.path()?, files)
    }
}

/// Stores the files of parts in a topic's folder of staged objects.
fn put_all(store: &Store, path: &str, files: &[PartFile]) -> Result<()> {
    let folder = layout::staged_path(path);
    let name = |file: &PartFile| format!("{folder}/{}", file.name);
    let names: Vec<String> = files.iter().map(name).collect();
    let files =
        names.iter().zip(files).map(|(name, file)| (name.as_str(), file.bytes.iter().collect()));
    store.put_all(&files.collect::<Vec<_>>())
}

impl ArchiveTopic {
    /// Makes this application the owner of the topic for ever: the file `_writer` holds its name.
    fn claim(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        let file = layout::writer_path(&self.path()?);
        if self.claimed(schema, context)? {
            return self.archive.store.confirm(&file);
        }
        if !self.archive.store.ensure(&file, context.app.as_bytes())? {
            return Err(self.refused("another application has just taken it"));
        }
        Ok(())
    }

    /// Returns true if this application owns the topic already. Fails if it can't become the owner.
    fn claimed(&self, schema: &Schema, context: &SinkContext) -> Result<bool> {
        if schema.mode == Mode::Snapshot {
            return Err(Error::config(format!(
                "can't keep the table {} in {}: an archive holds every row that was ever written",
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
            .hint("Write to another topic, or continue with the state that belongs to this one.")
    }
}

/// Names the objects of all partitions and makes them visible.
struct ArchiveCommitter {
    topic: ArchiveTopic,
    path: String,
    generation: u64,
    /// The end of each partition, with staged records. The ends after earlier runs are read when
    /// they are needed.
    ends: BTreeMap<u32, u64>,
    /// True once `_staged` has no files of earlier runs.
    is_clean: bool,
    _lock: Arc<WriterLock>,
}

impl ArchiveCommitter {
    fn staged(&self, name: &str) -> String {
        format!("{}/{name}", layout::staged_path(&self.path))
    }

    /// Returns the end of a partition. Earlier commits are visible by now, so the listing is
    /// complete.
    fn end(&self, partition: u32) -> Result<u64> {
        if let Some(end) = self.ends.get(&partition) {
            return Ok(*end);
        }
        Ok(self.topic.end(partition)?.unwrap_or(0))
    }
}

impl Committer for ArchiveCommitter {
    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        let rows = found.rows;
        let ends = self.topic.partitions()?.into_iter().map(|partition| self.end(partition));
        let held = ends.sum::<Result<u64>>()?;
        if held != rows {
            return Err(Error::data(format!(
                "{} holds {held} rows, but the records that were read again make {rows}",
                self.topic.name()
            ))
            .hint("Restore the archive, or begin anew with another topic.")
            .advise(Advice::BeginAnew));
        }
        Ok(())
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<serde_json::Value>> {
        let (mut content, mut files) = (Vec::new(), Vec::new());
        for part in parts {
            let Lines { partition, records, bytes, staged } = part.read()?.0;
            let first = self.end(partition)?;
            self.ends.insert(partition, first + records);
            content.push(Staged { partition, first, records, bytes, staged });
            files.extend(part.files);
        }
        put_all(&self.topic.archive.store, &self.path, &files)?;
        let json = |e| {
            Error::internal(format!("can't record commit {n} of {}", self.topic.name())).because(e)
        };
        (!content.is_empty()).then(|| serde_json::to_value(&content).map_err(json)).transpose()
    }

    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()> {
        let store = &self.topic.archive.store;
        let wrong = |problem: String| {
            Error::data(format!(
                "can't make commit {n} of {} visible: {problem}",
                self.topic.name()
            ))
            .hint("Restore the archive, or begin anew with another topic.")
            .advise(Advice::BeginAnew)
        };
        let content = Vec::<Staged>::deserialize(content)
            .map_err(|e| wrong("its record is damaged".to_string()).because(e))?;
        for object in content {
            let path = self.topic.objects(object.partition)?.path(object.first);
            let staged = self.staged(&object.staged);
            // Only a commit deletes the staged bytes, after they are at their final name.
            let bytes = store.get(&staged)?;
            let there = match &bytes {
                Some(bytes) if bytes.len() as u64 == object.bytes => store.ensure(&path, bytes)?,
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

    /// Deletes objects that earlier runs staged and never committed.
    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        // Before the first stage of this run, the last commit of an earlier one may still need its
        // files.
        if self.is_clean || self.ends.is_empty() {
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

    fn maintained(&mut self, _result: Box<dyn Any + Send>) -> Result<()> {
        self.is_clean = true;
        Ok(())
    }
}
