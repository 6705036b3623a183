//! Compaction: one file replaces several, beside commits.
//!
//! A compaction moves rows that writers refer to by their old places, while commits go on that
//! delete some of them. So a task only writes the new file. The committer applies it between two
//! commits: rows that died in the old files in the meantime are dead in the new one. For each old
//! file the committer keeps the moves of its rows while any is left, because writers delete a row
//! by its old place.
//!
//! A compaction removes files to which staged commits, and runs that read an older version, still
//! refer. So none is committed once a newer run has opened the table, nor while a commit is staged.
//! If the outcome is unknown, it is resolved before the next commit is staged. The log records the
//! moves, so that a later run can make a commit visible that was staged before them.

use std::collections::BTreeSet;

use roaring::RoaringTreemap;
use serde_json::Value;

use crate::error::Result;
use crate::faults;
use crate::store::Store;

use super::file::{FileEntry, NewFile, OpenFile};
use super::files::{File, Moved};
use super::index::LiveFile;
use super::layout::{FILE_MAX_ROWS, Layout, REWRITE_MAX_BYTES};
use super::state::TableState;
use super::{rebase, rows, vectors};

/// The number of small files from which on they are compacted.
const SMALL_FILES: usize = 32;

fn small_files() -> usize {
    faults::limit("small_files", SMALL_FILES as u64) as usize
}

/// The state of a table's compactions.
#[derive(Default)]
pub(super) struct Compactor {
    /// The number of files that this run has made of others.
    made: u64,
    /// A compaction of unknown outcome.
    unresolved: Option<Unresolved>,
    /// True if another version came before the last compaction. A commit reads that version;
    /// until then every further compaction would fail likewise.
    overtaken: bool,
}

/// A compaction that may be in the log.
struct Unresolved {
    /// The bytes of its version.
    body: Vec<u8>,
    compacted: Compacted,
}

/// The result of a compaction task: a new file with the live rows of others.
pub(super) struct Merged {
    file: FileEntry,
    /// The moves of the rows, by the number of the old file.
    moves: Vec<(u32, Moved)>,
    /// The deletion vector of each old file, before the compaction.
    vectors: Vec<Option<Value>>,
}

/// The change of a table by a compaction.
struct Compacted {
    /// The number of the new file.
    id: u32,
    file: File,
    moves: Vec<(u32, Moved)>,
    /// True if it is the first version with a vector.
    declares: bool,
}

impl Compacted {
    /// Applies a compaction that is in the log.
    fn apply(self, table: &mut TableState) {
        table.files.merge(self.id, self.file, self.moves);
        if self.declares {
            table.undeclared = None;
        }
    }
}

/// Writes the live rows of `sources` to file `id`, one source after the other.
fn gather(
    store: &Store,
    layout: &Layout,
    id: u32,
    path: String,
    sources: Vec<LiveFile>,
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

impl TableState {
    /// Returns the files that should be compacted to one: large files of which three tenths are
    /// dead, or else small files, once there are many.
    ///
    /// The smallest come first, up to a file that is larger than all before it together
    /// (size-tiered compaction), so that a row is rewritten O(log n) times.
    fn compaction_candidates(&self) -> Vec<u32> {
        let target = self.layout.target_file_size as u64;
        let size = |f: &File| f.size * f.live_rows() / u64::from(f.rows.max(1));
        let (mut small, mut thin) = (Vec::new(), Vec::new());
        for (id, file) in &self.files.files {
            if file.size < target / 4 {
                small.push((size(file), *id, file.live_rows()));
            } else if file.dead.len() * 10 > u64::from(file.rows) * 3 {
                thin.push((size(file), *id, file.live_rows()));
            }
        }
        let many = thin.is_empty();
        let mut chosen = match many {
            // A worker with few rows writes a new small file at each commit.
            true if small.len() < small_files().max(self.layout.workers + 1) => return Vec::new(),
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
        // A single small file would only be copied.
        if many && chosen.len() < 2 { Vec::new() } else { chosen }
    }
}

impl Compactor {
    /// Allows compactions again, after a commit of this run.
    pub(super) fn resume(&mut self) {
        self.overtaken = false;
    }

    /// Returns the files that should be compacted now.
    pub(super) fn candidates(&self, table: &TableState) -> Vec<u32> {
        if self.overtaken { Vec::new() } else { table.compaction_candidates() }
    }

    /// Returns the work that writes the live rows of the `chosen` files to a new one.
    pub(super) fn merge(
        &mut self,
        table: &mut TableState,
        chosen: &[u32],
    ) -> Result<impl FnOnce() -> Result<Merged> + Send + use<>> {
        let (id, path) = self.next_file(table)?;
        let (layout, store) = (table.layout.clone(), table.log.store.clone());
        let sources: Vec<LiveFile> =
            table.files.live_files().into_iter().filter(|file| chosen.contains(&file.id)).collect();
        let vectors = sources
            .iter()
            .map(|file| table.files.files.get(&file.id).and_then(|file| file.vector.clone()))
            .collect();
        Ok(move || {
            let (NewFile { entry, bytes }, moves) = gather(&store, &layout, id, path, sources)?;
            store.put_pieces(&entry.path, &Vec::from_iter(bytes.iter()))?;
            faults::point("compaction.written");
            Ok(Merged { file: entry, moves, vectors })
        })
    }

    /// Returns the number and the path of the next new file.
    fn next_file(&mut self, table: &mut TableState) -> Result<(u32, String)> {
        let path = table.layout.path(table.layout.workers, self.made);
        self.made += 1;
        Ok((table.numbers.take()?, path))
    }

    /// Copies the live rows of `changed` files that are partly dead to one new file. So a small
    /// table needs no vectors, and readers that don't support them can read it. Returns the file,
    /// and the actions that remove the others. `None` if the table has declared vectors, or the
    /// files are too large.
    ///
    /// # Errors
    /// When the files can't be read.
    pub(super) fn copy(
        &mut self,
        table: &mut TableState,
        changed: &mut BTreeSet<u32>,
    ) -> Result<Option<(Vec<Value>, NewFile)>> {
        let partly = |f: &&LiveFile| {
            changed.contains(&f.id) && !f.dead.is_empty() && f.dead.len() < u64::from(f.rows)
        };
        let sources: Vec<LiveFile> =
            table.files.live_files().into_iter().filter(|f| partly(&f)).collect();
        let rows: u64 = sources.iter().map(|f| u64::from(f.rows)).sum();
        let files = sources.iter().filter_map(|f| table.files.files.get(&f.id));
        let size: u64 = files.clone().map(|f| f.size).sum();
        let most = table.layout.rewrite_below.saturating_mul(table.layout.workers as u64);
        if table.undeclared.is_none()
            || sources.is_empty()
            || rows > most
            || size > REWRITE_MAX_BYTES as u64
        {
            return Ok(None);
        }
        let now = (table.log.now)();
        let removes = files.map(|f| f.remove(now, true)).collect();
        changed.retain(|id| !sources.iter().any(|f| f.id == *id));
        let (id, path) = self.next_file(table)?;
        let (file, moves) = gather(&table.log.store, &table.layout, id, path, sources)?;
        table.files.merge(id, File::new(file.entry.clone()), moves);
        Ok(Some((removes, file)))
    }

    /// Commits the file `merged` in the place of the files whose rows it has.
    ///
    /// # Errors
    /// When it can't be written, or the outcome is unknown.
    pub(super) fn commit(&mut self, table: &mut TableState, merged: Merged) -> Result<()> {
        let Merged { file: merged, moves, vectors } = merged;
        // A staged commit that has failed names the present files. This run is ending.
        if !table.staged.is_empty() || table.log.superseded {
            return Ok(());
        }
        self.resolve(table)?;
        let (now, mut actions, mut recorded, mut dead) =
            ((table.log.now)(), Vec::new(), Vec::new(), RoaringTreemap::new());
        for ((old, moved), vector) in moves.iter().zip(vectors) {
            match table.files.files.get(old) {
                Some(file) => {
                    actions.push(file.remove(now, false));
                    recorded.push(rebase::record(&file.path, vector, moved));
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
            return table.log.store.delete(&merged.path);
        }
        let mut file = File { dead, ..File::new(merged) };
        if !file.dead.is_empty() {
            let id = vectors::compaction(table.layout.generation, self.made);
            let (bytes, descriptors) = vectors::encode(&[&file.dead], id)?;
            table.log.store.put(&vectors::name(id), &bytes)?;
            file.vector = descriptors.into_iter().next();
        }
        let declares = file.vector.is_some() && table.undeclared.is_some();
        if declares {
            actions.splice(0..0, table.undeclared.iter().flatten().cloned());
        }
        actions.push(file.add(now, false));
        let body = table.log.compaction(recorded, &actions);
        faults::point("compaction.before");
        let made = table.log.commit_compaction(&body);
        faults::point("compaction.after");
        let compacted = Compacted { id, file, moves, declares };
        match made {
            Ok(true) => compacted.apply(table),
            Ok(false) => self.overtaken = true,
            Err(error) => {
                self.unresolved = Some(Unresolved { body, compacted });
                return Err(error);
            }
        }
        Ok(())
    }

    /// Determines the outcome of a compaction, if it is unknown. Until then no commit may refer to
    /// files.
    ///
    /// # Errors
    /// When the outcome can't be determined.
    pub(super) fn resolve(&mut self, table: &mut TableState) -> Result<()> {
        let Some(Unresolved { body, .. }) = &self.unresolved else { return Ok(()) };
        let made = table.log.resolve(body)?;
        if let Some(unresolved) = self.unresolved.take().filter(|_| made) {
            unresolved.compacted.apply(table);
        }
        Ok(())
    }
}
