//! The worker that owns a key, and the check that rows arrive there.

use std::rc::Rc;

use super::seeds::Seeds;
use crate::error::Error;
use crate::time::ProcessingMode;

/// Ends the run with an error.
pub(crate) type Fail = Rc<dyn Fn(Error)>;

/// Decides which worker owns a key, and ends the run where two workers disagree about it. It also
/// has the mode of the run, for all operators with owners.
#[derive(Clone)]
pub(crate) struct Owners {
    seeds: Seeds,
    fail: Fail,
    mode: ProcessingMode,
}

impl Owners {
    pub(crate) fn new(seeds: Seeds, fail: Fail) -> Self {
        Owners { seeds, fail, mode: ProcessingMode::default() }
    }

    /// Returns the same owners in a run of another mode.
    pub(crate) fn with_mode(self, mode: ProcessingMode) -> Self {
        Owners { mode, ..self }
    }

    /// Returns the mode of the run. In `per_record` an operator that keeps rows passes on each
    /// update, also one that leaves the row as it was.
    pub(crate) fn mode(&self) -> ProcessingMode {
        self.mode
    }

    /// Returns the seeds of the run.
    pub(crate) fn seeds(&self) -> Seeds {
        self.seeds
    }

    /// Returns a function that ends the run with an error.
    pub(crate) fn fail(&self) -> Fail {
        self.fail.clone()
    }

    /// Returns the check of rows that arrive at `step` on the worker `index` of `workers`.
    ///
    /// The check takes a newly computed hash of the first row of a batch. If the hash belongs to
    /// another worker, the check reports an error and returns false, and the rows must not be used.
    pub(crate) fn check(
        &self,
        step: &str,
        index: usize,
        workers: usize,
    ) -> impl Fn(u64) -> bool + use<> {
        let (fail, step) = (self.fail.clone(), step.to_string());
        let (index, workers) = (index as u64, workers as u64);
        move |hash| {
            let is_owner = hash % workers == index;
            if !is_owner {
                let message =
                    format!("rows of step {step} came to worker {index}, which does not own them");
                fail(Error::internal(message).hint(
                    "The hash of a key type must depend on its content alone: it must be the same \
                     on each thread, in each process and at each call.",
                ));
            }
            is_owner
        }
    }
}
