//! The protocol as a model for the checker: the moves of the world.

use std::collections::HashSet;
use std::sync::Mutex;

use stateright::{Model, Property};

use crate::bounds::{Bounds, Weakening};
use crate::properties;
use crate::run::{Memory, Phase, Run};
use crate::world::{Layer, Manifest, Snapshot, Version, World, insert};

/// The model.
#[derive(Debug, Default)]
pub struct Protocol {
    /// The bounds of the search.
    pub bounds: Bounds,
    /// The rule that is left out.
    pub weakening: Option<Weakening>,
    /// Hashes of worlds from which a fresh run finishes.
    pub finishing: Mutex<HashSet<u64>>,
}

/// A state of the search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The durable objects.
    pub world: World,
    /// Requests in flight without a waiting sender, in order.
    pub late: Vec<Late>,
    /// The processes that are alive, at most two, in the order of their generations.
    pub runs: Vec<Run>,
    /// Compactions so far.
    pub compactions: u8,
    /// Layers so far.
    pub layers: u8,
    /// Damages so far.
    pub damages: u8,
    /// Versions of another program so far.
    pub foreign: u8,
    /// Resets so far.
    pub resets: u8,
    /// The first refusal of a state by a run.
    pub refusal: Option<Refusal>,
}

/// A request that may still reach its store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Late {
    /// Creation of a manifest.
    Manifest(u8, Box<Manifest>),
    /// Creation of a version of the table.
    Version(u8, Version),
    /// Transaction of a generation: its commit, and the records.
    Transaction(u8, u8, Vec<u8>),
    /// Put of a layer.
    Layer(Layer),
    /// Put of a snapshot.
    Snapshot(Snapshot),
}

/// The reason for which a run refuses a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The highest manifest does not follow its predecessor.
    Chain,
    /// A sink shows a commit without a manifest.
    SinkAhead,
    /// The last manifest does not fit the table.
    Misfit,
    /// No snapshot can be loaded whose tail the source still has.
    Unloadable,
}

/// The outcome of a request, as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out or refused, and the answer arrived.
    Arrives,
    /// It was carried out, and the answer is lost.
    IsLost,
    /// It is on its way, and no answer comes.
    IsLate,
}

/// A step of the committer's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A step that reads, or whose answer always arrives.
    Next,
    /// A request.
    Request(Answer),
    /// Begin a commit up to this record.
    CommitUpTo(u8),
    /// Begin a compaction.
    Compact,
    /// Settle a compaction.
    Resolve,
    /// Delete files that the table does not name.
    Clean,
}

/// A step of the thread for chores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChoreStep {
    /// Begin a snapshot by a layer of the changes since the last.
    Snapshot,
    /// Begin a snapshot by a layer that merges all others.
    Merge,
    /// Begin to collect.
    Collect,
    /// Delete one object.
    Delete,
    /// Put an object.
    Put(Answer),
}

/// A move of the world. Runs are named by their places in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A process starts.
    Start,
    /// A process starts that resets the state.
    Reset,
    /// A process is killed.
    Crash(usize),
    /// A late request reaches its store.
    Lands(usize),
    /// A bit of a layer flips.
    Damage(Layer),
    /// Another program makes a version of the table.
    Foreign,
    /// The committer of a process takes a step.
    Committer(usize, Step),
    /// The chore of a process takes a step.
    Chore(usize, ChoreStep),
}

impl Protocol {
    /// Returns a model within `bounds`, without the rule `weakening`.
    pub fn new(bounds: Bounds, weakening: Option<Weakening>) -> Self {
        Protocol { bounds, weakening, ..Protocol::default() }
    }

    /// Returns true if this rule is left out.
    pub fn lacks(&self, weakening: Weakening) -> bool {
        self.weakening == Some(weakening)
    }

    /// Returns the steps that the committer of `run` can take.
    pub fn steps(&self, state: &State, run: &Run) -> Vec<Step> {
        let (bounds, memory) = (self.bounds, &run.memory);
        let all = |lost: bool| {
            let late = state.late.len() < bounds.late;
            let answers = [
                Some(Answer::Arrives),
                lost.then_some(Answer::IsLost),
                late.then_some(Answer::IsLate),
            ];
            answers.into_iter().flatten().map(Step::Request).collect()
        };
        match &run.phase {
            Phase::Live
                if memory.view.unresolved.is_some() && !self.lacks(Weakening::Unsettled) =>
            {
                vec![Step::Resolve]
            }
            Phase::Live => {
                let mut steps = Vec::new();
                if memory.last < bounds.commits {
                    let ends = memory.end + 1..=bounds.records.min(memory.end + 2);
                    steps.extend(ends.map(Step::CommitUpTo));
                    steps.extend(memory.ready.map(|_| Step::CommitUpTo(memory.end)));
                }
                if state.compactions < bounds.compactions && self.can_compact(state, run) {
                    steps.push(Step::Compact);
                }
                if self.can_clean(state, run) {
                    steps.push(Step::Clean);
                }
                steps
            }
            Phase::Create(_) => all(state.world.manifest(memory.last + 1).is_none()),
            Phase::PutVersion(_) | Phase::PutCompaction(_) => {
                all(state.world.table.version() == memory.view.version)
            }
            Phase::ShowLog(_) => all(false),
            _ => vec![Step::Next],
        }
    }

    /// Returns the state after an action.
    fn after(&self, before: &State, action: &Action) -> State {
        let mut state = before.clone();
        match action {
            Action::Start => state.runs.push(Run::default()),
            Action::Reset => {
                state.resets += 1;
                let memory = Memory { resets: true, ..Memory::default() };
                state.runs.push(Run { memory, ..Run::default() });
            }
            Action::Crash(at) => drop(state.runs.remove(*at)),
            Action::Lands(at) => {
                let world = &mut state.world;
                match state.late.remove(*at) {
                    Late::Manifest(n, manifest) => drop(world.create_manifest(n, &manifest)),
                    Late::Version(number, version) => drop(world.table.create(number, &version)),
                    Late::Transaction(_, n, records) => world.log.append(n, &records),
                    Late::Layer(layer) => world.put_layer(layer),
                    Late::Snapshot(snapshot) => self.put_snapshot(world, snapshot),
                }
            }
            Action::Damage(layer) => {
                state.damages += 1;
                insert(&mut state.world.damaged, *layer);
            }
            Action::Foreign => {
                state.foreign += 1;
                state.world.table.versions.push(Version::Fence(0));
            }
            Action::Committer(at, step) => {
                let run = state.runs.remove(*at);
                let after = self.commit(&mut state, run, *step);
                state.runs.extend(after);
            }
            Action::Chore(at, step) => {
                let run = state.runs.remove(*at);
                let after = self.chore(&mut state, run, *step);
                state.runs.push(after);
            }
        }
        state.runs.sort_by(|a, b| a.memory.cmp(&b.memory));
        state.late.retain(|late| late.is_possible(&state.world));
        state
    }
}

impl State {
    /// Ends a run that can't use the state. This is a refusal unless a newer run has begun or an
    /// older one has committed since: then the run has read a state of the past, and is started
    /// again.
    pub fn refuse(&mut self, memory: &Memory, refusal: Refusal) -> Option<Run> {
        let newest = self.world.generation <= memory.generation;
        if newest && self.world.highest() == memory.last {
            self.refusal.get_or_insert(refusal);
        }
        None
    }

    /// Sends a request to which no answer comes.
    pub fn send_late(&mut self, late: Late) {
        insert(&mut self.late, late);
    }
}

impl Late {
    /// Returns false if the request can never be carried out.
    fn is_possible(&self, world: &World) -> bool {
        match self {
            Late::Manifest(..) | Late::Layer(_) | Late::Snapshot(_) => true,
            Late::Version(number, _) => *number > world.table.version(),
            Late::Transaction(generation, ..) => *generation == world.log.epoch,
        }
    }

    /// Returns true if the request would be carried out now.
    fn lands(&self, world: &World) -> bool {
        match self {
            Late::Manifest(n, _) => world.manifest(*n).is_none(),
            Late::Version(number, _) => *number == world.table.version() + 1,
            Late::Transaction(..) | Late::Layer(_) | Late::Snapshot(_) => true,
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.runs.len() < 2 && state.world.generation < self.bounds.generations {
            actions.push(Action::Start);
            if state.resets < self.bounds.resets && state.world.generation > 0 {
                actions.push(Action::Reset);
            }
        }
        for (at, run) in state.runs.iter().enumerate() {
            actions.push(Action::Crash(at));
            let steps = self.steps(state, run).into_iter();
            actions.extend(steps.map(|step| Action::Committer(at, step)));
            let steps = self.chore_steps(state, run).into_iter();
            actions.extend(steps.map(|step| Action::Chore(at, step)));
        }
        let landing = |at: &usize| state.late[*at].lands(&state.world);
        actions.extend((0..state.late.len()).filter(landing).map(Action::Lands));
        if state.foreign < self.bounds.foreign && !state.world.table.versions.is_empty() {
            actions.push(Action::Foreign);
        }
        if state.damages < self.bounds.damages {
            actions.extend(state.world.undamaged().map(Action::Damage));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let claims = |at: usize| state.runs[at].phase == Phase::Claim;
        match action {
            Action::Committer(at, Step::Next)
                if claims(at) && state.world.generation >= self.bounds.generations =>
            {
                None
            }
            _ => Some(self.after(state, &action)),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
