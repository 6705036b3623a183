//! The committer of a table: it turns the parts of the writers into files, vectors and a version of
//! the log.

use std::any::Any;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::connect::{Committer, FoundRows, MaintenanceTask, Mode, Part, PartFile};
use crate::error::{Error, Result};

use super::changes::Changes;
use super::file::NewFile;
use super::files::File;
use super::maintenance::Maintenance;
use super::state::{TableState, put_all, refuse_external};

/// The committer of one table.
pub(super) struct DeltaCommitter {
    pub(super) table: TableState,
    pub(super) maintenance: Maintenance,
    /// The next commit removes all rows that are in the table now.
    pub(super) replaces: bool,
}

impl Committer for DeltaCommitter {
    fn replace(&mut self) -> Result<()> {
        self.replaces = true;
        Ok(())
    }

    /// Returns the list of the table's files; null in append mode, where rows are only counted.
    fn brief(&mut self) -> Result<Value> {
        if self.table.layout.schema.mode == Mode::Append {
            return Ok(Value::Null);
        }
        if self.replaces {
            return Ok(json!([]));
        }
        let encode = |e| {
            Error::internal(format!("can't list the files of {}", self.table.name())).because(e)
        };
        serde_json::to_value(self.table.files.live_files()).map_err(encode)
    }

    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        let (in_table, rows) = (self.table.files.rows(), found.rows);
        let is_compared = self.table.layout.schema.mode == Mode::Snapshot && !self.replaces;
        if !is_compared || in_table == rows {
            return Ok(());
        }
        Err(Error::data(format!(
            "{} has {in_table} rows, and {rows} were written to it",
            self.table.name()
        ))
        .hint(
            "Another program has changed the table. Restore it, or begin anew with an empty \
                 table and a new state.",
        ))
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<Value>> {
        self.maintenance.compactor.resolve(&mut self.table)?;
        let (mut new, mut changed, mut unstored) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let (mut deleted, mut replaced, mut rewrites) = (Vec::new(), Vec::new(), true);
        if std::mem::take(&mut self.replaces) {
            replaced.extend(self.table.files.files.keys().copied());
        }
        for part in parts {
            let mut changes = Changes::read(part)?;
            for entry in changes.header.files {
                if self.table.files.files.contains_key(&entry.id) {
                    let (path, name) = (entry.path, self.table.name());
                    let message = format!("two workers have made file {path} of {name}");
                    return Err(Error::internal(message));
                }
                new.insert(entry.id);
                self.table.files.insert(entry.id, File::new(entry));
            }
            unstored.append(&mut changes.unstored);
            deleted.append(&mut changes.deleted);
            replaced.append(&mut changes.header.replaced);
            rewrites &= changes.header.rewrites;
        }
        deleted.sort_unstable();
        for place in deleted {
            changed.insert(self.table.files.delete(place)?);
        }
        for id in replaced {
            changed.insert(self.table.files.empty(id)?);
        }
        let mut actions = Vec::new();
        if rewrites
            && let Some((removes, NewFile { entry, bytes })) =
                self.maintenance.compactor.copy(&mut self.table, &mut changed)?
        {
            actions = removes;
            new.insert(entry.id);
            unstored.push(PartFile { name: entry.path, bytes });
        }
        let (others, vectors) = self.table.file_actions(n, &new, &changed)?;
        actions.extend(others);
        if actions.is_empty() {
            return Ok(None);
        }
        // A new file whose rows are all deleted already is not in the table.
        unstored.retain(|file| self.table.files.holds(&file.name));
        unstored.extend(vectors);
        put_all(self.table.store(), &unstored)?;
        self.table.staged.insert(n);
        let (version, rows) = (self.table.log.version, self.table.files.rows());
        Ok(Some(json!({"version": version, "actions": actions, "rows": rows})))
    }

    fn commit(&mut self, n: u64, content: &Value) -> Result<()> {
        let earlier = self.table.log.txn < n && !self.table.staged.contains(&n);
        let rebased;
        let actions = match earlier {
            true => {
                rebased = self.table.rebase(n, content)?;
                &rebased
            }
            false => self.table.actions(n, content)?,
        };
        let (files, mode, name) =
            (&self.table.files, self.table.layout.schema.mode, self.table.name());
        self.table.log.commit(n, actions, &|version| {
            refuse_external(|path| files.holds(path), mode, version, &name)
        })?;
        if self.table.staged.remove(&n) {
            self.maintenance.begin();
        }
        Ok(())
    }

    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        self.maintenance.due_task(&mut self.table)
    }

    fn maintained(&mut self, result: Box<dyn Any + Send>) -> Result<()> {
        self.maintenance.take_result(&mut self.table, result)
    }
}
