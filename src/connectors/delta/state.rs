//! A table as its committer holds it: the log, the files, and the actions that change them.

use std::collections::BTreeSet;
use std::sync::Arc;

use roaring::RoaringTreemap;
use serde_json::Value;

use crate::connect::{Mode, PartFile};
use crate::error::{Error, Result};
use crate::store::Store;

use super::files::Files;
use super::layout::{FileNumbers, Layout};
use super::log::Log;
use super::vectors;

/// The state of a table that commits and maintenance share.
pub(super) struct TableState {
    pub(super) layout: Arc<Layout>,
    pub(super) log: Log,
    pub(super) files: Files,
    /// The numbers of files that the committer makes or finds in the table.
    pub(super) numbers: FileNumbers,
    /// The commits whose changes are in `files`, but not yet in the log.
    pub(super) staged: BTreeSet<u64>,
    /// The actions that declare deletion vectors; `None` once they are declared.
    pub(super) undeclared: Option<Vec<Value>>,
}

impl TableState {
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
    /// without a live row are removed.
    pub(super) fn file_actions(
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
            if file.live_rows() == 0 {
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

    /// Encodes the vectors of `changed` files as one file, and records in each file the place of
    /// its vector.
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
        Ok(Some(PartFile { name: vectors::name(id), bytes: bytes.into() }))
    }
}

/// Fails for a version of another program, unless it only adds rows to a table in append mode.
/// `holds` returns true for the paths of the table's files.
pub(super) fn refuse_external(
    holds: impl Fn(&str) -> bool,
    mode: Mode,
    version: &[Value],
    name: &str,
) -> Result<()> {
    let change = version.iter().find_map(|action| {
        let is_held = |kind: &str| action[kind]["path"].as_str().is_some_and(&holds);
        match action {
            _ if action.get("metaData").is_some() || action.get("protocol").is_some() => {
                Some("changed the metadata of the table")
            }
            _ if is_held("remove") || is_held("add") => Some("removed rows from the table"),
            _ if mode == Mode::Snapshot
                && (action.get("add").is_some() || action.get("remove").is_some()) =>
            {
                Some("changed the rows of the table")
            }
            _ => None,
        }
    });
    match change {
        None => Ok(()),
        Some(change) => Err(Error::data(format!("another program has {change} {name}")).hint(
            "This table is written by one program. Stop the other one, restore the table and \
                start again.",
        )),
    }
}

/// Stores files concurrently.
pub(super) fn put_all(store: &Store, files: &[PartFile]) -> Result<()> {
    let each = files.iter().map(|file| (file.name.as_str(), file.bytes.iter().collect()));
    store.put_all(&each.collect::<Vec<_>>())
}
