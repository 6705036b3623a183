//! Commit barriers: the epochs after which a commit is made.

use std::collections::BTreeSet;
use std::sync::Mutex;

use timely::scheduling::SyncActivator;

use crate::simulation;
use crate::sync::lock;
use crate::time::Epoch;

/// The commit barriers of a process: the epochs after which a commit is made.
///
/// A barrier is set before its epoch is closed, so every sink handle sees it in time.
#[derive(Default)]
pub(crate) struct Barriers(Mutex<State>);

#[derive(Default)]
struct State {
    barriers: BTreeSet<Epoch>,
    /// The completed frontier: all epochs before it are done.
    completed: Epoch,
    wake: Vec<SyncActivator>,
}

impl Barriers {
    /// Sets a barrier after `epoch`.
    pub(crate) fn set(&self, epoch: Epoch) {
        lock(&self.0).barriers.insert(epoch);
    }

    /// Activates an operator whenever a barrier is due.
    pub(super) fn activate_when_due(&self, activator: SyncActivator) {
        lock(&self.0).wake.push(activator);
    }

    /// Moves the completed frontier to `epoch`, and wakes sink handles if a barrier is due: staging
    /// delays no answer of an epoch that is done.
    pub(crate) fn complete(&self, epoch: Epoch) {
        let mut state = lock(&self.0);
        let due = state.barriers.range(state.completed..epoch).next().is_some();
        state.completed = epoch;
        for activator in state.wake.iter().filter(|_| due) {
            // A worker that has ended can't be activated.
            let _ = activator.activate();
        }
        simulation::ring_workers();
    }

    /// Returns the last barrier from `from` on that is before `completed`.
    pub(crate) fn last_before(&self, from: Epoch, completed: Epoch) -> Option<Epoch> {
        if from >= completed {
            return None;
        }
        lock(&self.0).barriers.range(from..completed).next_back().copied()
    }

    /// Returns the first barrier after `last` that can be taken now: one before the `next` row, or,
    /// if no row is ready, one whose epoch is complete and that precedes every row that is `held`.
    pub(super) fn next(
        &self,
        last: Option<Epoch>,
        next: Option<Epoch>,
        held: Option<Epoch>,
    ) -> Option<Epoch> {
        let state = lock(&self.0);
        let before =
            next.unwrap_or_else(|| held.map_or(state.completed, |held| state.completed.min(held)));
        let from = last.map_or(0, |last| last + 1);
        state.barriers.range(from..).next().copied().filter(|barrier| *barrier < before)
    }
}
