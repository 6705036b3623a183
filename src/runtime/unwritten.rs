//! The changed rows of the workers of a process, until they are written as layers.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::durable::{self, LayerFile};
use crate::error::Result;
use crate::faults;
use crate::operators::{ChangedRows, CutId};
use crate::store::Store;
use crate::time::Epoch;

/// Rows in memory beyond this are written as a layer, also if no snapshot is due.
const LAYER_BYTES: u64 = 32 << 20;

/// The rows that a worker has changed up to an epoch, which may be a barrier.
pub(super) struct Taken {
    /// The number of the worker among those of all processes.
    pub(super) worker: usize,
    pub(super) through: Epoch,
    pub(super) is_barrier: bool,
    pub(super) rows: ChangedRows,
}

/// A file of a layer whose rows were changed up to an epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedLayer {
    pub(super) through: Epoch,
    /// Bytes of its rows in memory; 0 for all files of a layer but the first.
    pub(super) bytes: u64,
    pub(super) file: LayerFile,
}

impl SavedLayer {
    /// Returns a file of a merged layer.
    pub(super) fn merged(through: Epoch, file: LayerFile) -> Self {
        SavedLayer { through, bytes: 0, file }
    }
}

/// Rows of a worker up to an epoch.
struct Sealed {
    through: Epoch,
    rows: ChangedRows,
}

/// The owner of the rows, and of the names of the layers of a process.
pub(super) struct Unwritten {
    store: Store,
    /// The path of the layers without their numbers.
    path: String,
    cuts: Vec<CutId>,
    /// The number of layers that the process has written.
    written: u64,
    /// The number of the first worker of the process.
    first: usize,
    /// By worker, the rows that are in no layer.
    sealed: Vec<VecDeque<Sealed>>,
    /// By worker, the last barrier up to which it has handed over its rows.
    through: Vec<Option<Epoch>>,
    /// Barriers that some workers have reached, and others have not.
    barriers: BTreeSet<Epoch>,
    /// Bytes of rows in memory.
    held: u64,
}

impl Unwritten {
    /// Returns an owner without rows, for the `workers` of a process in a run of this generation.
    pub(super) fn new(
        store: Store,
        cuts: Vec<CutId>,
        generation: u64,
        process: usize,
        workers: Range<usize>,
    ) -> Self {
        // No two processes may choose one name.
        let path = match process {
            0 => format!("layer/{generation:020}"),
            process => format!("layer/{generation:020}-p{process}"),
        };
        Unwritten {
            store,
            path,
            cuts,
            written: 0,
            first: workers.start,
            sealed: workers.clone().map(|_| VecDeque::new()).collect(),
            through: workers.map(|_| None).collect(),
            barriers: BTreeSet::new(),
            held: 0,
        }
    }

    pub(super) fn cuts(&self) -> &[CutId] {
        &self.cuts
    }

    /// Returns the bytes of rows in memory.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Adds rows of a worker of this process, and returns their bytes.
    pub(super) fn add(&mut self, taken: Taken) -> u64 {
        let Taken { worker, through, is_barrier, rows } = taken;
        let (bytes, local) = (rows.size() as u64, worker - self.first);
        self.held += bytes;
        self.sealed[local].push_back(Sealed { through, rows });
        if is_barrier {
            self.through[local] = Some(through);
            self.barriers.insert(through);
            let complete = self.complete();
            self.barriers.retain(|barrier| Some(*barrier) > complete);
        }
        bytes
    }

    /// Returns the last barrier up to which all workers have handed over their rows.
    pub(super) fn complete(&self) -> Option<Epoch> {
        self.through.iter().copied().min().flatten()
    }

    /// Writes layers if the rows need much memory, and appends them to `layers`.
    ///
    /// # Errors
    /// When a file can't be written. The next layer gets its rows.
    pub(super) fn write_excess(&mut self, layers: &mut Vec<SavedLayer>) -> Result<()> {
        let most = faults::limit("layer_bytes", LAYER_BYTES);
        if self.held >= most {
            if let Some(complete) = self.complete() {
                self.write(complete, layers)?;
            }
            // Rows before and after a barrier are in different layers: a snapshot may need only
            // the earlier ones.
            let last = self.barriers.first().copied().unwrap_or(Epoch::MAX);
            if self.held >= most {
                self.write(last, layers)?;
            }
        }
        Ok(())
    }

    /// Writes the rows up to `last` as a layer, unless there are none, and appends it to `layers`.
    /// Its files are durable.
    ///
    /// # Errors
    /// When a file can't be written. The next layer gets its rows.
    pub(super) fn write(&mut self, last: Epoch, layers: &mut Vec<SavedLayer>) -> Result<()> {
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
        match durable::write_layer(&self.store, path, &self.cuts, &rows) {
            Ok(files) => {
                let merged = files.into_iter().map(|file| SavedLayer::merged(through, file));
                let before = layers.len();
                layers.extend(merged);
                if let Some(first) = layers.get_mut(before) {
                    first.bytes = bytes;
                }
                self.held -= bytes;
                Ok(())
            }
            Err(error) => {
                for (worker, sealed) in taken.into_iter().rev() {
                    self.sealed[worker].push_front(sealed);
                }
                Err(error)
            }
        }
    }

    /// Acts from now on as if memory were short.
    #[cfg(test)]
    pub(super) fn hold_more(&mut self) {
        self.held += LAYER_BYTES;
    }

    /// Returns true if all rows are in layers.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sealed.iter().all(VecDeque::is_empty)
    }

    /// Returns the path of the next layer, without the numbers of its files.
    pub(super) fn next_path(&mut self) -> String {
        self.written += 1;
        format!("{}-{:010}", self.path, self.written)
    }
}

/// Returns true if a process other than process 0 has named the object of a layer.
pub(super) fn is_of_another_process(object: &str) -> bool {
    object.split('-').nth(1).is_some_and(|part| part.starts_with('p'))
}
