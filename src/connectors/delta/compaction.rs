//! Compaction: one file in the place of several, beside commits.
//!
//! It moves rows that writers refer to by their old places, while commits go on that delete some of
//! them. So a task only writes the new file. The committer takes it over between two commits: rows
//! that died in the old files since then are dead in the new one. For each old file the committer
//! keeps the way of its rows until none is left, because writers delete a row by its old place.
//!
//! A compaction removes files to which staged commits, and runs that read an older version, still
//! refer. So none is committed once a newer run has opened the table, nor while a commit is staged.
//! If the outcome is unknown, it is resolved before the next commit is staged. The log records the
//! way of the rows, so that a later run can show a commit that was staged before.

use std::collections::BTreeSet;

use roaring::RoaringTreemap;
use serde_json::Value;

use crate::connect::MaintenanceTask;

use crate::error::Result;
use crate::store::Store;

use super::committer::DeltaCommitter;
use super::file::{FileEntry, NewFile, OpenFile};
use super::files::{File, Moved};
use super::index::Living;
use super::layout::{FILE_MAX_ROWS, Layout, REWRITE_MAX_BYTES};
use super::maintenance::{TaskResult, Unresolved, task};
use super::{fit, rows, vectors};

/// The number of small files from which they are compacted.
const SMALL_FILES: usize = 32;

/// The change of the files by a compaction.
pub(super) struct Compacted {
    /// The file that the rows went to.
    id: u32,
    file: File,
    moves: Vec<(u32, Moved)>,
    /// True if it is the first version with a vector.
    declares: bool,
}

/// Writes the living rows of `sources` to file `id`, one after the other.
fn gather(
    store: &Store,
    layout: &Layout,
    id: u32,
    path: String,
    sources: Vec<Living>,
) -> Result<(NewFile, Vec<(u32, Moved)>)> {
    let (mut gathered, mut moves) = (OpenFile::new(id, path, layout.columns())?, Vec::new());
    for old in sources {
        let living = old.rows - old.dead.len() as u32;
        let moved = Moved { file: id, first: gathered.rows(), dead: old.dead, rows: living };
        for batch in rows::open(store, &old.path, layout.columns(), old.rows, &moved.dead)? {
            gathered.write(&batch?)?;
        }
        moves.push((old.id, moved));
    }
    Ok((gathered.finish()?, moves))
}

impl DeltaCommitter {
    /// Returns the files that should become one: large ones of which a third is dead, or else small
    /// ones, once there are many.
    ///
    /// The smallest come first, up to a file that is larger than all before it together
    /// (size-tiered compaction): a row is rewritten O(log n) times.
    pub(super) fn compaction_candidates(&self) -> Vec<u32> {
        let target = self.layout.target_file_size as u64;
        let size = |f: &File| f.size * f.living() / u64::from(f.rows.max(1));
        let (mut small, mut thin) = (Vec::new(), Vec::new());
        for (id, file) in &self.files.files {
            if file.size < target / 4 {
                small.push((size(file), *id, file.living()));
            } else if file.dead.len() * 10 > u64::from(file.rows) * 3 {
                thin.push((size(file), *id, file.living()));
            }
        }
        let many = thin.is_empty();
        let mut chosen = match many {
            // Each worker writes one anew at each commit, as long as its rows are few.
            true if small.len() < SMALL_FILES.max(self.layout.workers + 1) => return Vec::new(),
            true => small,
            false => thin,
        };
        chosen.sort_unstable();
        let (mut count, mut bytes, mut rows) = (0, 0, 0);
        let fits = |(size, _, living): &(u64, u32, u64)| {
            let like = !many || count < SMALL_FILES / 2 || *size <= bytes;
            (count, bytes, rows) = (count + 1, bytes + size, rows + living);
            count == 1 || (like && bytes <= target && rows <= u64::from(FILE_MAX_ROWS))
        };
        let chosen: Vec<u32> = chosen.into_iter().take_while(fits).map(|(_, id, _)| id).collect();
        // One small file alone would only be copied.
        if many && chosen.len() < 2 { Vec::new() } else { chosen }
    }

    /// Returns the task that writes the living rows of the `chosen` files to a new one.
    pub(super) fn merge(&mut self, chosen: &[u32]) -> Result<Option<MaintenanceTask>> {
        let (id, path) = self.merged()?;
        let (layout, store) = (self.layout.clone(), self.log.store.clone());
        let sources =
            self.files.living().into_iter().filter(|f| chosen.contains(&f.id)).collect::<Vec<_>>();
        let vectors = sources
            .iter()
            .map(|f| self.files.files.get(&f.id).and_then(|f| f.vector.clone()))
            .collect();
        Ok(task(move || {
            let (NewFile { entry, bytes }, moves) = gather(&store, &layout, id, path, sources)?;
            store.put(&entry.path, &bytes)?;
            Ok(TaskResult::Merged(entry, moves, vectors))
        }))
    }

    /// Returns the number and the path of the next file that is made of others.
    fn merged(&mut self) -> Result<(u32, String)> {
        let path = self.layout.path(self.layout.workers, self.maintenance.compacted);
        self.maintenance.compacted += 1;
        Ok((self.numbers.take()?, path))
    }

    /// Puts one file in the place of those `changed` files that are partly dead. So a small table
    /// needs no vectors, and readers that don't know them can read it. Returns the file, with the
    /// actions that take the others away. `None` if the table has declared vectors, or the files
    /// are too large.
    ///
    /// # Errors
    /// When they can't be read.
    pub(super) fn copy(
        &mut self,
        changed: &mut BTreeSet<u32>,
    ) -> Result<Option<(Vec<Value>, NewFile)>> {
        let partly = |f: &&Living| {
            changed.contains(&f.id) && !f.dead.is_empty() && f.dead.len() < u64::from(f.rows)
        };
        let sources: Vec<Living> = self.files.living().into_iter().filter(|f| partly(&f)).collect();
        let rows: u64 = sources.iter().map(|f| u64::from(f.rows)).sum();
        let files = sources.iter().filter_map(|f| self.files.files.get(&f.id));
        let size: u64 = files.clone().map(|f| f.size).sum();
        let most = self.layout.rewrite_below.saturating_mul(self.layout.workers as u64);
        if self.undeclared.is_none()
            || sources.is_empty()
            || rows > most
            || size > REWRITE_MAX_BYTES as u64
        {
            return Ok(None);
        }
        let now = (self.log.now)();
        let removes = files.map(|f| f.remove(now, true)).collect();
        changed.retain(|id| !sources.iter().any(|f| f.id == *id));
        let (id, path) = self.merged()?;
        let (file, moves) = gather(&self.log.store, &self.layout, id, path, sources)?;
        self.files.merge(id, File::new(file.entry.clone()), moves);
        Ok(Some((removes, file)))
    }

    /// Replaces the files whose rows the file `merged` has.
    pub(super) fn commit_compaction(
        &mut self,
        merged: FileEntry,
        moves: Vec<(u32, Moved)>,
        vectors: Vec<Option<Value>>,
    ) -> Result<()> {
        // A staged commit names the present files, and it has failed: this run is ending.
        if !self.staged.is_empty() || self.log.superseded {
            return Ok(());
        }
        self.resolve()?;
        let (now, mut actions, mut told, mut dead) =
            ((self.log.now)(), Vec::new(), Vec::new(), RoaringTreemap::new());
        for ((old, moved), vector) in moves.iter().zip(vectors) {
            match self.files.files.get(old) {
                Some(file) => {
                    actions.push(file.remove(now, false));
                    told.push(fit::tell(&file.path, vector, moved));
                    let since = &file.dead - &moved.dead;
                    dead.extend(
                        since.iter().filter_map(|row| moved.row(row as u32)).map(u64::from),
                    );
                }
                None => {
                    dead.insert_range(u64::from(moved.first)..u64::from(moved.first + moved.rows));
                }
            }
        }
        let id = merged.id;
        if actions.is_empty() {
            return self.log.store.delete(&merged.path);
        }
        let mut file = File { dead, ..File::new(merged) };
        if !file.dead.is_empty() {
            let id = vectors::compaction(self.layout.generation, self.maintenance.compacted);
            let (bytes, descriptors) = vectors::encode(&[&file.dead], id)?;
            self.log.store.put(&vectors::name(id), &bytes)?;
            file.vector = descriptors.into_iter().next();
        }
        let declares = file.vector.is_some() && self.undeclared.is_some();
        if declares {
            actions.splice(0..0, self.undeclared.iter().flatten().cloned());
        }
        actions.push(file.add(now, false));
        let body = self.log.compaction(told, &actions);
        let made = self.log.commit_compaction(&body);
        let compacted = Compacted { id, file, moves, declares };
        match made {
            Ok(true) => self.take(compacted),
            // Another version came first: it is due again, unless that was of a newer run.
            Ok(false) => {}
            Err(error) => {
                self.maintenance.unresolved = Some(Unresolved { body, compacted });
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes over a compaction that is in the log.
    fn take(&mut self, made: Compacted) {
        self.files.merge(made.id, made.file, made.moves);
        if made.declares {
            self.undeclared = None;
        }
    }

    /// Decides whether a compaction of unknown outcome was made. Until then no commit may refer to
    /// files.
    ///
    /// # Errors
    /// When that can't be decided.
    pub(super) fn resolve(&mut self) -> Result<()> {
        let Some(Unresolved { body, .. }) = &self.maintenance.unresolved else { return Ok(()) };
        let made = self.log.resolve(body)?;
        if let Some(unresolved) = self.maintenance.unresolved.take().filter(|_| made) {
            self.take(unresolved.compacted);
        }
        Ok(())
    }
}
