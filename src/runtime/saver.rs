//! The saver's thread. It collects the changed rows of all workers, writes them as layers, and
//! makes snapshots of them. Commits never wait for it, unless a snapshot is part of the commit.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::message::Message;
use super::releases::Ranges;
use crate::durable::{self, Fence, LayerFile, Layers, Snapshot, SnapshotName};
use crate::error::{ErrorKind, Result};
use crate::faults;
use crate::operators::{ChangedRows, CutId};
use crate::sync::{Receiver, Sender};
use crate::time::Epoch;

/// Rows in memory beyond this are written as a layer, also if no snapshot is due.
const LAYER_BYTES: u64 = 32 << 20;
/// A snapshot with more layers than this is merged.
const MAX_LAYERS: u64 = 8;

/// A task for the saver.
pub(super) enum Task {
    /// Take the rows that a worker has changed up to an epoch, which may be a barrier.
    Take { worker: usize, through: Epoch, is_barrier: bool, rows: ChangedRows },
    /// Make a snapshot of the commit after a barrier. Its cuts and layers are added.
    Save { barrier: Epoch, snapshot: Snapshot },
    /// Delete everything but the snapshots that the last manifest names.
    Collect(Vec<SnapshotName>),
    /// End. Workers may keep their senders for ever after a failure.
    End,
}

/// Rows that a worker has changed up to an epoch.
struct Sealed {
    through: Epoch,
    rows: ChangedRows,
}

/// A layer whose rows were changed up to an epoch.
struct SavedLayer {
    through: Epoch,
    /// Bytes of its rows in memory.
    bytes: u64,
    file: LayerFile,
}

impl SavedLayer {
    fn merged(through: Epoch, file: LayerFile) -> Self {
        SavedLayer { through, bytes: 0, file }
    }
}

/// The owner of the layers of a run.
pub(super) struct Saver {
    /// The state and the generation of the run.
    fence: Fence,
    cuts: Vec<CutId>,
    /// The layers of the last snapshot, and those that were written since.
    layers: Vec<SavedLayer>,
    /// The number of layers that this run has written.
    written: u64,
    /// The snapshots of this run that may not be named yet.
    recent: Vec<(u64, Vec<String>)>,
    /// By worker, the rows that are in no layer.
    sealed: Vec<VecDeque<Sealed>>,
    /// By worker, the last barrier up to which it has handed over its rows.
    through: Vec<Option<Epoch>>,
    /// Barriers that some workers have reached, and others have not.
    barriers: BTreeSet<Epoch>,
    /// Bytes of rows that are in no snapshot.
    unsaved: Arc<AtomicU64>,
    /// Bytes of rows in memory.
    held: u64,
    waiting: Option<(Epoch, Snapshot)>,
}

impl Saver {
    pub(super) fn new(
        fence: Fence,
        cuts: Vec<CutId>,
        layers: Vec<LayerFile>,
        workers: usize,
        unsaved: Arc<AtomicU64>,
    ) -> Self {
        let sealed = (0..workers).map(|_| VecDeque::new()).collect();
        let layers = layers.into_iter().map(|file| SavedLayer::merged(0, file)).collect();
        Saver {
            fence,
            cuts,
            layers,
            written: 0,
            recent: Vec::new(),
            sealed,
            through: vec![None; workers],
            barriers: BTreeSet::new(),
            unsaved,
            held: 0,
            waiting: None,
        }
    }

    /// Runs tasks until it is told to end.
    pub(super) fn run(
        mut self,
        tasks: &Receiver<Task>,
        coordinator: &Sender<Message>,
        releases: &Sender<Ranges>,
    ) {
        for task in tasks.iter() {
            let result = match task {
                Task::Take { worker, through, is_barrier, rows } => {
                    self.take(worker, Sealed { through, rows }, is_barrier)
                }
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
                Err(error) => Message::Unsaved(self.fence.explain(error)),
            };
            if coordinator.send(message).is_err() {
                return;
            }
        }
    }

    fn take(&mut self, worker: usize, sealed: Sealed, is_barrier: bool) -> Result<Option<Message>> {
        let (bytes, through) = (sealed.rows.size() as u64, sealed.through);
        self.unsaved.fetch_add(bytes, Ordering::Relaxed);
        self.held += bytes;
        self.sealed[worker].push_back(sealed);
        if is_barrier {
            self.through[worker] = Some(through);
            self.barriers.insert(through);
            let complete = self.complete();
            self.barriers.retain(|barrier| Some(*barrier) > complete);
            if self.waiting.is_some() {
                return self.save();
            }
        }
        let most = faults::limit("layer_bytes", LAYER_BYTES);
        if self.held >= most {
            if let Some(complete) = self.complete() {
                self.write_layer(complete)?;
            }
            // Rows before and after a barrier are in different layers: a snapshot may need only
            // the earlier ones.
            let last = self.barriers.first().copied().unwrap_or(Epoch::MAX);
            if self.held >= most {
                self.write_layer(last)?;
            }
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
        let files = |layers: &[SavedLayer]| -> Vec<LayerFile> {
            let needed = layers.iter().filter(|layer| layer.through <= barrier);
            needed.map(|layer| layer.file.clone()).collect()
        };
        let earlier = faults::bug("mislabelled_snapshot").then(|| files(&self.layers));
        self.write_layer(barrier)?;
        faults::point("snapshot.layer");
        self.merge(barrier)?;
        snapshot.cuts.clone_from(&self.cuts);
        snapshot.layers = earlier.unwrap_or_else(|| files(&self.layers));
        let name = snapshot.write(&self.fence.store, self.fence.generation)?;
        faults::point("snapshot.object");
        let layers = snapshot.layers.iter().map(|file| file.path.clone());
        self.recent.push((name.n, layers.chain([name.path.clone()]).collect()));
        let later = self.layers.iter().filter(|layer| layer.through > barrier);
        let later: u64 = later.map(|layer| layer.bytes).sum();
        self.unsaved.store(self.held + later, Ordering::Relaxed);
        Ok(Some(Message::Saved(name)))
    }

    /// Writes the rows up to `last` as a layer, unless there are none.
    fn write_layer(&mut self, last: Epoch) -> Result<()> {
        let mut taken: Vec<(usize, Sealed)> = Vec::new();
        for (worker, sealed) in self.sealed.iter_mut().enumerate() {
            while let Some(first) = sealed.pop_front_if(|sealed| sealed.through <= last) {
                taken.push((worker, first));
            }
        }
        let Some(through) = taken.iter().map(|(_, sealed)| sealed.through).max() else {
            return Ok(());
        };
        let path = self.next_path();
        let rows: Vec<&ChangedRows> = taken.iter().map(|(_, sealed)| &sealed.rows).collect();
        let bytes: u64 = rows.iter().map(|rows| rows.size() as u64).sum();
        match durable::write_layer(&self.fence.store, path, &self.cuts, &rows) {
            Ok(files) => {
                let merged = files.into_iter().map(|file| SavedLayer::merged(through, file));
                let before = self.layers.len();
                self.layers.extend(merged);
                if let Some(first) = self.layers.get_mut(before) {
                    first.bytes = bytes;
                }
                self.held -= bytes;
                Ok(())
            }
            Err(error) => {
                // The next layer gets these rows.
                for (worker, sealed) in taken.into_iter().rev() {
                    self.sealed[worker].push_front(sealed);
                }
                Err(error)
            }
        }
    }

    fn next_path(&mut self) -> String {
        self.written += 1;
        format!("layer/{:020}-{:010}", self.fence.generation, self.written)
    }

    /// Merges the layers of a snapshot if there are many, or if the unmerged ones are large. So a
    /// snapshot needs little more room than its rows, and each row is rewritten a few times only.
    fn merge(&mut self, barrier: Epoch) -> Result<()> {
        let needed = self.layers.iter().take_while(|layer| layer.through <= barrier);
        let files: Vec<LayerFile> = needed.map(|layer| layer.file.clone()).collect();
        let base = files.iter().take_while(|file| file.is_merged).count();
        let size = |files: &[LayerFile]| files.iter().map(|file| file.size).sum::<u64>();
        let (base_bytes, young_bytes) = (size(&files[..base]), size(&files[base..]));
        let many = (files.len() - base) as u64 > faults::limit("layers", MAX_LAYERS);
        let all = if base > 0 { young_bytes > base_bytes / 2 } else { many };
        let from = match (all, many) {
            (true, _) => 0,
            (false, true) => base,
            (false, false) => return Ok(()),
        };
        let layers = Layers::open(&self.fence.store, &files[from..])?;
        let path = self.next_path();
        let merged = layers.merge(&self.fence.store, path, &self.cuts, from == 0)?;
        faults::point("merge");
        let merged = merged.into_iter().map(|file| SavedLayer::merged(barrier, file));
        self.layers.splice(from..files.len(), merged);
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
        let mut kept: BTreeSet<String> =
            self.layers.iter().map(|layer| layer.file.path.clone()).collect();
        self.recent.retain(|(n, _)| *n > youngest.n);
        kept.extend(self.recent.iter().flat_map(|(_, paths)| paths.iter().cloned()));
        let is_careless = faults::bug("collected_snapshot");
        if is_careless {
            kept.clear();
        }
        for name in named.iter().skip(usize::from(is_careless)) {
            kept.insert(name.path.clone());
            match Snapshot::read(&self.fence.store, name) {
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
            for (object, _) in self.fence.store.list(folder)? {
                let generation = object.split('-').next().and_then(|n| n.parse::<u64>().ok());
                let path = format!("{folder}/{object}");
                if generation.is_some_and(|n| n <= self.fence.generation) && !kept.contains(&path) {
                    faults::point("collect");
                    self.fence.store.delete(&path)?;
                }
            }
        }
        Ok(released)
    }
}
