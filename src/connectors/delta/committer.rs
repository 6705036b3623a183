//! The one that makes the commits of a table: it turns what the writers hand over into files,
//! vectors and a version of the log.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use roaring::RoaringTreemap;
use serde_json::{Value, json};

use crate::connect::{Chore, Committer, Mode};

use crate::error::{Error, Result};
use crate::store::Store;

use super::file::NewFile;
use super::files::{File, Files};
use super::index::Index;
use super::log::Log;
use super::vectors;
use super::writer::{Layout, Part};

/// See the module.
pub(super) struct DeltaCommitter {
    pub(super) layout: Arc<Layout>,
    pub(super) log: Log,
    pub(super) files: Files,
    /// Until the rows are found again.
    pub(super) index: Option<Arc<Index>>,
    /// Commits that `files` shows already, but the log does not.
    pub(super) staged: BTreeSet<u64>,
    /// The actions that declare vectors, until they are declared.
    pub(super) undeclared: Option<Vec<Value>>,
    pub(super) upkeep: super::upkeep::Upkeep,
}

impl DeltaCommitter {
    pub(super) fn store(&self) -> &Store {
        &self.log.store
    }

    pub(super) fn name(&self) -> String {
        self.store().name("")
    }

    /// Lets the writers find their rows in what the table consists of now.
    pub(super) fn show(&self) {
        if let Some(index) = &self.index {
            index.set(self.files.living());
        }
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
    ) -> Result<(Vec<Value>, Option<(String, Vec<u8>)>)> {
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
    fn vectors(&mut self, n: u64, changed: &[u32]) -> Result<Option<(String, Vec<u8>)>> {
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
        Ok(Some((vectors::name(id), bytes)))
    }
}

impl Committer for DeltaCommitter {
    fn recovered(&mut self, rows: u64) -> Result<()> {
        self.index = None;
        let there = self.files.rows();
        if self.layout.schema.mode == Mode::Append || there == rows {
            return Ok(());
        }
        Err(Error::data(format!("{} has {there} rows, and {rows} were written to it", self.name()))
            .hint("Something else has changed the table. Restore it, or start again with an empty table and a new state."))
    }

    fn stage(&mut self, n: u64, parts: Vec<Box<dyn Any + Send>>) -> Result<Option<Value>> {
        self.settle()?;
        let (mut new, mut changed, mut bodies) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let (mut kills, mut replaces, mut small) = (Vec::new(), Vec::new(), true);
        for part in parts {
            let part = part
                .downcast::<Part>()
                .map_err(|_| Error::internal("a part is not of a table's writer"))?;
            for file in part.files {
                let (path, size, rows, stats) =
                    (file.path.clone(), file.size, file.rows, file.stats);
                self.files.insert(
                    file.id,
                    File { path, size, rows, dead: RoaringTreemap::new(), vector: None, stats },
                );
                new.insert(file.id);
                bodies.push((file.id, file.path, file.bytes));
            }
            kills.extend(part.kills);
            replaces.extend(part.replaces);
            small &= part.small;
        }
        kills.sort_unstable();
        for place in kills {
            changed.insert(self.files.kill(place)?);
        }
        for id in replaces {
            changed.insert(self.files.empty(id)?);
        }
        let mut actions = Vec::new();
        if small
            && let Some((removes, NewFile { id, path, bytes, .. })) = self.copy(&mut changed)?
        {
            actions = removes;
            new.insert(id);
            bodies.push((id, path, bytes));
        }
        let (others, vectors) = self.outcome(n, &new, &changed)?;
        actions.extend(others);
        if actions.is_empty() {
            return Ok(None);
        }
        let files = bodies
            .into_iter()
            .filter(|(id, ..)| self.files.files.contains_key(id))
            .map(|(_, path, bytes)| (path, bytes));
        put_all(self.store(), &files.chain(vectors).collect::<Vec<_>>())?;
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
            foreign(|path| files.holds(path), mode, version, &name)
        })?;
        if self.staged.remove(&n) {
            self.upkeep.begin();
        } else if earlier {
            self.show();
        }
        Ok(())
    }

    fn maintain(&mut self) -> Result<Option<Chore>> {
        self.due()
    }

    fn maintained(&mut self, done: Box<dyn Any + Send>) -> Result<()> {
        self.done(done)
    }
}

/// Judges a version that something else has committed to a table with the files that `holds` knows:
/// rows may be added to a table that is appended to, and nothing more.
pub(super) fn foreign(
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

/// Writes files that don't depend on each other side by side: each is synced, and that is nearly
/// all of the time it takes.
///
/// The threads end within the call, so nothing outlives a commit. After a failure none of the files
/// is left: nobody knows of them yet, and a full disk has no room for them.
pub(super) fn put_all(store: &Store, files: &[(String, Vec<u8>)]) -> Result<()> {
    std::thread::scope(|scope| {
        let put = |(path, bytes): &(String, Vec<u8>)| store.put(path, bytes);
        let Some((first, rest)) = files.split_first() else { return Ok(()) };
        let start = |file| std::thread::Builder::new().spawn_scoped(scope, move || put(file));
        let threads: Vec<_> = rest.iter().map(start).collect();
        let mut result = put(first);
        for thread in threads {
            let thread = thread.map_err(|e| Error::no_thread("a thread that writes a file", e));
            let put = thread.and_then(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(Error::internal("a thread that writes a file has panicked"))
                })
            });
            result = result.and(put);
        }
        if result.is_err() {
            files.iter().for_each(|(path, _)| drop(store.delete(path)));
        }
        result
    })
}
