//! The time of the topics before a step: timed topics, their clocks, and watermarks.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concatenate;

use super::Graph;
use crate::operators::{
    ClockChange, ClosedTimes, Restored, Setting, StateCut, StreamTime, watermarks,
};
use crate::time::{Epoch, Timestamp};

/// The clocks of timed topics, and the watermarks that are made of them.
#[derive(Default)]
pub(super) struct Clocks<'s> {
    /// By the rank of the topic, the changes of its clocks.
    changes: BTreeMap<u16, StreamVec<'s, Epoch, ClockChange>>,
    /// By the ranks of the topics before a step. Steps behind the same topics share it.
    watermarks: BTreeMap<BTreeSet<u16>, StreamVec<'s, Epoch, Timestamp>>,
    closed: ClosedTimes,
}

impl<'s> Graph<'s> {
    /// Notes that a step uses the timestamps or partition times of the topics before it. Then each
    /// of their records has a partition time.
    pub(crate) fn use_time(&self, node: usize) {
        let mut plan = self.0.plan.borrow_mut();
        let topics = plan.ranks_before(node);
        plan.time.timed.extend(topics);
        let before = plan.with_steps_before(vec![node]);
        let asked: Vec<usize> =
            plan.time.optional.iter().copied().filter(|step| before.contains(step)).collect();
        plan.time.asked.extend(asked);
        if before.iter().any(|step| plan.time.untimed.contains(step)) {
            let verb = plan.nodes.get(node).map(|step| step.verb.clone()).unwrap_or_default();
            plan.errors.push(format!(
                "{verb} needs records with times, and the changes of a table that is made by a \
                 range or of a collection have none: use it before that"
            ));
        }
    }

    /// Like [`use_time`](Self::use_time), but only if records before the step have times if they
    /// are used.
    pub(crate) fn use_optional_time(&self, node: usize) {
        let is_optional = {
            let plan = self.0.plan.borrow();
            let before = plan.with_steps_before(vec![node]);
            let (optional, asked) = (&plan.time.optional, &self.0.bindings.borrow().demand.timed);
            before.iter().any(|step| optional.contains(step) || asked.contains(step))
        };
        if is_optional {
            self.use_time(node);
        }
    }

    /// Notes that the records of a step can't have times.
    pub(crate) fn has_no_times(&self, node: usize) {
        self.0.plan.borrow_mut().time.untimed.push(node);
    }

    /// Returns true if a step behind this one uses the times of its records. That is known once the
    /// steps have been planned.
    pub(crate) fn is_time_used_behind(&self, node: usize) -> bool {
        let mut plan = self.0.plan.borrow_mut();
        plan.time.optional.push(node);
        self.0.bindings.borrow().demand.timed.contains(&node)
    }

    /// Returns the setting of an operator that keeps a state by keys of type `K`, in parts named by
    /// `P` with content `R`. The state is saved unless all inputs flow again after a restart.
    ///
    /// In `per_record` mode the stream time of the operator is saved too. It depends on the order
    /// of arrival, so it can't be found again.
    pub(crate) fn setting<K, P, R>(
        &self,
        node: usize,
        restored: Restored,
        purpose: &str,
    ) -> Setting {
        let is_saved = restored == Restored::Tail;
        let cut = is_saved.then(|| self.state_cut::<K, P, R>(node, purpose)).flatten();
        let clock = is_saved.then(|| self.stream_clock_cut(node)).flatten();
        let (time, closed) = (StreamTime::of(self.mode()), self.0.clocks.borrow().closed.clone());
        Setting { owners: self.owners(), meter: self.meter(node), time, cut, clock, closed }
    }

    /// Opens the cut of the stream time of a step. Returns none where partitions measure time, and
    /// in a run without a state.
    pub(crate) fn stream_clock_cut(&self, node: usize) -> Option<StateCut> {
        let cut = || self.state_cut::<u64, (), Timestamp>(node, "stream time");
        self.mode().is_per_record().then(cut).flatten()
    }

    /// Returns the watermarks of a step, on each worker: the least partition time of all partitions
    /// of the topics before it. A watermark is emitted in the epoch at whose close it has risen.
    ///
    /// There is none while a partition has no time, and it stays while all are idle.
    pub(crate) fn watermarks(&self, node: usize) -> StreamVec<'s, Epoch, Timestamp> {
        self.use_time(node);
        let topics = self.0.plan.borrow().ranks_before(node);
        let mut clocks = self.0.clocks.borrow_mut();
        if let Some(known) = clocks.watermarks.get(&topics) {
            return known.clone();
        }
        let changes = topics.iter().filter_map(|topic| clocks.changes.get(topic).cloned());
        let changes = self.0.scope.concatenate(changes.collect::<Vec<_>>());
        let restored = self.0.bindings.borrow().watermarks.get(&topics).copied();
        let watermarks = watermarks(changes, restored);
        clocks.watermarks.insert(topics.clone(), watermarks.clone());
        self.0.plan.borrow_mut().time.watermarks.push(topics);
        watermarks
    }

    /// Notes the origin of a topic's timestamps, and the time after which a silent partition is
    /// idle. They are extracted if they are taken from keys and values.
    pub(crate) fn plan_time(&self, topic: u16, is_extracted: bool, idle_after: Option<Duration>) {
        let time = &mut self.0.plan.borrow_mut().time;
        time.extracted.extend(is_extracted.then_some(topic));
        time.idle_after.extend(idle_after.map(|after| (topic, after)));
    }

    /// Adds the clocks of a timed topic.
    pub(crate) fn add_clocks(&self, topic: u16, changes: StreamVec<'s, Epoch, ClockChange>) {
        let mut clocks = self.0.clocks.borrow_mut();
        let changes = clocks.closed.note(changes);
        clocks.changes.insert(topic, changes);
    }
}
