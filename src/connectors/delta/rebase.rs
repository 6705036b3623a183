//! Rebasing of staged commits: a commit names files, and rows in them, of an earlier version of the
//! table.
//!
//! A later run than the one that staged a commit may make it visible. If rows were moved in
//! between, the commit is rewritten for the files that have them now. If it does not fit the table,
//! it is refused before anything is visible.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::error::{Advice, Error, Result};
use crate::store::Store;

use super::files::{File, Files, Moved};
use super::index::Place;
use super::layout::FileNumbers;
use super::state::{TableState, put_all};
use super::{log, protocol, snapshot, vectors};

/// Returns the record in the log of a move of the rows of file `path`. `vector` is the file's
/// deletion vector before the move.
pub(super) fn record(path: &str, vector: Option<Value>, moved: &Moved) -> Value {
    json!({"path": path, "vector": vector, "first": moved.first, "rows": moved.rows})
}

/// A compaction in the log: the new file, and the moves from each old file.
struct Move {
    to: String,
    from: BTreeMap<String, Moved>,
}

impl Move {
    /// Reads the moves that [`record`] made from the version `actions`; `None` if it has none.
    fn read(store: &Store, actions: &[Value]) -> Result<Option<Self>> {
        let to = actions.iter().find_map(|action| action["add"]["path"].as_str());
        let (Some(to), Some(recorded)) = (to, log::moves(actions)) else { return Ok(None) };
        let mut from = BTreeMap::new();
        for file in &recorded {
            let number = |name: &str| file[name].as_u64().and_then(|n| u32::try_from(n).ok());
            let (Some(path), Some(first), Some(rows)) =
                (file["path"].as_str(), number("first"), number("rows"))
            else {
                return Ok(None);
            };
            let dead = if file["vector"].is_null() {
                Default::default()
            } else {
                vectors::load(store, &file["vector"])?
            };
            from.insert(path.to_owned(), Moved { file: 0, first, dead, rows });
        }
        Ok(Some(Move { to: to.to_owned(), from }))
    }
}

/// Returns the fields of a vector's descriptor that identify it.
fn vector(of: Option<&Value>) -> Option<[&Value; 3]> {
    let of = of.filter(|vector| !vector.is_null())?;
    Some([&of["storageType"], &of["pathOrInlineDv"], &of["offset"]])
}

impl TableState {
    /// Returns the actions that make commit `n` of an earlier run in the present table, and applies
    /// them to the files.
    ///
    /// # Errors
    /// When the commit does not fit the table.
    pub(super) fn rebase(&mut self, n: u64, content: &Value) -> Result<Vec<Value>> {
        let actions = self.actions(n, content)?;
        let Some(staged) = content["version"].as_u64() else {
            return Err(
                self.misfit(n, "does not record the version of the table for which it was staged")
            );
        };
        if staged > self.log.version {
            return Err(self.misfit(
                n,
                &format!(
                    "was staged for version {staged}, and the last one is {}",
                    self.log.version
                ),
            ));
        }
        let moves = self.moves(n, staged)?;
        let actions = if moves.is_empty() {
            self.keep(n, actions)?
        } else {
            self.translate(n, staged, actions, &moves)?
        };
        match content["rows"].as_u64() {
            Some(rows) if rows == self.files.rows() => Ok(actions),
            rows => {
                let rows = rows.map_or_else(|| "no number of".into(), |rows| rows.to_string());
                Err(self.misfit(
                    n,
                    &format!(
                        "makes {} rows of it, and was recorded with {rows} rows",
                        self.files.rows()
                    ),
                ))
            }
        }
    }

    fn misfit(&self, n: u64, why: &str) -> Error {
        Error::data(format!("commit {n} does not fit the table {}: it {why}", self.name()))
            .hint("Restore the table and its state together, or begin anew.")
            .advise(Advice::BeginAnew)
    }

    /// Reads the moves of rows since version `staged`.
    fn moves(&self, n: u64, staged: u64) -> Result<Vec<Move>> {
        let mut moves = Vec::new();
        for version in staged + 1..=self.log.version {
            let Some(actions) = log::read(self.store(), version)? else {
                return Err(self.misfit(
                    n,
                    &format!("was staged for version {staged}, and version {version} is gone"),
                ));
            };
            if let Some(other) = log::commit(&actions, &self.log.app) {
                return Err(self.misfit(
                    n,
                    &format!("was staged for version {staged}, and commit {other} was made since"),
                ));
            }
            if log::own(&actions, &self.log.app) && log::moves_rows(&actions) {
                let unknown = || {
                    self.misfit(
                        n,
                        &format!("has rows that version {version} has moved without a record"),
                    )
                };
                moves.push(Move::read(self.store(), &actions)?.ok_or_else(unknown)?);
            }
        }
        Ok(moves)
    }

    /// Returns the `actions` unchanged but for their times, if the table has every file as they
    /// name it.
    fn keep(&mut self, n: u64, actions: &[Value]) -> Result<Vec<Value>> {
        let mut removed = BTreeSet::new();
        for remove in actions.iter().filter_map(|action| action.get("remove")) {
            let path = self.find_removed(n, &self.files, remove)?.path.clone();
            if !removed.insert(path) {
                return Err(self.misfit(n, &format!("removes {} twice", remove["path"])));
            }
        }
        for add in actions.iter().filter_map(|action| action.get("add")) {
            let path = add["path"].as_str().unwrap_or_default();
            if self.files.holds(path) && !removed.contains(path) {
                return Err(self.misfit(n, &format!("adds {path}, which exists already")));
            }
            self.check_exists(n, path)?;
        }
        self.files.apply(&self.log.store, actions, self.layout.schema.mode, &mut self.numbers)?;
        if protocol::declares(actions) {
            self.undeclared = None;
        }
        // A removed file is kept for a week from its removal, which is now.
        let (now, mut actions) = ((self.log.now)(), actions.to_vec());
        let times = actions
            .iter_mut()
            .filter_map(|action| action.get_mut("remove")?.get_mut("deletionTimestamp"));
        times.for_each(|time| *time = now.into());
        Ok(actions)
    }

    /// Returns the file of `files` that `remove` names, with its vector.
    fn find_removed<'f>(&self, n: u64, files: &'f Files, remove: &Value) -> Result<&'f File> {
        let path = remove["path"].as_str().unwrap_or_default();
        let file = files.id(path).and_then(|id| files.files.get(&id));
        let file = file
            .filter(|file| vector(file.vector.as_ref()) == vector(remove.get("deletionVector")));
        file.ok_or_else(|| self.misfit(n, &format!("removes {path}, which is not as it was")))
    }

    /// Fails if a file that is to be added does not exist.
    fn check_exists(&self, n: u64, path: &str) -> Result<()> {
        match self.store().get_range(path, 0..1)? {
            Some(_) => Ok(()),
            None => Err(self.misfit(n, &format!("adds {path}, which is gone"))),
        }
    }

    /// Rewrites `actions`, which were staged for version `staged`, for the files that have the rows
    /// after the `moves`.
    fn translate(
        &mut self,
        n: u64,
        staged: u64,
        actions: &[Value],
        moves: &[Move],
    ) -> Result<Vec<Value>> {
        let (mode, mut staged_files) = (self.layout.schema.mode, Files::default());
        let before = snapshot::load(self.store(), Some(staged), None)?.files;
        staged_files.apply(&self.log.store, &before, mode, &mut FileNumbers::of(0, 0))?;
        let mut kept = BTreeMap::new();
        let mut new = Vec::new();
        let removes: Vec<&Value> =
            actions.iter().filter_map(|action| action.get("remove")).collect();
        for action in actions.iter().filter(|action| action.get("remove").is_none()) {
            match action["add"]["path"].as_str() {
                Some(path) if removes.iter().any(|remove| remove["path"] == path) => {
                    kept.insert(path, File::read(self.store(), &action["add"])?.dead);
                }
                Some(path) => {
                    self.check_exists(n, path)?;
                    new.push(action.clone());
                }
                // It changes protocol or metadata, as another version may have done since.
                None if self.undeclared.is_some() => new.push(action.clone()),
                None => {}
            }
        }
        if protocol::declares(&new) {
            self.undeclared = None;
        }
        let mut changed = BTreeSet::new();
        for remove in removes {
            let file = self.find_removed(n, &staged_files, remove)?;
            let dead = kept.get(file.path.as_str());
            let died = (0..file.rows).filter(|row| !file.dead.contains((*row).into()));
            for row in died.filter(|row| dead.is_none_or(|dead| dead.contains((*row).into()))) {
                let place = follow(&file.path, row, moves)
                    .and_then(|(path, row)| Some(Place { file: self.files.id(path)?, row }));
                let deleted = place.and_then(|place| self.files.delete(place).ok());
                let gone = || {
                    self.misfit(n, &format!("removes row {row} of {}, which is gone", file.path))
                };
                changed.insert(deleted.ok_or_else(gone)?);
            }
        }
        let (mut actions, vectors) = self.file_actions(n, &BTreeSet::new(), &changed)?;
        put_all(self.store(), &Vec::from_iter(vectors))?;
        self.files.apply(&self.log.store, &new, mode, &mut self.numbers)?;
        actions.extend(new);
        Ok(actions)
    }
}

/// Returns the file and the number of row `row` of the file `path` after the `moves`; `None` if it
/// was dead.
fn follow<'m>(mut path: &'m str, mut row: u32, moves: &'m [Move]) -> Option<(&'m str, u32)> {
    for step in moves {
        if let Some(moved) = step.from.get(path) {
            (path, row) = (&step.to, moved.row(row)?);
        }
    }
    Some((path, row))
}
