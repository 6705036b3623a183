//! Housekeeping between commits: compaction, checkpoints, and the end of what nothing refers to any more.
//!
//! Compaction moves rows that writers know by their old places. So the committer itself does it, and remembers for each file
//! where its rows went; a row that is taken away by its old place is looked up there.

use std::collections::BTreeSet;

use roaring::RoaringTreemap;

use crate::error::Result;

use super::committer::{DeltaCommitter, put_all};
use super::file::OpenFile;
use super::files::{self, File, Moved};
use super::{rows, snapshot, vectors};

/// Small files that are borne before they are made one.
const SMALL_FILES: usize = 32;
/// Checkpoints between two searches for what can be deleted.
const TIDY: u64 = 64;
/// How long a version stays readable, in milliseconds: a week, as Delta has it.
const KEEP: i64 = 7 * 24 * 3600 * 1000;

/// What was done last, and when.
pub(super) struct Upkeep {
    /// Whether this run has made a commit: until then an older one may still be about to.
    begun: bool,
    checkpoint_every: u64,
    /// Version of the last checkpoint, once it is known.
    checkpoint: Option<u64>,
    checkpoints: u64,
    compacted: u64,
}

impl Upkeep {
    pub(super) fn new(checkpoint_every: u64) -> Self {
        Upkeep { begun: false, checkpoint_every, checkpoint: None, checkpoints: 0, compacted: 0 }
    }

    /// Allows housekeeping.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }
}

impl DeltaCommitter {
    /// Does what is due.
    ///
    /// # Errors
    /// When it fails; the table is as right as before.
    pub(super) fn keep_up(&mut self) -> Result<()> {
        if self.upkeep.begun && self.staged.is_empty() {
            self.compact()?;
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Writes the living rows of small files, and of files of which a third is dead, to new ones.
    fn compact(&mut self) -> Result<()> {
        let target = self.layout.target_file_size as u64;
        let small = |f: &File| f.size < target / 4;
        let thin = |f: &File| f.dead.len() * 10 > u64::from(f.rows) * 3;
        let all = &self.files.files;
        let large_and_thin = all.values().any(|f| !small(f) && thin(f));
        if !large_and_thin && all.values().filter(|f| small(f)).count() < SMALL_FILES {
            return Ok(());
        }
        let mut chosen: Vec<(&u32, &File)> = all.iter().filter(|(_, f)| small(f) || thin(f)).collect();
        chosen.sort_by_key(|(_, f)| small(f));
        // No more at a time than makes one file, because the next commit waits.
        let mut size = 0;
        let fits = |(_, f): &(&u32, &File)| {
            let first = size == 0;
            size += f.size * f.living() / u64::from(f.rows);
            first || size <= target
        };
        let chosen: Vec<u32> = chosen.into_iter().take_while(fits).map(|(id, _)| *id).collect();
        self.merge(&chosen)
    }

    /// Makes one file of those that are `chosen`.
    fn merge(&mut self, chosen: &[u32]) -> Result<()> {
        let id = self.layout.next_file();
        // The writers have the numbers below.
        let writer = self.layout.workers;
        let path = format!("part-{}-{}-{writer}.parquet", self.layout.generation, self.upkeep.compacted);
        self.upkeep.compacted += 1;
        let mut merged = OpenFile::new(id, path.clone(), self.layout.columns())?;
        let (now, mut actions, mut moves) = ((self.log.now)(), Vec::new(), Vec::new());
        for old in chosen {
            let Some(file) = self.files.files.get(old) else { continue };
            moves.push((*old, Moved { file: id, first: merged.rows(), dead: file.dead.clone(), rows: file.living() as u32 }));
            for batch in rows::open(&self.log.store, &file.path, self.layout.columns(), file.rows, &file.dead)? {
                merged.write(&batch?)?;
            }
            actions.push(file.remove(now, false));
        }
        let merged = merged.finish()?;
        let (size, rows, stats) = (merged.bytes.len() as u64, merged.rows, merged.stats);
        let file = File { path: path.clone(), size, rows, dead: RoaringTreemap::new(), vector: None, stats };
        actions.push(file.add(now, false));
        put_all(&self.log.store, &[(path, merged.bytes)])?;
        self.log.rearrange(&actions)?;
        self.files.insert(id, file);
        for (old, moved) in moves {
            self.files.remove(old);
            self.files.forward(old, moved);
        }
        Ok(())
    }

    /// Sums the log up, if it has grown enough since it was last.
    fn checkpoint(&mut self) -> Result<()> {
        let last = match self.upkeep.checkpoint {
            Some(version) => version,
            None => snapshot::last_checkpoint(&self.log.store)?,
        };
        self.upkeep.checkpoint = Some(last);
        let version = self.log.version;
        if version < last + self.upkeep.checkpoint_every {
            return Ok(());
        }
        snapshot::checkpoint(&self.log.store, version)?;
        self.upkeep.checkpoint = Some(version);
        if self.upkeep.checkpoints.is_multiple_of(TIDY) {
            self.tidy(version)?;
        }
        self.upkeep.checkpoints += 1;
        Ok(())
    }

    /// Deletes versions of the log that are older than a week and below a checkpoint, and files that no version since needs.
    ///
    /// The checkpoint of the last version lists what was removed within the week. Whatever of this run and earlier ones is
    /// neither there nor in the table is needed by nobody. Files of a later run are known by its number and left alone.
    fn tidy(&self, version: u64) -> Result<()> {
        let store = &self.log.store;
        snapshot::clean_log(store, version, (self.log.now)() - KEEP)?;
        let mut needed: BTreeSet<String> = snapshot::removed(store, version)?;
        for file in self.files.files.values() {
            needed.insert(file.path.clone());
            if let Some(vector) = &file.vector {
                needed.extend(vectors::path(vector)?);
            }
        }
        for (name, _) in store.list("")? {
            let generation = files::generation(&name).or_else(|| vectors::generation(&name));
            if generation.is_some_and(|g| g <= self.layout.generation) && !needed.contains(&name) {
                store.delete(&name)?;
            }
        }
        Ok(())
    }
}
