//! The files of a table with their dead rows, and the log's actions that change them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use roaring::RoaringTreemap;
use serde_json::{Map, Value, json};

use crate::connect::Mode;

use crate::error::{Advice, Error, Result};
use crate::store::Store;

use super::file::FileEntry;
use super::index::{LiveFile, Place};
use super::layout::FileNumbers;
use super::rows::CHANGED;
use super::vectors;

/// A file of the table.
pub(super) struct File {
    pub(super) path: String,
    pub(super) size: u64,
    /// The number of rows, including dead ones.
    pub(super) rows: u32,
    pub(super) dead: RoaringTreemap,
    /// The descriptor of its deletion vector in the log.
    pub(super) vector: Option<Value>,
    pub(super) stats: Map<String, Value>,
}

/// The move of a file's rows by a compaction: its live rows are in `file`, one after the other from
/// `first` on.
pub(super) struct Moved {
    pub(super) file: u32,
    pub(super) first: u32,
    /// The rows that were dead before the move.
    pub(super) dead: RoaringTreemap,
    /// The number of moved rows.
    pub(super) rows: u32,
}

impl Moved {
    /// Returns the new number of the row `row`; `None` if it was dead.
    pub(super) fn row(&self, row: u32) -> Option<u32> {
        // Earlier dead rows were not moved.
        let dead = self.dead.rank(row.into()) as u32;
        (!self.dead.contains(row.into())).then(|| self.first + row - dead)
    }

    /// Combines this move with a later one of `file`; false if no row is left.
    fn follow(&mut self, on: &Moved) -> bool {
        let below =
            |row: u32| row.checked_sub(1).map_or(0, |last| on.dead.rank(last.into()) as u32);
        let (before, until) = (below(self.first), below(self.first + self.rows));
        if until > before {
            let living = (0..).filter(|row| !self.dead.contains(*row));
            let went = living.zip(self.first..self.first + self.rows);
            let died: Vec<u64> = went
                .filter(|(_, at)| on.dead.contains(u64::from(*at)))
                .map(|(row, _)| row)
                .collect();
            self.dead.extend(died);
        }
        (self.file, self.first) = (on.file, on.first + self.first - before);
        self.rows -= until - before;
        self.rows > 0
    }
}

/// The files of the table, by their numbers in this run.
#[derive(Default)]
pub(super) struct Files {
    pub(super) files: BTreeMap<u32, File>,
    ids: HashMap<String, u32>,
    /// The moves of rows that writers refer to by their old places, while any row of the old file
    /// is left.
    pub(super) moved: HashMap<u32, Moved>,
    /// The files that compactions made, whose places no writer has.
    merged: HashSet<u32>,
}

/// Returns the action that removes a file. A logical file is a path *and* a vector: without the old
/// vector the file would stay.
pub(super) fn removal(
    path: Value,
    size: Value,
    vector: Option<&Value>,
    now: i64,
    data_change: bool,
) -> Value {
    let mut remove = json!({
        "path": path,
        "deletionTimestamp": now,
        "dataChange": data_change,
        "extendedFileMetadata": true,
        "partitionValues": {},
        "size": size,
    });
    if let Some(vector) = vector {
        remove["deletionVector"] = vector.clone();
    }
    json!({ "remove": remove })
}

impl File {
    /// Returns a new file, whose rows are all live.
    pub(super) fn new(entry: FileEntry) -> Self {
        let FileEntry { path, size, rows, stats, .. } = entry;
        File { path, size, rows, dead: RoaringTreemap::new(), vector: None, stats }
    }

    /// Returns the number of live rows.
    pub(super) fn live_rows(&self) -> u64 {
        u64::from(self.rows) - self.dead.len()
    }

    /// Returns the action that adds the file in its current state.
    pub(super) fn add(&self, now: i64, data_change: bool) -> Value {
        let mut stats = self.stats.clone();
        stats.insert("numRecords".into(), self.rows.into());
        stats.insert("tightBounds".into(), self.dead.is_empty().into());
        let mut add = json!({
            "path": self.path,
            "partitionValues": {},
            "size": self.size,
            "modificationTime": now,
            "dataChange": data_change,
            "stats": Value::from(stats).to_string(),
        });
        if let Some(vector) = &self.vector {
            add["deletionVector"] = vector.clone();
        }
        json!({"add": add})
    }

    /// Returns the action that removes the file.
    pub(super) fn remove(&self, now: i64, data_change: bool) -> Value {
        let (path, size) = (self.path.clone().into(), self.size.into());
        removal(path, size, self.vector.as_ref(), now, data_change)
    }

    /// Reads the file that `add` describes, with its dead rows.
    ///
    /// # Errors
    /// When it can't be parsed.
    pub(super) fn read(store: &Store, add: &Value) -> Result<Self> {
        let broken = || {
            Error::data(format!("can't parse the file {add} of {}", store.name("")))
                .hint(CHANGED)
                .advise(Advice::EarlierCommit)
        };
        let mut stats: Map<String, Value> =
            serde_json::from_str(add["stats"].as_str().unwrap_or_default())
                .map_err(|e| broken().because(e))?;
        let rows = stats
            .remove("numRecords")
            .and_then(|v| u32::try_from(v.as_u64()?).ok())
            .ok_or_else(broken)?;
        let vector = add.get("deletionVector").filter(|v| !v.is_null()).cloned();
        let dead =
            vector.as_ref().map_or(Ok(RoaringTreemap::new()), |v| vectors::load(store, v))?;
        if dead.max().is_some_and(|row| row >= u64::from(rows)) {
            return Err(broken());
        }
        let path = add["path"].as_str().ok_or_else(broken)?.to_owned();
        Ok(File { path, size: add["size"].as_u64().ok_or_else(broken)?, rows, dead, vector, stats })
    }
}

impl Files {
    /// Returns the number of live rows of the table.
    pub(super) fn rows(&self) -> u64 {
        self.files.values().map(File::live_rows).sum()
    }

    /// Returns the files as a recovery reads them.
    pub(super) fn live_files(&self) -> Vec<LiveFile> {
        let living = |(id, f): (&u32, &File)| LiveFile {
            id: *id,
            path: f.path.clone(),
            rows: f.rows,
            dead: f.dead.clone(),
        };
        self.files.iter().map(living).collect()
    }

    /// Returns true if `path` is a file of the table.
    pub(super) fn holds(&self, path: &str) -> bool {
        self.ids.contains_key(path)
    }

    /// Returns the number of the file `path`, if the table has it.
    pub(super) fn id(&self, path: &str) -> Option<u32> {
        self.ids.get(path).copied()
    }

    pub(super) fn insert(&mut self, id: u32, file: File) {
        self.ids.insert(file.path.clone(), id);
        self.files.insert(id, file);
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<File> {
        let file = self.files.remove(&id)?;
        self.ids.remove(&file.path);
        self.merged.remove(&id);
        self.moved.retain(|_, moved| moved.file != id);
        Some(file)
    }

    /// Replaces files by a new one, to which `moves` moved their rows.
    pub(super) fn merge(&mut self, id: u32, file: File, moves: Vec<(u32, Moved)>) {
        let moves: HashMap<u32, Moved> =
            moves.into_iter().filter(|(old, _)| self.files.contains_key(old)).collect();
        self.moved.retain(|_, moved| moves.get(&moved.file).is_none_or(|on| moved.follow(on)));
        for (old, moved) in moves {
            let known = moved.rows > 0 && !self.merged.contains(&old);
            self.remove(old);
            if known {
                self.moved.insert(old, moved);
            }
        }
        self.insert(id, file);
        self.merged.insert(id);
    }

    /// Applies the log's `actions`. Files of other programs are ignored in a table in append mode.
    ///
    /// # Errors
    /// When they can't be parsed.
    pub(super) fn apply(
        &mut self,
        store: &Store,
        actions: &[Value],
        mode: Mode,
        numbers: &mut FileNumbers,
    ) -> Result<()> {
        let added: BTreeSet<&str> =
            actions.iter().filter_map(|a| a["add"]["path"].as_str()).collect();
        for path in actions
            .iter()
            .filter_map(|a| a["remove"]["path"].as_str())
            .filter(|path| !added.contains(path))
        {
            if let Some(id) = self.ids.get(path) {
                self.remove(*id);
            }
        }
        let tracked = |add: &&Value| {
            mode == Mode::Snapshot || add["path"].as_str().and_then(generation).is_some()
        };
        for add in actions.iter().filter_map(|a| a.get("add")).filter(tracked) {
            let file = File::read(store, add)?;
            let id = match self.ids.get(&file.path) {
                Some(id) => *id,
                None => numbers.take()?,
            };
            self.insert(id, file);
        }
        Ok(())
    }

    /// Deletes the row at `place`, wherever it was moved since. Returns the number of its file.
    ///
    /// # Errors
    /// When the row is dead already.
    pub(super) fn delete(&mut self, place: Place) -> Result<u32> {
        let twice = || Error::internal(format!("the row at {place:?} was deleted twice"));
        let now = match self.moved.get(&place.file) {
            Some(moved) => Place { file: moved.file, row: moved.row(place.row).ok_or_else(twice)? },
            None => place,
        };
        let deleted = self
            .files
            .get_mut(&now.file)
            .is_some_and(|f| now.row < f.rows && f.dead.insert(now.row.into()));
        if deleted { Ok(now.file) } else { Err(twice()) }
    }

    /// Deletes all rows of file `id`, wherever they were moved since. Returns the number of their
    /// file.
    ///
    /// # Errors
    /// When there is no such file.
    pub(super) fn empty(&mut self, id: u32) -> Result<u32> {
        let moved = self.moved.get(&id);
        let now = moved.map_or(id, |moved| moved.file);
        let Some(file) = self.files.get_mut(&now) else {
            return Err(Error::internal(format!("file {id} was replaced twice")));
        };
        let (first, count) = moved.map_or((0, file.rows), |moved| (moved.first, moved.rows));
        file.dead.insert_range(u64::from(first)..u64::from(first + count));
        Ok(now)
    }
}

/// Returns the number of the run that wrote the file `path`, if its name has the form that writers
/// give it: three numbers.
pub(super) fn generation(path: &str) -> Option<u64> {
    let numbers: Option<Vec<u64>> = path
        .strip_prefix("part-")?
        .strip_suffix(".parquet")?
        .split('-')
        .map(|n| n.parse().ok())
        .collect();
    numbers.filter(|n| n.len() == 3).map(|n| n[0])
}
