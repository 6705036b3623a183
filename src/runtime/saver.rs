//! The saver's thread. It collects the changed rows of all workers, writes them as layers, and
//! makes snapshots of them. Commits never wait for it, unless a snapshot is part of the commit.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use super::message::Message;
use super::releases::Ranges;
use crate::durable::{self, LayerFile, Layers, Snapshot, SnapshotName};
use crate::error::{Error, ErrorKind, Result};
use crate::faults;
use crate::operators::{ChangedRows, CutId};
use crate::store::Store;
use crate::time::Epoch;

/// Rows in memory beyond this are written as a layer, also if no snapshot is due.
const LAYER_BYTES: u64 = 64 << 20;
/// A snapshot with more layers than this is merged.
const MAX_LAYERS: u64 = 8;

/// A task for the saver.
pub(super) enum Task {
    /// Take the rows that a worker has changed up to a barrier.
    Take { worker: usize, barrier: Epoch, rows: Vec<Vec<ChangedRows>> },
    /// Make a snapshot of the commit after a barrier. Its cuts and layers are added.
    Save { barrier: Epoch, snapshot: Snapshot },
    /// Delete everything but the snapshots that the last manifest names.
    Collect(Vec<SnapshotName>),
    /// End. Workers may keep their senders for ever after a failure.
    End,
}

/// Rows that a worker has changed up to a barrier.
struct Sealed {
    barrier: Epoch,
    rows: Vec<Vec<ChangedRows>>,
}

/// The owner of the layers of a run.
pub(super) struct Saver {
    store: Store,
    generation: u64,
    cuts: Vec<CutId>,
    /// The layers of the last snapshot, and those that were written since.
    layers: Vec<LayerFile>,
    /// The number of layers that this run has written.
    written: u64,
    /// The snapshots of this run that may not be named yet.
    recent: Vec<(u64, Vec<String>)>,
    /// By worker, the rows that are in no layer.
    sealed: Vec<VecDeque<Sealed>>,
    /// By worker, the last barrier up to which it has handed over its rows.
    through: Vec<Option<Epoch>>,
    /// Bytes of rows that are in no snapshot.
    unsaved: Arc<AtomicU64>,
    /// Bytes of rows in memory.
    held: u64,
    waiting: Option<(Epoch, Snapshot)>,
}

impl Saver {
    pub(super) fn new(
        store: Store,
        generation: u64,
        cuts: Vec<CutId>,
        layers: Vec<LayerFile>,
        workers: usize,
        unsaved: Arc<AtomicU64>,
    ) -> Self {
        let sealed = (0..workers).map(|_| VecDeque::new()).collect();
        let (through, waiting) = (vec![None; workers], None);
        Saver {
            store,
            generation,
            cuts,
            layers,
            written: 0,
            recent: Vec::new(),
            sealed,
            through,
            unsaved,
            held: 0,
            waiting,
        }
    }

    /// Runs tasks until it is told to end.
    pub(super) fn run(
        mut self,
        tasks: &Receiver<Task>,
        coordinator: &Sender<Message>,
        releases: &Sender<Ranges>,
    ) {
        for task in tasks {
            let result = match task {
                Task::Take { worker, barrier, rows } => self.take(worker, barrier, rows),
                Task::Save { barrier, snapshot } => {
                    self.waiting = Some((barrier, snapshot));
                    self.save()
                }
                Task::End => return,
                Task::Collect(named) => {
                    match self.collect(&named) {
                        // The thread that releases ends after this one, unless it has panicked.
                        Ok(released) => drop(released.map(|ranges| releases.send(ranges))),
                        Err(error) => tracing::warn!(
                            %error,
                            "can't delete old snapshots, it will be tried again"
                        ),
                    }
                    continue;
                }
            };
            let message = match result {
                Ok(None) => continue,
                Ok(Some(message)) => message,
                Err(error) => Message::Unsaved(self.explain(error)),
            };
            if coordinator.send(message).is_err() {
                return;
            }
        }
    }

    /// Returns the cause of an error. A newer run may have deleted layers of this one.
    fn explain(&self, error: Error) -> Error {
        let generations = self.store.list("gen").unwrap_or_default();
        let newest = generations.iter().filter_map(|(name, _)| name.parse::<u64>().ok()).max();
        if newest.is_none_or(|newest| newest <= self.generation) {
            return error;
        }
        let message = format!("another run has taken over {}", self.store.name(""));
        Error::superseded(message).hint("This run stops; its commits are kept.")
    }

    fn take(
        &mut self,
        worker: usize,
        barrier: Epoch,
        rows: Vec<Vec<ChangedRows>>,
    ) -> Result<Option<Message>> {
        let bytes = rows.iter().flatten().map(|rows| rows.size() as u64).sum::<u64>();
        self.unsaved.fetch_add(bytes, Ordering::Relaxed);
        self.held += bytes;
        self.sealed[worker].push_back(Sealed { barrier, rows });
        self.through[worker] = Some(barrier);
        if self.waiting.is_some() {
            return self.save();
        }
        if self.held >= faults::limit("layer_bytes", LAYER_BYTES)
            && let Some(complete) = self.complete()
        {
            self.write_layer(complete)?;
        }
        Ok(None)
    }

    /// Returns the last barrier up to which all workers have handed over their rows.
    fn complete(&self) -> Option<Epoch> {
        self.through.iter().copied().min().flatten()
    }

    /// Makes the snapshot that was requested, once all workers have handed over their rows.
    fn save(&mut self) -> Result<Option<Message>> {
        let complete = self.complete();
        let Some((barrier, mut snapshot)) =
            self.waiting.take_if(|(barrier, _)| complete >= Some(*barrier))
        else {
            return Ok(None);
        };
        faults::point("snapshot.begin");
        let earlier = faults::bug("mislabelled_snapshot").then(|| self.layers.clone());
        self.write_layer(barrier)?;
        faults::point("snapshot.layer");
        self.merge()?;
        snapshot.cuts.clone_from(&self.cuts);
        snapshot.layers = earlier.unwrap_or_else(|| self.layers.clone());
        let name = snapshot.write(&self.store, self.generation)?;
        faults::point("snapshot.object");
        let layers = self.layers.iter().map(|file| file.path.clone());
        self.recent.push((name.n, layers.chain([name.path.clone()]).collect()));
        self.unsaved.store(self.held, Ordering::Relaxed);
        Ok(Some(Message::Saved(name)))
    }

    /// Writes the rows up to `barrier` as a layer.
    fn write_layer(&mut self, barrier: Epoch) -> Result<()> {
        let mut taken: Vec<(usize, Sealed)> = Vec::new();
        for (worker, sealed) in self.sealed.iter_mut().enumerate() {
            while let Some(first) = sealed.pop_front_if(|sealed| sealed.barrier <= barrier) {
                taken.push((worker, first));
            }
        }
        let (workers, rows): (Vec<_>, Vec<_>) =
            taken.into_iter().map(|(n, Sealed { barrier, rows })| ((n, barrier), rows)).unzip();
        let path = self.next_path();
        match durable::write_layer(&self.store, path, &self.cuts, &rows) {
            Ok(files) => {
                self.layers.extend(files);
                let bytes = rows.iter().flatten().flatten().map(|rows| rows.size() as u64);
                self.held -= bytes.sum::<u64>();
                Ok(())
            }
            Err(error) => {
                // The next layer gets these rows.
                for ((worker, barrier), rows) in workers.into_iter().zip(rows).rev() {
                    self.sealed[worker].push_front(Sealed { barrier, rows });
                }
                Err(error)
            }
        }
    }

    fn next_path(&mut self) -> String {
        self.written += 1;
        format!("layer/{:020}-{:010}", self.generation, self.written)
    }

    /// Merges layers if there are many, or if the unmerged ones are large. So a snapshot needs
    /// little more room than its rows, and each row is rewritten a few times only.
    fn merge(&mut self) -> Result<()> {
        let base = self.layers.iter().take_while(|file| file.is_merged).count();
        let size = |files: &[LayerFile]| files.iter().map(|file| file.size).sum::<u64>();
        let (base_bytes, young_bytes) = (size(&self.layers[..base]), size(&self.layers[base..]));
        let many = (self.layers.len() - base) as u64 > faults::limit("layers", MAX_LAYERS);
        let all = if base > 0 { young_bytes > base_bytes / 2 } else { many };
        let from = match (all, many) {
            (true, _) => 0,
            (false, true) => base,
            (false, false) => return Ok(()),
        };
        let layers = Layers::open(&self.store, &self.layers[from..])?;
        let path = self.next_path();
        let merged = layers.merge(&self.store, path, &self.cuts, from == 0)?;
        faults::point("merge");
        self.layers.truncate(from);
        self.layers.extend(merged);
        Ok(())
    }

    /// Deletes objects of this run and of earlier ones that no snapshot needs. A later run may
    /// have begun; its objects have a greater generation.
    ///
    /// Returns the ranges of a snapshot that shares no layer with the youngest one: no run reads
    /// their records again, even if a layer is damaged.
    fn collect(&mut self, named: &[SnapshotName]) -> Result<Option<Ranges>> {
        let Some(youngest) = named.first() else { return Ok(None) };
        let mut released = None;
        let mut kept: BTreeSet<String> = self.layers.iter().map(|file| file.path.clone()).collect();
        self.recent.retain(|(n, _)| *n > youngest.n);
        kept.extend(self.recent.iter().flat_map(|(_, paths)| paths.iter().cloned()));
        let is_careless = faults::bug("collected_snapshot");
        if is_careless {
            kept.clear();
        }
        for name in named.iter().skip(usize::from(is_careless)) {
            kept.insert(name.path.clone());
            match Snapshot::read(&self.store, name) {
                Ok(snapshot) => {
                    kept.extend(snapshot.layers.into_iter().map(|file| file.path));
                    if name.base != youngest.base {
                        released = Some(snapshot.sources);
                    }
                }
                // The other one is kept. Without it, nothing is deleted.
                Err(error) if name == youngest => return Err(error),
                Err(error) if error.kind() == ErrorKind::Data => {
                    tracing::warn!(%error, "an old snapshot is damaged");
                }
                // It may be sound, and then its layers are needed.
                Err(error) => return Err(error),
            }
        }
        for folder in ["layer", "snap"] {
            for (object, _) in self.store.list(folder)? {
                let generation = object.split('-').next().and_then(|n| n.parse::<u64>().ok());
                let path = format!("{folder}/{object}");
                if generation.is_some_and(|n| n <= self.generation) && !kept.contains(&path) {
                    faults::point("collect");
                    self.store.delete(&path)?;
                }
            }
        }
        Ok(released)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_snapshot_that_cannot_be_read_now_keeps_its_layers() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let snapshot = |n: u64| {
            let path = format!("layer/1-{n}");
            store.put(&path, b"rows").unwrap();
            let layer = LayerFile { path, size: 4, digest: String::new(), is_merged: false };
            let (cuts, layers, sources) = (Vec::new(), vec![layer], Ranges::new());
            let (sinks, topics) = (BTreeMap::new(), BTreeMap::new());
            let snapshot = Snapshot { n, cuts, layers, sources, sinks, topics };
            snapshot.write(&store, 1).unwrap()
        };
        let named = [snapshot(2), snapshot(1)];
        let mut saver = Saver::new(store.clone(), 2, Vec::new(), Vec::new(), 1, Arc::default());
        // Reading a folder as a file is an error of the store, not of the snapshot.
        let (older, moved) = (folder.path().join(&named[1].path), folder.path().join("moved"));
        std::fs::rename(&older, &moved).unwrap();
        std::fs::create_dir(&older).unwrap();
        assert!(saver.collect(&named).is_err());
        std::fs::remove_dir(&older).unwrap();
        std::fs::rename(&moved, &older).unwrap();
        assert_eq!(saver.collect(&named).unwrap(), Some(Ranges::new()));
        assert_eq!(store.list("layer").unwrap().len(), 2);
    }
}
