//! Commits in a table that is no longer as it was when they were staged.
//!
//! A commit names files, and rows in them. It may be shown by a later run than the one that staged
//! it. If rows were moved in between, it is said anew for the files that have them now. If it does
//! not fit the table, it is refused before anything is visible.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::error::{Advice, Error, Result};
use crate::store::Store;

use super::committer::{DeltaCommitter, put_all};
use super::files::{File, Files, Moved};
use super::index::Place;
use super::layout::FileNumbers;
use super::{log, protocol, snapshot, vectors};

/// Says for the log where the rows of the file `path` went, whose dead rows were listed by `vector`
/// when they did.
pub(super) fn tell(path: &str, vector: Option<Value>, moved: &Moved) -> Value {
    json!({"path": path, "vector": vector, "first": moved.first, "rows": moved.rows})
}

/// The file that rows were moved to, and what came from each of the files where they were.
struct Move {
    to: String,
    from: BTreeMap<String, Moved>,
}

impl Move {
    /// Reads what [`tell`] has said in the version `actions`; `None` if it says nothing of the
    /// kind.
    fn read(store: &Store, actions: &[Value]) -> Result<Option<Self>> {
        let to = actions.iter().find_map(|action| action["add"]["path"].as_str());
        let (Some(to), Some(told)) = (to, log::moves(actions)) else { return Ok(None) };
        let mut from = BTreeMap::new();
        for file in &told {
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

/// The vector of a file, as far as it says where that is.
fn vector(of: Option<&Value>) -> Option<[&Value; 3]> {
    let of = of.filter(|vector| !vector.is_null())?;
    Some([&of["storageType"], &of["pathOrInlineDv"], &of["offset"]])
}

impl DeltaCommitter {
    /// Returns the actions that make commit `n` of an earlier run in the table as it is now. The
    /// files are then as if it were made.
    ///
    /// # Errors
    /// When it does not fit the table.
    pub(super) fn fit(&mut self, n: u64, content: &Value) -> Result<Vec<Value>> {
        let actions = self.actions(n, content)?;
        let Some(staged) = content["version"].as_u64() else {
            return Err(self.unfit(n, "does not say for which version of the table it was staged"));
        };
        if staged > self.log.version {
            return Err(self.unfit(
                n,
                &format!(
                    "was staged for version {staged}, and the last one is {}",
                    self.log.version
                ),
            ));
        }
        let moves = self.moves(n, staged)?;
        let actions = if moves.is_empty() {
            self.as_it_is(n, actions)?
        } else {
            self.translate(n, staged, actions, &moves)?
        };
        match content["rows"].as_u64() {
            Some(rows) if rows == self.files.rows() => Ok(actions),
            rows => {
                let rows = rows.map_or_else(|| "no number of".into(), |rows| rows.to_string());
                Err(self.unfit(
                    n,
                    &format!(
                        "makes {} rows of it, and was recorded with {rows} rows",
                        self.files.rows()
                    ),
                ))
            }
        }
    }

    fn unfit(&self, n: u64, why: &str) -> Error {
        Error::data(format!("commit {n} does not fit the table {}: it {why}", self.name()))
            .hint("Restore the table and its state together, or begin anew.")
            .advise(Advice::BeginAnew)
    }

    /// The moves of rows since version `staged`.
    fn moves(&self, n: u64, staged: u64) -> Result<Vec<Move>> {
        let mut moves = Vec::new();
        for version in staged + 1..=self.log.version {
            let Some(actions) = log::read(self.store(), version)? else {
                return Err(self.unfit(
                    n,
                    &format!("was staged for version {staged}, and version {version} is gone"),
                ));
            };
            if let Some(other) = log::commit(&actions, &self.log.app) {
                return Err(self.unfit(
                    n,
                    &format!("was staged for version {staged}, and commit {other} was made since"),
                ));
            }
            if log::own(&actions, &self.log.app) && log::moves_rows(&actions) {
                let unknown = || {
                    self.unfit(
                        n,
                        &format!("can't be found in what version {version} has made of its rows"),
                    )
                };
                moves.push(Move::read(self.store(), &actions)?.ok_or_else(unknown)?);
            }
        }
        Ok(moves)
    }

    /// Takes the `actions` as they are, if every file that they name is in the table as they name
    /// it.
    fn as_it_is(&mut self, n: u64, actions: &[Value]) -> Result<Vec<Value>> {
        let mut removed = BTreeSet::new();
        for remove in actions.iter().filter_map(|action| action.get("remove")) {
            let path = self.removed(n, &self.files, remove)?.path.clone();
            if !removed.insert(path) {
                return Err(self.unfit(n, &format!("takes {} away twice", remove["path"])));
            }
        }
        for add in actions.iter().filter_map(|action| action.get("add")) {
            let path = add["path"].as_str().unwrap_or_default();
            if self.files.holds(path) && !removed.contains(path) {
                return Err(self.unfit(n, &format!("adds {path}, which is there")));
            }
            self.there(n, path)?;
        }
        self.files.apply(&self.log.store, actions, self.layout.schema.mode, &mut self.numbers)?;
        if protocol::declares(actions) {
            self.undeclared = None;
        }
        // A file is kept for a week from when it was removed, which is now.
        let (now, mut actions) = ((self.log.now)(), actions.to_vec());
        let times = actions
            .iter_mut()
            .filter_map(|action| action.get_mut("remove")?.get_mut("deletionTimestamp"));
        times.for_each(|time| *time = now.into());
        Ok(actions)
    }

    /// The file of `files` that is to be taken away, with its vector.
    fn removed<'f>(&self, n: u64, files: &'f Files, remove: &Value) -> Result<&'f File> {
        let path = remove["path"].as_str().unwrap_or_default();
        let file = files.id(path).and_then(|id| files.files.get(&id));
        let file = file
            .filter(|file| vector(file.vector.as_ref()) == vector(remove.get("deletionVector")));
        file.ok_or_else(|| {
            self.unfit(n, &format!("takes {path} away, which is not there as it was"))
        })
    }

    /// Refuses a file that is to be added, and is gone.
    fn there(&self, n: u64, path: &str) -> Result<()> {
        match self.store().get_range(path, 0..1)? {
            Some(_) => Ok(()),
            None => Err(self.unfit(n, &format!("adds {path}, which is gone"))),
        }
    }

    /// Says `actions` anew, which were staged for version `staged`, for the files that have the
    /// rows after the `moves`.
    fn translate(
        &mut self,
        n: u64,
        staged: u64,
        actions: &[Value],
        moves: &[Move],
    ) -> Result<Vec<Value>> {
        let (mode, mut then) = (self.layout.schema.mode, Files::default());
        let before = snapshot::load(self.store(), Some(staged), None)?.files;
        then.apply(&self.log.store, &before, mode, &mut FileNumbers::of(0, 0))?;
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
                    self.there(n, path)?;
                    new.push(action.clone());
                }
                // It says what the table is, which may have been said since.
                None if self.undeclared.is_some() => new.push(action.clone()),
                None => {}
            }
        }
        if protocol::declares(&new) {
            self.undeclared = None;
        }
        let mut changed = BTreeSet::new();
        for remove in removes {
            let file = self.removed(n, &then, remove)?;
            let dead = kept.get(file.path.as_str());
            let died = (0..file.rows).filter(|row| !file.dead.contains((*row).into()));
            for row in died.filter(|row| dead.is_none_or(|dead| dead.contains((*row).into()))) {
                let place = follow(&file.path, row, moves)
                    .and_then(|(path, row)| Some(Place { file: self.files.id(path)?, row }));
                let deleted = place.and_then(|place| self.files.delete(place).ok());
                let lost = || {
                    self.unfit(n, &format!("takes row {row} of {} away, which is gone", file.path))
                };
                changed.insert(deleted.ok_or_else(lost)?);
            }
        }
        let (mut actions, vectors) = self.outcome(n, &BTreeSet::new(), &changed)?;
        put_all(self.store(), &Vec::from_iter(vectors))?;
        self.files.apply(&self.log.store, &new, mode, &mut self.numbers)?;
        actions.extend(new);
        Ok(actions)
    }
}

/// Returns the file and number that row `row` of the file `path` has after the `moves`; `None` if
/// it was dead.
fn follow<'m>(mut path: &'m str, mut row: u32, moves: &'m [Move]) -> Option<(&'m str, u32)> {
    for step in moves {
        if let Some(moved) = step.from.get(path) {
            (path, row) = (&step.to, moved.row(row)?);
        }
    }
    Some((path, row))
}
