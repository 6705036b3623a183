//! The saver's thread. It collects the changed rows of the workers of process 0 and writes them as
//! layers, collects the layers of other processes, and makes snapshots of all. Commits never wait
//! for it, unless a snapshot is part of the commit.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::message::Message;
use super::network::Outbox;
use super::protocol::Down;
use super::releases::Ranges;
use super::repeats::Repeats;
use super::unwritten::{SavedLayer, Taken, Unwritten, is_of_another_process};
use crate::durable::{Fence, LayerFile, Layers, Snapshot, SnapshotName};
use crate::error::{ErrorKind, Result};
use crate::faults;
use crate::operators::CutId;
use crate::sync::{Receiver, Sender};
use crate::time::Epoch;

/// A snapshot with more small layers than this of each process is merged.
const MAX_LAYERS: u64 = 8;

/// A layer with fewer bytes is a small one. Larger ones cost little more to read than merged ones.
const SMALL_LAYER_BYTES: u64 = 4 << 20;

/// A task for the saver.
pub(super) enum Task {
    /// Take rows of a worker of this process.
    Take(Taken),
    /// Count changed rows in the memory of another process.
    Changed { process: usize, bytes: u64 },
    /// Take the layers of another process. They complete its rows up to a barrier, if there is one.
    Layers { process: usize, barrier: Option<Epoch>, layers: Vec<SavedLayer> },
    /// Make a snapshot of the commit after a barrier. Its cuts and layers are added.
    Save { barrier: Epoch, snapshot: Snapshot },
    /// Delete everything but the snapshots that the last manifest names.
    Collect(Vec<SnapshotName>),
    /// End. Workers may keep their senders for ever after a failure.
    End,
}

/// Another process, which writes the layers of its workers by itself.
struct Other {
    outbox: Box<dyn Outbox<Down>>,
    /// The last barrier up to which its layers are known.
    through: Option<Epoch>,
    /// Bytes of rows in its memory.
    held: u64,
}

/// The owner of the layers of a run.
pub(super) struct Saver {
    /// The state and the generation of the run.
    fence: Fence,
    /// The rows of this process that are in no layer.
    rows: Unwritten,
    /// From process 1 on.
    others: Vec<Other>,
    /// The layers of the last snapshot, and those that were written since. Those of one process are
    /// in the order of their changes.
    layers: Vec<SavedLayer>,
    /// Repeated keys in the rows of this process, in a run that began without rows and has merged
    /// no layer yet.
    repeats: Option<Repeats>,
    /// The objects of layers of other processes, as far as they are known.
    of_others: BTreeSet<String>,
    /// The snapshots of this run that may not be named yet.
    recent: Vec<(u64, Vec<String>)>,
    /// Bytes of rows that are in no snapshot.
    unsaved: Arc<AtomicU64>,
    waiting: Option<(Epoch, Snapshot)>,
}

impl Saver {
    /// Returns a saver for `workers` workers of this process, and those of the processes at the
    /// other end of `outboxes`.
    pub(super) fn new(
        fence: Fence,
        cuts: Vec<CutId>,
        layers: Vec<LayerFile>,
        workers: usize,
        outboxes: Vec<Box<dyn Outbox<Down>>>,
        unsaved: Arc<AtomicU64>,
    ) -> Self {
        let rows = Unwritten::new(fence.store.clone(), cuts, fence.generation, 0, 0..workers);
        let other = |outbox| Other { outbox, through: None, held: 0 };
        let repeats = layers.is_empty().then(Repeats::default);
        Saver {
            fence,
            rows,
            others: outboxes.into_iter().map(other).collect(),
            layers: layers.into_iter().map(|file| SavedLayer::merged(0, file)).collect(),
            repeats,
            of_others: BTreeSet::new(),
            recent: Vec::new(),
            unsaved,
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
                Task::Take(taken) => self.take(taken),
                Task::Changed { process, bytes } => {
                    self.count(process, bytes);
                    continue;
                }
                Task::Layers { process, barrier, layers } => {
                    self.add(process, barrier, layers);
                    self.save()
                }
                Task::Save { barrier, snapshot } => self.begin(barrier, snapshot),
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

    fn take(&mut self, taken: Taken) -> Result<Option<Message>> {
        let is_barrier = taken.is_barrier;
        if let Some(repeats) = &mut self.repeats {
            repeats.add(&taken.rows);
        }
        let bytes = self.rows.add(taken);
        self.unsaved.fetch_add(bytes, Ordering::Relaxed);
        if is_barrier && self.waiting.is_some() {
            return self.save();
        }
        let written = self.rows.write_excess(&mut self.layers);
        self.sort();
        written.map(|()| None)
    }

    /// Counts changed rows of another process.
    fn count(&mut self, process: usize, bytes: u64) {
        self.unsaved.fetch_add(bytes, Ordering::Relaxed);
        if let Some(other) = self.other(process) {
            other.held += bytes;
        }
    }

    /// Adds layers of another process.
    fn add(&mut self, process: usize, barrier: Option<Epoch>, layers: Vec<SavedLayer>) {
        let bytes: u64 = layers.iter().map(|layer| layer.bytes).sum();
        if let Some(other) = self.other(process) {
            other.held = other.held.saturating_sub(bytes);
            other.through = other.through.max(barrier);
        }
        self.of_others.extend(layers.iter().map(|layer| layer.file.path.clone()));
        self.layers.extend(layers);
        self.sort();
    }

    fn other(&mut self, process: usize) -> Option<&mut Other> {
        self.others.get_mut(process.checked_sub(1)?)
    }

    /// Sorts the layers by the epochs of their rows. Those of one process stay in their order, and
    /// no two processes change the rows of one key.
    fn sort(&mut self) {
        self.layers.sort_by_key(|layer| layer.through);
    }

    /// Returns the last barrier up to which all rows of this process, and all layers of the other
    /// ones, are known.
    fn complete(&self) -> Option<Epoch> {
        let others = self.others.iter().map(|other| other.through);
        others.chain([self.rows.complete()]).min().flatten()
    }

    /// Begins a snapshot of the commit after a barrier.
    fn begin(&mut self, barrier: Epoch, snapshot: Snapshot) -> Result<Option<Message>> {
        self.waiting = Some((barrier, snapshot));
        for other in &self.others {
            other.outbox.send(&Down::Save(barrier))?;
        }
        self.save()
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
        let written = self.rows.write(barrier, &mut self.layers);
        self.sort();
        written?;
        faults::point("snapshot.layer");
        self.merge(barrier)?;
        snapshot.cuts = self.rows.cuts().to_vec();
        snapshot.layers = earlier.unwrap_or_else(|| files(&self.layers));
        let name = snapshot.write(&self.fence.store, self.fence.generation)?;
        faults::point("snapshot.object");
        let layers = snapshot.layers.iter().map(|file| file.path.clone());
        self.recent.push((name.n, layers.chain([name.path.clone()]).collect()));
        let later = self.layers.iter().filter(|layer| layer.through > barrier);
        let later: u64 = later.map(|layer| layer.bytes).sum();
        let held = self.others.iter().map(|other| other.held).sum::<u64>() + self.rows.held();
        self.unsaved.store(held + later, Ordering::Relaxed);
        Ok(Some(Message::Saved(name)))
    }

    /// Merges the layers of a snapshot if there are many, or if the unmerged ones are large or have
    /// the same keys again and again. So a snapshot needs little more room than its rows, and each
    /// row is rewritten a few times only. A replay of different keys rewrites none.
    fn merge(&mut self, barrier: Epoch) -> Result<()> {
        let needed = self.layers.iter().take_while(|layer| layer.through <= barrier);
        let files: Vec<LayerFile> = needed.map(|layer| layer.file.clone()).collect();
        let base = files.iter().take_while(|file| file.is_merged).count();
        let size = |files: &[LayerFile]| files.iter().map(|file| file.size).sum::<u64>();
        let (base_bytes, young_bytes) = (size(&files[..base]), size(&files[base..]));
        // Each process writes a layer of each snapshot.
        let most = faults::limit("layers", MAX_LAYERS) * (1 + self.others.len() as u64);
        // Repeated keys in large layers are counted, or limited by a base; here neither is known.
        let any_size = base == 0 && self.repeats.is_none();
        let counts = |file: &&LayerFile| any_size || file.size < SMALL_LAYER_BYTES;
        let many = files[base..].iter().filter(counts).count() as u64 > most;
        let all = match base {
            0 => many || self.repeats.as_ref().is_some_and(Repeats::are_most),
            _ => young_bytes > base_bytes / 2,
        };
        let from = match (all, many) {
            (true, _) => 0,
            (false, true) => base,
            (false, false) => return Ok(()),
        };
        let layers = Layers::open(&self.fence.store, &files[from..])?;
        let path = self.rows.next_path();
        let merged = layers.merge(&self.fence.store, path, self.rows.cuts(), from == 0)?;
        faults::point("merge");
        let merged = merged.into_iter().map(|file| SavedLayer::merged(barrier, file));
        self.layers.splice(from..files.len(), merged);
        self.repeats = None;
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
                // Another process may just have written it, and its message is on the way.
                let is_unknown = generation == Some(self.fence.generation)
                    && is_of_another_process(&object)
                    && !self.of_others.contains(&path);
                if is_unknown {
                    continue;
                }
                if generation.is_some_and(|n| n <= self.fence.generation) && !kept.contains(&path) {
                    faults::point("collect");
                    self.fence.store.delete(&path)?;
                    self.of_others.remove(&path);
                }
            }
        }
        Ok(released)
    }
}
