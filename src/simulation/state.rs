//! The state of a scheduler: all tasks, the groups that they form, and the virtual time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(super) type TaskId = u64;
pub(super) type GroupId = u64;

/// Longest virtual time of an ordinary turn.
const TURN_MAX_MICROS: u64 = 60;
/// One turn of so many takes long, as if the system had taken the core away.
const SLOW_TURN: u64 = 64;
const SLOW_TURN_MAX_MICROS: u64 = 20_000;
/// After one turn of so many, a task becomes faster or slower than the others.
const WEIGHT_CHANGE: u64 = 48;

/// A count of wake-ups, which threads wait to change.
#[derive(Clone, Default)]
pub(crate) struct Event(Arc<AtomicU64>);

impl Event {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn count_up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn is(&self, other: &Event) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The condition under which a task can run.
pub(super) enum Wait {
    Turn,
    Event { event: Event, seen: u64, deadline: Option<Duration> },
}

/// A thread of the simulation.
struct TaskState {
    name: String,
    group: GroupId,
    weight: u64,
    wait: Wait,
    /// The place of its last turn.
    place: String,
    wake: Arc<Condvar>,
}

/// A life: a run and all its threads.
#[derive(Default)]
struct Group {
    turns: u64,
    crash_at: Option<u64>,
    /// Its tasks end at their next turn.
    ended: bool,
    /// The place of its crash.
    crashed: Option<String>,
    /// It gets no turn before this time.
    stopped_until: Duration,
    /// Rung when one of its tasks ends.
    changed: Event,
}

/// Everything that the scheduler decides from.
pub(super) struct State {
    dice: u64,
    pub(super) now: Duration,
    pub(super) turns: u64,
    pub(super) max_turns: u64,
    /// Prints each turn.
    pub(super) prints: bool,
    pub(super) trace: u64,
    tasks: BTreeMap<TaskId, TaskState>,
    groups: BTreeMap<GroupId, Group>,
    pub(super) running: Option<TaskId>,
    next: u64,
    pub(super) failure: Option<String>,
}

impl State {
    pub(super) fn new(seed: u64, max_turns: u64) -> Self {
        State {
            dice: seed,
            now: Duration::ZERO,
            turns: 0,
            max_turns,
            prints: false,
            trace: seed,
            tasks: BTreeMap::new(),
            groups: BTreeMap::new(),
            running: None,
            next: 0,
            failure: None,
        }
    }

    /// Draws a number below `end`, by SplitMix64.
    pub(super) fn draw(&mut self, end: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end.max(1)
    }

    pub(super) fn mix(&mut self, bytes: &[u8]) {
        self.trace = xxh3_64_with_seed(bytes, self.trace);
    }

    pub(super) fn add_group(&mut self, crash_at: Option<u64>) -> GroupId {
        self.next += 1;
        self.groups.insert(self.next, Group { crash_at, ..Group::default() });
        self.next
    }

    /// Adds a task, which can run at once.
    pub(super) fn add_task(&mut self, name: &str, group: GroupId) -> TaskId {
        self.next += 1;
        let (weight, wake) = (1 << (2 * self.draw(3)), Arc::new(Condvar::new()));
        let (name, place) = (name.to_string(), "its start".to_string());
        let task = TaskState { name, group, weight, wait: Wait::Turn, place, wake };
        self.tasks.insert(self.next, task);
        self.next
    }

    pub(super) fn remove_task(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(&id) else { return };
        if let Some(group) = self.groups.get(&task.group) {
            group.changed.count_up();
        }
        self.mix(&id.to_le_bytes());
    }

    pub(super) fn wake_of(&self, id: TaskId) -> Option<Arc<Condvar>> {
        self.tasks.get(&id).map(|task| task.wake.clone())
    }

    /// Returns true if the tasks of this one's group must end.
    pub(super) fn must_end(&self, id: TaskId) -> bool {
        let group = self.tasks.get(&id).and_then(|task| self.groups.get(&task.group));
        group.is_none_or(|group| group.ended)
    }

    /// Ends the turn of a task: it waits at `place`.
    pub(super) fn end_turn(&mut self, id: TaskId, place: &str, wait: Wait) {
        self.turns += 1;
        let slow = self.draw(SLOW_TURN) == 0;
        let micros = self.draw(if slow { SLOW_TURN_MAX_MICROS } else { TURN_MAX_MICROS });
        self.now = self.now.saturating_add(Duration::from_micros(micros));
        let weight = (self.draw(WEIGHT_CHANGE) == 0).then(|| 1 << (2 * self.draw(3)));
        self.mix(&id.to_le_bytes());
        self.mix(place.as_bytes());
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if self.prints {
            let (turn, micros, TaskState { name, group, .. }) =
                (self.turns, self.now.as_micros(), &*task);
            eprintln!("{turn:>6} {micros:>9} {:016x} life {group} {name}: {place}", self.trace);
        }
        task.weight = weight.unwrap_or(task.weight);
        task.wait = wait;
        task.place.clear();
        task.place.push_str(place);
        let Some(group) = self.groups.get_mut(&task.group) else { return };
        group.turns += 1;
        if group.crash_at == Some(group.turns) && !group.ended {
            (group.ended, group.crashed) = (true, Some(place.to_string()));
        }
        if self.turns == self.max_turns {
            self.fail(format!("no end after {} turns", self.turns));
        }
    }

    /// Chooses the next task. Returns none if there is no task.
    pub(super) fn choose(&mut self) {
        self.running = None;
        while !self.tasks.is_empty() {
            let weights = self.tasks.values().filter(|task| self.can_run(task));
            let sum = weights.map(|task| task.weight).sum();
            if sum > 0 {
                let mut drawn = self.draw(sum);
                let chosen =
                    self.tasks.iter().filter(|(_, task)| self.can_run(task)).find(|(_, task)| {
                        let found = drawn < task.weight;
                        drawn = drawn.saturating_sub(task.weight);
                        found
                    });
                self.running = chosen.map(|(id, _)| *id);
                return;
            }
            match self.tasks.values().filter_map(|task| self.deadline(task)).min() {
                Some(deadline) => self.now = self.now.max(deadline),
                None => self.fail("no thread can run, and none waits for a time".into()),
            }
        }
    }

    fn can_run(&self, task: &TaskState) -> bool {
        let Some(group) = self.groups.get(&task.group) else { return true };
        group.ended || group.stopped_until <= self.now && self.is_ready(task)
    }

    fn is_ready(&self, task: &TaskState) -> bool {
        match &task.wait {
            Wait::Turn => true,
            Wait::Event { event, seen, deadline } => {
                event.count() != *seen || deadline.is_some_and(|deadline| deadline <= self.now)
            }
        }
    }

    /// Returns the time at which a task that can't run now can run.
    fn deadline(&self, task: &TaskState) -> Option<Duration> {
        let stopped = self.groups.get(&task.group).map_or(Duration::ZERO, |it| it.stopped_until);
        let ready = match &task.wait {
            _ if self.is_ready(task) => Some(Duration::ZERO),
            Wait::Turn => Some(Duration::ZERO),
            Wait::Event { deadline, .. } => *deadline,
        };
        ready.map(|ready| ready.max(stopped))
    }

    /// Ends the simulation with a failure.
    fn fail(&mut self, reason: String) {
        let text = reason + &self.waiting();
        self.failure.get_or_insert(text);
        self.end_groups();
    }

    /// Describes all tasks, but for the running one.
    fn waiting(&self) -> String {
        let mut text = String::new();
        for task in self.tasks.iter().filter(|(id, _)| self.running != Some(**id)) {
            let TaskState { name, group, place, .. } = task.1;
            let _ = write!(text, "; {name} of life {group} waits at {place}");
        }
        text
    }

    /// Describes a turn that doesn't end, and all tasks.
    pub(super) fn endless_turn(&self) -> String {
        let running = self.running.and_then(|id| self.tasks.get(&id));
        let running = running.map_or_else(
            || "no thread runs".to_string(),
            |TaskState { name, group, place, .. }| {
                format!("the turn of {name} of life {group} after {place} has no end")
            },
        );
        running + &self.waiting()
    }

    /// Ends all tasks at their next turn.
    pub(super) fn end_groups(&mut self) {
        self.groups.values_mut().for_each(|group| group.ended = true);
    }

    /// Wakes one of the tasks that wait for an event.
    pub(super) fn wake_one(&mut self, event: &Event) {
        let waits = |task: &TaskState| match &task.wait {
            Wait::Event { event: awaited, seen, .. } => awaited.is(event) && event.count() == *seen,
            Wait::Turn => false,
        };
        let waiting: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| waits(task)).map(|(id, _)| *id).collect();
        if waiting.is_empty() {
            return;
        }
        let one = waiting[self.draw(waiting.len() as u64) as usize];
        if let Some(task) = self.tasks.get_mut(&one) {
            task.wait = Wait::Turn;
        }
    }

    /// Ends all tasks of a group at their next turn.
    pub(super) fn end_group(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.ended = true;
        }
    }

    pub(super) fn stop_group(&mut self, id: GroupId, until: Duration) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.stopped_until = until;
        }
    }

    /// Returns the place of the crash of a group.
    pub(super) fn crash_of(&self, id: GroupId) -> Option<String> {
        self.groups.get(&id)?.crashed.clone()
    }

    /// Returns the event that a group has changed, and true if it has a task.
    pub(super) fn members(&self, id: GroupId) -> (Event, bool) {
        let event = self.groups.get(&id).map(|group| group.changed.clone()).unwrap_or_default();
        (event, self.tasks.values().any(|task| task.group == id))
    }
}
