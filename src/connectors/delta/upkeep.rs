//! Housekeeping beside commits: compaction, checkpoints, and the end of what nothing refers to any more.
//!
//! Compaction moves rows that writers know by their old places, while commits go on that take some of them away. So a chore only
//! writes the new file. The committer takes it over between two commits: what has died in the old files since is dead in the
//! new one, and it remembers for each file where its rows are, until none is left, because a row is taken away by its old place.
//!
//! A rearrangement pulls the files away from under whoever knows only the version before. So none is made once a newer run has
//! opened the table, nor while a commit is staged; and one of which nobody can say whether it was made is settled before the
//! next commit is staged. What the log says of where rows went lets a later run show a commit that was staged before it.

use std::any::Any;
use std::collections::BTreeSet;

use roaring::RoaringTreemap;
use serde_json::Value;

use crate::connect::Chore;
use crate::error::{Error, Result};

use super::committer::DeltaCommitter;
use super::file::{NewFile, OpenFile};
use super::files::{self, File, Moved};
use super::writer::ROWS;
use super::{fit, retention, rows, snapshot, vectors};

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
    /// What the folder held a while ago: what was on its way into the table by then is part of it now, or was.
    there: Option<Vec<String>>,
    /// A rearrangement that may have been made.
    doubt: Option<Doubt>,
}

/// A version that moves rows, and what it makes of the files.
struct Doubt {
    body: Vec<u8>,
    id: u32,
    file: File,
    moves: Vec<(u32, Moved)>,
}

/// What a chore has done.
enum Done {
    /// Wrote the living rows of some files to a new one: it, without its bytes, and where the rows of each went, with where its dead
    /// rows were listed then.
    Merged(NewFile, Vec<(u32, Moved)>, Vec<Option<Value>>),
    Listed(Vec<String>),
    /// Summed up the log to this version.
    Checkpointed(u64),
}

impl Upkeep {
    pub(super) fn new(checkpoint_every: u64) -> Self {
        Upkeep { begun: false, checkpoint_every, checkpoint: None, checkpoints: 0, compacted: 0, there: None, doubt: None }
    }

    /// Allows housekeeping.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }
}

fn chore(work: impl FnOnce() -> Result<Done> + Send + 'static) -> Option<Chore> {
    Some(Box::new(move || Ok(Box::new(work()?))))
}

impl DeltaCommitter {
    /// What is due.
    ///
    /// # Errors
    /// When the last checkpoint can't be found.
    pub(super) fn due(&mut self) -> Result<Option<Chore>> {
        if !self.upkeep.begun || !self.staged.is_empty() || self.log.superseded {
            return Ok(None);
        }
        self.settle()?;
        let chosen = self.crowd();
        if chosen.is_empty() { self.checkpoint() } else { Ok(self.merge(&chosen)) }
    }

    /// Takes over what was done.
    ///
    /// # Errors
    /// When it fails; the table is as right as before.
    pub(super) fn done(&mut self, done: Box<dyn Any + Send>) -> Result<()> {
        match *done.downcast::<Done>().map_err(|_| Error::internal("a chore is not of a table"))? {
            Done::Merged(file, moves, vectors) => return self.rearrange(file, moves, vectors),
            Done::Listed(there) => self.upkeep.there = Some(there),
            Done::Checkpointed(version) => {
                self.upkeep.checkpoint = Some(version);
                self.upkeep.checkpoints += 1;
            }
        }
        Ok(())
    }

    /// The files that one should be made of: large ones of which a third is dead, or else small ones once there are many.
    ///
    /// The smallest come first, and none that is larger than all before it: what was made of many is not written again for
    /// every few that come after, so a row is written about as often as the logarithm of its table's size.
    fn crowd(&self) -> Vec<u32> {
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
            true if small.len() < SMALL_FILES => return Vec::new(),
            true => small,
            false => thin,
        };
        chosen.sort_unstable();
        let (mut count, mut bytes, mut rows) = (0, 0, 0);
        let fits = |(size, _, living): &(u64, u32, u64)| {
            let like = !many || count < SMALL_FILES / 2 || *size <= bytes;
            (count, bytes, rows) = (count + 1, bytes + size, rows + living);
            count == 1 || (like && bytes <= target && rows <= u64::from(ROWS))
        };
        let chosen: Vec<u32> = chosen.into_iter().take_while(fits).map(|(_, id, _)| id).collect();
        // One small file alone would only be copied.
        if many && chosen.len() < 2 { Vec::new() } else { chosen }
    }

    /// Writes the living rows of the `chosen` files to a new one.
    fn merge(&mut self, chosen: &[u32]) -> Option<Chore> {
        let id = self.layout.next_file();
        // The writers have the numbers below.
        let path = format!("part-{}-{}-{}.parquet", self.layout.generation, self.upkeep.compacted, self.layout.workers);
        self.upkeep.compacted += 1;
        let (layout, store) = (self.layout.clone(), self.log.store.clone());
        let sources = self.files.living().into_iter().filter(|f| chosen.contains(&f.id)).collect::<Vec<_>>();
        let vectors = sources.iter().map(|f| self.files.files.get(&f.id).and_then(|f| f.vector.clone())).collect();
        chore(move || {
            let mut merged = OpenFile::new(id, path, layout.columns())?;
            let mut moves = Vec::new();
            for old in sources {
                let living = old.rows - old.dead.len() as u32;
                let moved = Moved { file: id, first: merged.rows(), dead: old.dead, rows: living };
                for batch in rows::open(&store, &old.path, layout.columns(), old.rows, &moved.dead)? {
                    merged.write(&batch?)?;
                }
                moves.push((old.id, moved));
            }
            let mut merged = merged.finish()?;
            store.put(&merged.path, &std::mem::take(&mut merged.bytes))?;
            Ok(Done::Merged(merged, moves, vectors))
        })
    }

    /// Puts a merged file in the place of those whose rows it has.
    fn rearrange(&mut self, merged: NewFile, moves: Vec<(u32, Moved)>, vectors: Vec<Option<Value>>) -> Result<()> {
        // What is staged names the files as they are. Its commit has failed: this run is at its end.
        if !self.staged.is_empty() || self.log.superseded {
            return Ok(());
        }
        self.settle()?;
        let (now, mut actions, mut told, mut dead) = ((self.log.now)(), Vec::new(), Vec::new(), RoaringTreemap::new());
        for ((old, moved), vector) in moves.iter().zip(vectors) {
            match self.files.files.get(old) {
                Some(file) => {
                    actions.push(file.remove(now, false));
                    told.push(fit::tell(&file.path, vector, moved));
                    let since = &file.dead - &moved.dead;
                    dead.extend(since.iter().filter_map(|row| moved.row(row as u32)).map(u64::from));
                }
                None => {
                    dead.insert_range(u64::from(moved.first)..u64::from(moved.first + moved.rows));
                }
            }
        }
        let NewFile { id, path, size, rows, stats, .. } = merged;
        if actions.is_empty() {
            return self.log.store.delete(&path);
        }
        let mut file = File { path, size, rows, dead, vector: None, stats };
        if !file.dead.is_empty() {
            let id = vectors::compaction(self.layout.generation, self.upkeep.compacted);
            let (bytes, descriptors) = vectors::encode(&[&file.dead], id)?;
            self.log.store.put(&vectors::name(id), &bytes)?;
            file.vector = descriptors.into_iter().next();
        }
        actions.push(file.add(now, false));
        let body = self.log.rearrangement(told, &actions);
        match self.log.rearrange(&body) {
            Ok(true) => self.files.merge(id, file, moves),
            // Something else came first: it is due again, unless that was a newer run.
            Ok(false) => {}
            Err(error) => {
                self.upkeep.doubt = Some(Doubt { body, id, file, moves });
                return Err(error);
            }
        }
        Ok(())
    }

    /// Finds out what became of a rearrangement that may have been made. Until then nothing may name files.
    ///
    /// # Errors
    /// When that can't be said.
    pub(super) fn settle(&mut self) -> Result<()> {
        let Some(doubt) = &self.upkeep.doubt else { return Ok(()) };
        let made = self.log.settle(&doubt.body)?;
        if let Some(Doubt { id, file, moves, .. }) = self.upkeep.doubt.take().filter(|_| made) {
            self.files.merge(id, file, moves);
        }
        Ok(())
    }

    /// Sums the log up, if it has grown enough since it was last; now and then with a search for what can be deleted.
    fn checkpoint(&mut self) -> Result<Option<Chore>> {
        let (store, version) = (self.log.store.clone(), self.log.version);
        let last = match self.upkeep.checkpoint {
            Some(version) => version,
            None => snapshot::last_checkpoint(&store)?,
        };
        self.upkeep.checkpoint = Some(last);
        if version < last + self.upkeep.checkpoint_every {
            return Ok(None);
        }
        let there = self.upkeep.there.take();
        if there.is_none() && self.upkeep.checkpoints.is_multiple_of(TIDY) {
            return Ok(chore(move || Ok(Done::Listed(store.list("")?.into_iter().map(|(name, _)| name).collect()))));
        }
        let (doubtful, since) = (there.map(|there| self.doubtful(there)).transpose()?, (self.log.now)() - KEEP);
        Ok(chore(move || {
            snapshot::checkpoint(&store, version)?;
            if let Some(doubtful) = doubtful {
                retention::clean(&store, version, since, doubtful)?;
            }
            Ok(Done::Checkpointed(version))
        }))
    }

    /// What of the files that were `there` the table does not need: written by this run or earlier ones, and not part of it.
    /// Files of a later run are known by its number and left alone.
    fn doubtful(&self, there: Vec<String>) -> Result<Vec<String>> {
        let mut needed = BTreeSet::new();
        for file in self.files.files.values() {
            needed.insert(file.path.clone());
            if let Some(vector) = &file.vector {
                needed.extend(vectors::path(vector)?);
            }
        }
        let ours = |name: &str| files::generation(name).or_else(|| vectors::generation(name));
        let old = |name: &String| ours(name).is_some_and(|g| g <= self.layout.generation) && !needed.contains(name);
        Ok(there.into_iter().filter(old).collect())
    }
}
