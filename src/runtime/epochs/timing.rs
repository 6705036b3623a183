//! The clocks of partitions in the open epoch: their events are dispatched like batches.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::clocks::{Clocks, ClocksOfCommit};
use super::Epochs;
use crate::durable::{Manifest, SourceState};
use crate::ports::ClockEvent;
use crate::record::PartitionId;

impl Epochs {
    /// Begins with the clocks of the last manifest; `saved` are the ranges of the snapshot.
    pub(in super::super) fn restore_clocks(
        &mut self,
        last: &Manifest,
        saved: &BTreeMap<String, Vec<SourceState>>,
    ) {
        let joined = self.clocks.restore(last, saved);
        self.send(joined);
    }

    /// Lets a partition of the start count in the watermarks, from epoch 0 on. One that was added
    /// since the last run joins as soon as that is possible.
    pub(in super::super) fn begin_clock(&mut self, id: PartitionId) {
        let joined = self.clocks.begin(id).map(|event| (id, event));
        self.send(joined);
    }

    /// Lets a partition that was added later count in the watermarks, as soon as that is possible.
    pub(in super::super) fn join_clock(&mut self, id: PartitionId) {
        self.clocks.discover(id);
        self.dispatch();
    }

    /// Notes that a partition will never bring another batch.
    pub(in super::super) fn end_clock(&mut self, id: PartitionId) {
        self.clocks.end(id);
    }

    /// Advances the clock that measures silence, which a test drives.
    pub(in super::super) fn advance_clock(&mut self, by: Duration) {
        self.clocks.advance(by);
    }

    /// Leaves silent partitions out of the watermarks from the open epoch on. It is called before
    /// the epoch is closed.
    pub(in super::super) fn leave_out_idle(&mut self, is_behind: impl Fn(PartitionId) -> bool) {
        if !self.is_caught_up() {
            return;
        }
        let queue = &self.queue;
        let waits = |id| queue.iter().any(|fetched| fetched.id == id);
        let through = self.open.number.checked_sub(1);
        let idle = self.clocks.leave_out(through, |id| waits(id) || is_behind(id));
        self.send(idle.into_iter().map(|id| (id, ClockEvent::Idle)));
    }

    /// Moves the watermarks to the end of time, which closes all windows, if the run ends so.
    pub(in super::super) fn close_time(&mut self) {
        let events = self.clocks.close();
        self.uncommitted |= !events.is_empty();
        self.send(events);
    }

    /// Returns the clocks of partitions.
    pub(in super::super) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Returns the clocks for a commit up to the end of the open epoch.
    pub(in super::super) fn take_clocks(&mut self) -> ClocksOfCommit {
        self.clocks.take()
    }

    pub(super) fn send(&mut self, events: impl IntoIterator<Item = (PartitionId, ClockEvent)>) {
        events.into_iter().for_each(|(id, event)| self.agents.clock(&self.topics, id, event));
    }
}
