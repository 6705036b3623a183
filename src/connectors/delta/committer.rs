//! The committer of a table: it turns the parts of the writers into files, vectors and a version of
//! the log.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use roaring::RoaringTreemap;
use serde_json::{Value, json};

use crate::connect::{Committer, FoundRows, MaintenanceTask, Mode, Part, PartFile};

use crate::error::{Error, Result};
use crate::store::Store;

use super::changes::Changes;
use super::file::NewFile;
use super::files::{File, Files};
use super::layout::{FileNumbers, Layout};
use super::log::Log;
use super::maintenance::Maintenance;
use super::vectors;

/// See the module.
pub(super) struct DeltaCommitter {
    pub(super) layout: Arc<Layout>,
    pub(super) log: Log,
    pub(super) files: Files,
    /// The numbers of files that the committer makes or finds in the table.
    pub(super) numbers: FileNumbers,
    /// Commits that are in `files` already, but not in the log.
    pub(super) staged: BTreeSet<u64>,
    /// The actions that declare vectors, until they are declared.
    pub(super) undeclared: Option<Vec<Value>>,
    pub(super) maintenance: Maintenance,
}

impl DeltaCommitter {
    pub(super) fn store(&self) -> &Store {
        &self.log.store
    }

    pub(super) fn name(&self) -> String {
        self.store().name("")
    }

    /// Returns the actions of commit `n`, by its `content`.
    pub(super) fn actions<'c>(&self, n: u64, content: &'c Value) -> Result<&'c Vec<Value>> {
        let actions = content["actions"].as_array();
        actions.ok_or_else(|| Error::data(format!("commit {n} of {} has no actions", self.name())))
    }

    /// Returns the actions for `new` and `changed` files, and the file of their vectors. Files
    /// without a living row are forgotten.
    pub(super) fn outcome(
        &mut self,
        n: u64,
        new: &BTreeSet<u32>,
        changed: &BTreeSet<u32>,
    ) -> Result<(Vec<Value>, Option<PartFile>)> {
        let (now, mut actions) = ((self.log.now)(), Vec::new());
        let touched: Vec<u32> = changed.union(new).copied().collect();
        for id in &touched {
            let Some(file) = self.files.files.get(id) else { continue };
            if !new.contains(id) {
                actions.push(file.remove(now, true));
            }
            if file.living() == 0 {
                self.files.remove(*id);
            }
        }
        let vectors = self.vectors(n, &touched)?;
        if vectors.is_some() {
            actions.splice(0..0, self.undeclared.take().into_iter().flatten());
        }
        actions.extend(
            touched.iter().filter_map(|id| self.files.files.get(id)).map(|f| f.add(now, true)),
        );
        Ok((actions, vectors))
    }

    /// Writes the vectors of `changed` files, to one file, and returns it; each file then knows
    /// where its vector is.
    fn vectors(&mut self, n: u64, changed: &[u32]) -> Result<Option<PartFile>> {
        let with: Vec<u32> = changed
            .iter()
            .copied()
            .filter(|id| self.files.files.get(id).is_some_and(|f| !f.dead.is_empty()))
            .collect();
        if with.is_empty() {
            return Ok(None);
        }
        let id = vectors::id(self.layout.generation, n);
        let dead: Vec<&RoaringTreemap> =
            with.iter().filter_map(|id| self.files.files.get(id).map(|f| &f.dead)).collect();
        let (bytes, descriptors) = vectors::encode(&dead, id)?;
        for (id, descriptor) in with.iter().zip(descriptors) {
            if let Some(file) = self.files.files.get_mut(id) {
                file.vector = Some(descriptor);
            }
        }
        Ok(Some(PartFile { name: vectors::name(id), bytes }))
    }
}

impl Committer for DeltaCommitter {
    /// The brief is the list of the table's files; null in append mode, where rows are only counted.
    fn brief(&mut self) -> Result<Value> {
        if self.layout.schema.mode == Mode::Append {
            return Ok(Value::Null);
        }
        let encode =
            |e| Error::internal(format!("can't list the files of {}", self.name())).because(e);
        serde_json::to_value(self.files.living()).map_err(encode)
    }

    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        let (held, rows) = (self.files.rows(), found.rows);
        if self.layout.schema.mode == Mode::Append || held == rows {
            return Ok(());
        }
        Err(Error::data(format!("{} has {held} rows, and {rows} were written to it", self.name()))
            .hint(
                "Something else has changed the table. Restore it, or start again with an empty \
                 table and a new state.",
            ))
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<Value>> {
        self.resolve()?;
        let (mut new, mut changed, mut unstored) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let (mut deleted, mut replaced, mut rewrites) = (Vec::new(), Vec::new(), true);
        for part in parts {
            let mut changes = Changes::read(part)?;
            for entry in changes.header.files {
                new.insert(entry.id);
                self.files.insert(entry.id, File::new(entry));
            }
            unstored.append(&mut changes.unstored);
            deleted.append(&mut changes.deleted);
            replaced.append(&mut changes.header.replaced);
            rewrites &= changes.header.rewrites;
        }
        deleted.sort_unstable();
        for place in deleted {
            changed.insert(self.files.delete(place)?);
        }
        for id in replaced {
            changed.insert(self.files.empty(id)?);
        }
        let mut actions = Vec::new();
        if rewrites && let Some((removes, NewFile { entry, bytes })) = self.copy(&mut changed)? {
            actions = removes;
            new.insert(entry.id);
            unstored.push(PartFile { name: entry.path, bytes });
        }
        let (others, vectors) = self.outcome(n, &new, &changed)?;
        actions.extend(others);
        if actions.is_empty() {
            return Ok(None);
        }
        // A file whose rows are all deleted by now is not in the table.
        unstored.retain(|file| self.files.holds(&file.name));
        unstored.extend(vectors);
        put_all(self.store(), &unstored)?;
        self.staged.insert(n);
        Ok(Some(
            json!({"version": self.log.version, "actions": actions, "rows": self.files.rows()}),
        ))
    }

    fn commit(&mut self, n: u64, content: &Value) -> Result<()> {
        let earlier = self.log.txn < n && !self.staged.contains(&n);
        let fitted;
        let actions = match earlier {
            true => {
                fitted = self.fit(n, content)?;
                &fitted
            }
            false => self.actions(n, content)?,
        };
        let (files, mode, name) = (&self.files, self.layout.schema.mode, self.name());
        self.log.commit(n, actions, &|version| {
            refuse_external(|path| files.holds(path), mode, version, &name)
        })?;
        if self.staged.remove(&n) {
            self.maintenance.begin();
        }
        Ok(())
    }

    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        self.due_task()
    }

    fn maintained(&mut self, result: Box<dyn Any + Send>) -> Result<()> {
        self.take_over_result(result)
    }
}

/// Refuses a version of another program if it is more than added rows in a table that is appended
/// to. `holds` returns true for the paths of the table's files.
pub(super) fn refuse_external(
    holds: impl Fn(&str) -> bool,
    mode: Mode,
    version: &[Value],
    name: &str,
) -> Result<()> {
    let what = version.iter().find_map(|action| {
        let held = |kind: &str| action[kind]["path"].as_str().is_some_and(&holds);
        match action {
            _ if action.get("metaData").is_some() || action.get("protocol").is_some() => {
                Some("changed what the table is")
            }
            _ if held("remove") || held("add") => Some("taken rows away from the table"),
            _ if mode == Mode::Snapshot
                && (action.get("add").is_some() || action.get("remove").is_some()) =>
            {
                Some("changed the rows of the table")
            }
            _ => None,
        }
    });
    match what {
        None => Ok(()),
        Some(what) => Err(Error::data(format!("something else has {what} {name}"))
            .hint("This table is written by one program. Stop the other one, restore the table and start again.")),
    }
}

/// Stores files side by side.
pub(super) fn put_all(store: &Store, files: &[PartFile]) -> Result<()> {
    let each = files.iter().map(|file| (file.name.as_str(), &file.bytes[..]));
    store.put_all(&each.collect::<Vec<_>>())
}
