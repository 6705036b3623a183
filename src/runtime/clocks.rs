//! The clocks of partitions: which of them count in the watermarks, from which epoch on, and from
//! which time on.
//!
//! The partitions of the first start join in epoch 0. One that is added later, or was idle, joins
//! once all closed epochs are completed. Then the watermarks are known, and none of the steps
//! behind the partition has closed a window after its *floor*. So a record of it is late for each
//! closed window by the ordinary rule.
//!
//! The commit after such an event records it, with a snapshot of its own. So a recovery never
//! reads records again across an event, and repeats none of these decisions.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::config::{Config, RunMode};
use super::topics::Topics;
use crate::durable::{Manifest, PartitionClock, SourceState, StepWatermark};
use crate::faults;
use crate::operators::watermark;
use crate::plan::TimePlan;
use crate::ports::ClockEvent;
use crate::record::PartitionId;
use crate::sync::now;
use crate::time::{Epoch, Timestamp};

/// Owner of the clocks of all timed topics.
pub(super) struct Clocks {
    topics: Topics,
    steps: Vec<StepClock>,
    partitions: BTreeMap<PartitionId, Member>,
    /// Partitions that are about to join.
    waiting: BTreeSet<PartitionId>,
    /// The topics whose clocks are restored.
    restored: BTreeSet<u16>,
    idle_after: BTreeMap<u16, Duration>,
    clock: WallClock,
    at_end: AtEnd,
    /// Some partition may bring nothing more.
    has_ended: bool,
    /// An event has happened that no replay repeats, and no commit has recorded it.
    has_changed: bool,
}

/// The clock that measures for how long partitions are silent.
#[derive(Clone, Copy)]
pub(super) enum WallClock {
    /// The clock of the machine.
    Machine,
    /// A clock that stands until the test driver advances it.
    Driven(Instant),
}

impl WallClock {
    pub(super) fn of(mode: RunMode) -> Self {
        match mode {
            RunMode::Sources => WallClock::Machine,
            RunMode::TestDriver => WallClock::Driven(now()),
        }
    }

    fn now(self) -> Instant {
        match self {
            WallClock::Machine => now(),
            WallClock::Driven(time) => time,
        }
    }
}

/// The end of a run that has read everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// Windows stay open: more records may come.
    KeepTime,
    /// The time of all partitions moves to its end, which closes all windows.
    CloseTime,
}

impl AtEnd {
    pub(super) fn of(config: &Config) -> Self {
        if config.close_at_end { AtEnd::CloseTime } else { AtEnd::KeepTime }
    }
}

/// The clocks at the end of a commit.
pub(super) struct ClocksOfCommit {
    partitions: BTreeMap<PartitionId, PartitionClock>,
    steps: Vec<StepClock>,
    /// The commit has an event that no replay repeats. It needs a snapshot of its own.
    pub(super) has_changed: bool,
}

/// The watermark of the steps behind a set of topics.
#[derive(Clone)]
struct StepClock {
    topics: BTreeSet<u16>,
    /// The watermark before the last event. Since then it is at least the least partition time.
    before: Option<Timestamp>,
}

/// A partition that has joined.
struct Member {
    clock: PartitionClock,
    /// The partition brings nothing more.
    is_over: bool,
    /// The time of its last batch; before the first one, the time from which it was read.
    latest: Instant,
}

impl Clocks {
    /// Returns the owner of the clocks of a plan's timed topics, before any partition joins.
    pub(super) fn new(topics: Topics, plan: &TimePlan, clock: WallClock, at_end: AtEnd) -> Self {
        let sets = plan.watermarks.iter();
        Clocks {
            topics,
            steps: sets.map(|topics| StepClock { topics: topics.clone(), before: None }).collect(),
            partitions: BTreeMap::new(),
            waiting: BTreeSet::new(),
            restored: BTreeSet::new(),
            idle_after: plan.idle_after.clone(),
            clock,
            at_end,
            has_ended: false,
            has_changed: false,
        }
    }

    /// Begins with the clocks of the last manifest. Returns the partitions that join in epoch 0,
    /// with their times in the snapshot, whose ranges are `saved`.
    pub(super) fn restore(
        &mut self,
        last: &Manifest,
        saved: &BTreeMap<String, Vec<SourceState>>,
    ) -> Vec<(PartitionId, ClockEvent)> {
        let mut joined = Vec::new();
        for (topic, bound) in (0..=u16::MAX).zip(self.topics.iter()) {
            if !bound.queue.is_timed() {
                continue;
            }
            let states = last.sources.get(&bound.name).into_iter().flatten();
            // A topic that the earlier program read without time begins its clocks now.
            let was_timed = states.clone().any(|state| !state.clocks.is_empty())
                || last.time.watermarks.iter().any(|step| step.topics.contains(&bound.name));
            self.restored.extend(was_timed.then_some(topic));
            for (source, state) in (0..=u16::MAX).zip(states) {
                let saved = saved.get(&bound.name).and_then(|it| it.get(usize::from(source)));
                let recorded = state.partitions.keys().chain(state.clocks.keys());
                for partition in recorded.copied().collect::<BTreeSet<u32>>() {
                    let id = PartitionId { topic, source, partition };
                    let clock = state.clocks.get(&partition).copied().unwrap_or_default();
                    // A partition that is not opened again brings nothing.
                    let latest = self.clock.now();
                    self.partitions.insert(id, Member { clock, is_over: true, latest });
                    self.has_ended = true;
                    // A topic that is read again from its beginning repeats the first join alone.
                    let floor = saved.map_or(clock.first_floor, |saved| saved.time(partition));
                    let floor = floor.filter(|_| !faults::bug("lost_time"));
                    joined.push((id, ClockEvent::Join { floor, closed: clock.floor }));
                }
            }
        }
        for step in &mut self.steps {
            let names = names(&self.topics, &step.topics);
            let recorded = last.time.watermarks.iter().find(|recorded| recorded.topics == names);
            step.before = recorded.map(|recorded| recorded.watermark);
        }
        joined
    }

    /// Returns the watermarks that were restored.
    pub(super) fn restored(&self) -> BTreeMap<BTreeSet<u16>, Timestamp> {
        let steps = self.steps.iter();
        steps.filter_map(|step| Some((step.topics.clone(), step.before?))).collect()
    }

    /// Returns the restored partitions that are idle.
    pub(super) fn idle(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.iter().filter(|(_, member)| member.clock.is_idle).map(|(id, _)| *id)
    }

    /// Lets a partition of the start join in epoch 0. Returns the event if its topic is timed and
    /// no earlier run has begun the clocks of the topic.
    pub(super) fn begin(&mut self, id: PartitionId) -> Option<ClockEvent> {
        self.discover(id);
        let is_first = !self.restored.contains(&id.topic) && self.waiting.remove(&id);
        is_first.then(|| self.add(id, None))
    }

    /// Notes a partition that is read from now on. If its topic is timed, it has yet to join,
    /// unless it is restored.
    pub(super) fn discover(&mut self, id: PartitionId) {
        if let Some(member) = self.partitions.get_mut(&id) {
            (member.is_over, member.latest) = (false, self.clock.now());
        } else if self.is_timed(id) {
            self.waiting.insert(id);
        }
    }

    /// Notes that a partition will never bring another batch.
    pub(super) fn end(&mut self, id: PartitionId) {
        if let Some(member) = self.partitions.get_mut(&id) {
            (member.is_over, self.has_ended) = (true, true);
        }
    }

    /// Begins to measure for how long partitions are silent.
    pub(super) fn go_live(&mut self) {
        let now = self.clock.now();
        self.partitions.values_mut().for_each(|member| member.latest = now);
    }

    /// Advances a clock that a test drives.
    pub(super) fn advance(&mut self, by: Duration) {
        if let WallClock::Driven(time) = &mut self.clock {
            *time = time.checked_add(by).unwrap_or(*time);
        }
    }

    /// Notes that a partition has brought a batch.
    pub(super) fn bring(&mut self, id: PartitionId) {
        if self.is_timed(id) {
            match self.partitions.get_mut(&id) {
                Some(member) => {
                    member.latest = self.clock.now();
                    if member.clock.is_idle {
                        self.waiting.insert(id);
                    }
                }
                None => _ = self.waiting.insert(id),
            }
        }
    }

    /// Returns true if batches of a partition may be dispatched.
    pub(super) fn is_joined(&self, id: PartitionId) -> bool {
        !self.waiting.contains(&id)
    }

    /// Lets the waiting partitions join, when every epoch up to `through` is completed and no later
    /// one is closed. Returns the events.
    pub(super) fn join(&mut self, through: Option<Epoch>) -> Vec<(PartitionId, ClockEvent)> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.settle(through);
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let joined = waiting.map(|id| {
            let behind = self.steps.iter().filter(|step| step.topics.contains(&id.topic));
            let floor = behind.map(|step| step.before).max().flatten();
            (id, self.add(id, floor))
        });
        joined.collect()
    }

    /// Leaves out the partitions that are silent for too long while others are not, under the
    /// conditions of [`join`](Self::join). One that has records to read `is_behind`, not silent.
    /// Returns them.
    pub(super) fn leave_out(
        &mut self,
        through: Option<Epoch>,
        is_behind: impl Fn(PartitionId) -> bool,
    ) -> Vec<PartitionId> {
        if self.idle_after.is_empty() && !self.has_ended {
            return Vec::new();
        }
        let counted = self.partitions.iter().filter(|(_, member)| !member.clock.is_idle);
        let Some(latest) = counted.clone().map(|(_, member)| member.latest).max() else {
            return Vec::new();
        };
        let is_silent = |(id, member): &(&PartitionId, &Member)| {
            let after = self.idle_after.get(&id.topic);
            let silence = latest.saturating_duration_since(member.latest);
            // A partition that has just brought a record is not idle, however short the time is.
            let is_idle = after.is_some_and(|after| silence >= *after && !silence.is_zero());
            (member.is_over || is_idle) && !is_behind(**id)
        };
        let mut silent: Vec<PartitionId> =
            counted.clone().filter(is_silent).map(|(id, _)| *id).collect();
        // One partition always counts.
        silent.truncate(counted.count() - 1);
        if !silent.is_empty() {
            self.settle(through);
            self.has_changed = true;
        }
        for id in &silent {
            if let Some(member) = self.partitions.get_mut(id) {
                member.clock.is_idle = true;
            }
        }
        silent
    }

    /// Moves all partitions to the end of time, if that is the end of the run. Returns the events,
    /// none if they were there before.
    pub(super) fn close(&mut self) -> Vec<(PartitionId, ClockEvent)> {
        if self.at_end == AtEnd::KeepTime {
            return Vec::new();
        }
        let is_open = |member: &Member| member.clock.floor != Some(Timestamp::MAX);
        let open = self.partitions.iter().filter(|(_, member)| is_open(member)).map(|(id, _)| *id);
        let open: Vec<PartitionId> = open.chain(std::mem::take(&mut self.waiting)).collect();
        open.into_iter().map(|id| (id, self.add(id, Some(Timestamp::MAX)))).collect()
    }

    /// Returns the clocks for a commit up to the end of the open epoch.
    pub(super) fn take(&mut self) -> ClocksOfCommit {
        let partitions = self.partitions.iter();
        ClocksOfCommit {
            partitions: partitions.map(|(id, member)| (*id, member.clock)).collect(),
            steps: self.steps.clone(),
            has_changed: std::mem::take(&mut self.has_changed),
        }
    }

    fn add(&mut self, id: PartitionId, floor: Option<Timestamp>) -> ClockEvent {
        // A replay repeats the joins of epoch 0.
        self.has_changed |= floor.is_some() || self.partitions.contains_key(&id);
        let first = self.partitions.get(&id).map(|member| member.clock.first_floor);
        let clock = PartitionClock { floor, first_floor: first.unwrap_or(floor), is_idle: false };
        let latest = self.clock.now();
        self.partitions.insert(id, Member { clock, is_over: false, latest });
        ClockEvent::Join { floor, closed: floor }
    }

    fn is_timed(&self, id: PartitionId) -> bool {
        self.topics.of(id).queue.is_timed()
    }

    /// Moves the watermarks to the end of an epoch, before an event.
    fn settle(&mut self, through: Option<Epoch>) {
        let Some(epoch) = through else { return };
        for step in &mut self.steps {
            let counted = self.partitions.iter().filter(|(_, member)| !member.clock.is_idle);
            step.before = step.at(&self.topics, epoch, counted.map(|(id, _)| *id));
        }
    }
}

impl ClocksOfCommit {
    /// Adds the clocks to the states of sources.
    pub(super) fn record(&self, topics: &Topics, sources: &mut BTreeMap<String, Vec<SourceState>>) {
        for (id, clock) in &self.partitions {
            let states = sources.get_mut(&topics.of(*id).name);
            if let Some(state) = states.and_then(|states| states.get_mut(usize::from(id.source))) {
                state.clocks.insert(id.partition, *clock);
            }
        }
    }

    /// Returns the watermarks at the end of `epoch`, the last one of the commit. Every worker must
    /// have completed it.
    pub(super) fn watermarks(&self, topics: &Topics, epoch: Epoch) -> Vec<StepWatermark> {
        let counted = self.partitions.iter().filter(|(_, clock)| !clock.is_idle).map(|(id, _)| *id);
        let at_end = |step: &StepClock| {
            let watermark = step.at(topics, epoch, counted.clone())?;
            Some(StepWatermark { topics: names(topics, &step.topics), watermark })
        };
        self.steps.iter().filter_map(at_end).collect()
    }
}

impl StepClock {
    /// Returns the watermark at the end of an epoch, if these partitions count since the last
    /// event.
    fn at(
        &self,
        topics: &Topics,
        epoch: Epoch,
        counted: impl Iterator<Item = PartitionId>,
    ) -> Option<Timestamp> {
        let of_step = counted.filter(|id| self.topics.contains(&id.topic));
        let times =
            of_step.map(|id| topics.of(id).queue.times.up_to(epoch, (id.source, id.partition)));
        watermark(self.before, times)
    }
}

fn names(topics: &Topics, ranks: &BTreeSet<u16>) -> Vec<String> {
    let ranked = (0..=u16::MAX).zip(topics.iter());
    ranked.filter(|(rank, _)| ranks.contains(rank)).map(|(_, topic)| topic.name.clone()).collect()
}
