//! The chores beside commits: snapshots, merging, and collection. As in `durable`.

use crate::bounds::Weakening;
use crate::protocol::{Answer, ChoreStep, Late, Protocol, State};
use crate::run::{Chore, Memory, Run};
use crate::world::{Layer, Named, Snapshot, World, insert};

/// Returns the end of a list of layers.
fn end(layers: &[Layer]) -> u8 {
    layers.last().map_or(0, |layer| layer.to)
}

impl Protocol {
    /// Returns the steps that the thread for chores can take.
    pub fn chore_steps(&self, state: &State, run: &Run) -> Vec<ChoreStep> {
        let memory = &run.memory;
        let mut steps = Vec::new();
        match &run.chore {
            Chore::Idle if run.is_live() => {
                if memory.ready.is_none() && state.layers < self.bounds.layers {
                    let unsaved = end(&memory.layers) < memory.end;
                    steps.extend(unsaved.then_some(ChoreStep::Snapshot));
                    // Merging reads the layers, and fails if one is damaged.
                    let count = memory.layers.len() + usize::from(unsaved);
                    let whole = |layer: &Layer| !state.world.damaged.contains(layer);
                    let merges = count > 1 && memory.layers.iter().all(whole);
                    steps.extend(merges.then_some(ChoreStep::Merge));
                }
                let (snapshots, layers) = self.victims(state, memory);
                if self.bounds.layers > 0 && (!snapshots.is_empty() || !layers.is_empty()) {
                    steps.push(ChoreStep::Collect);
                }
            }
            Chore::Idle => {}
            Chore::PutLayer(_) | Chore::PutSnapshot(_) => {
                steps.push(ChoreStep::Put(Answer::Arrives));
                if state.late.len() < self.bounds.late {
                    steps.push(ChoreStep::Put(Answer::IsLate));
                }
            }
            Chore::Delete(..) => steps.push(ChoreStep::Delete),
        }
        steps
    }

    /// Takes a step of the thread for chores.
    pub(crate) fn chore(&self, state: &mut State, mut run: Run, step: ChoreStep) -> Run {
        let memory = &mut run.memory;
        run.chore = match (std::mem::take(&mut run.chore), step) {
            (_, ChoreStep::Snapshot | ChoreStep::Merge) => {
                state.layers += 1;
                let mut layers = memory.layers.clone();
                if step == ChoreStep::Merge {
                    layers.clear();
                }
                let (generation, manifest) = (memory.generation, memory.last);
                let (from, to) = (end(&layers), memory.end);
                layers.push(Layer { generation, manifest, from, to });
                let attempt = state.layers;
                let name = Named { generation, manifest, end: to, attempt };
                Chore::PutLayer(Snapshot { name, layers })
            }
            (Chore::PutLayer(snapshot), ChoreStep::Put(answer)) => {
                let layer = snapshot.layers.last().copied();
                match answer {
                    Answer::IsLate => {
                        layer.map(Late::Layer).into_iter().for_each(|l| state.send_late(l))
                    }
                    _ => layer.into_iter().for_each(|layer| state.world.put_layer(layer)),
                }
                if answer == Answer::IsLate && !self.lacks(Weakening::NameEarly) {
                    Chore::PutLayer(snapshot)
                } else {
                    memory.layers.clone_from(&snapshot.layers);
                    Chore::PutSnapshot(snapshot)
                }
            }
            (Chore::PutSnapshot(snapshot), ChoreStep::Put(Answer::IsLate)) => {
                // It gives up. The next snapshot has the same layers and more.
                state.send_late(Late::Snapshot(snapshot));
                Chore::Idle
            }
            (Chore::PutSnapshot(snapshot), _) => {
                if self.lacks(Weakening::SnapshotsByCreation) {
                    memory.named = [Some(snapshot.name), memory.named[0]];
                } else {
                    memory.ready = Some(snapshot.name);
                }
                self.put_snapshot(&mut state.world, snapshot);
                Chore::Idle
            }
            (_, ChoreStep::Collect) => {
                let (snapshots, layers) = self.victims(state, memory);
                Chore::Delete(snapshots, layers)
            }
            (Chore::Delete(mut snapshots, mut layers), _) => {
                let world = &mut state.world;
                match snapshots.pop() {
                    Some(snapshot) => world.snapshots.retain(|s| *s != snapshot),
                    None => {
                        let layer = layers.pop();
                        world.layers.retain(|l| Some(*l) != layer);
                    }
                }
                match snapshots.is_empty() && layers.is_empty() {
                    true => Chore::Idle,
                    false => Chore::Delete(snapshots, layers),
                }
            }
            (chore, _) => chore,
        };
        run
    }

    /// Puts a snapshot. It replaces one of the same name.
    pub(crate) fn put_snapshot(&self, world: &mut World, snapshot: Snapshot) {
        if self.lacks(Weakening::ReusedName) {
            let name = |s: &Snapshot| (s.name.generation, s.name.manifest);
            world.snapshots.retain(|s| name(s) != name(&snapshot));
        }
        insert(&mut world.snapshots, snapshot);
    }

    /// Returns the objects of this run and of older ones that a run with this memory may delete
    /// now.
    fn victims(&self, state: &State, memory: &Memory) -> (Vec<Snapshot>, Vec<Layer>) {
        let world = &state.world;
        let early =
            self.lacks(Weakening::CollectEarly) || self.lacks(Weakening::SnapshotsByCreation);
        if world.generation > memory.generation || !(memory.decided || early) {
            return (Vec::new(), Vec::new());
        }
        let [newest, previous] = self.counting(state, memory.named);
        let ready = memory.ready.filter(|_| !self.lacks(Weakening::CollectReady));
        let kept = [newest, previous, ready];
        let own = [Weakening::CollectReady, Weakening::CollectShared];
        let mut layers = match self.weakening {
            Some(weakening) if own.contains(&weakening) => Vec::new(),
            _ => memory.layers.clone(),
        };
        for name in kept.into_iter().flatten() {
            let of = world.layers_of(name);
            let shared = self.lacks(Weakening::CollectShared);
            layers.extend(of.iter().filter(|l| !shared || l.manifest == name.manifest));
        }
        let old = |generation: u8| generation <= memory.generation;
        let snapshots = world.snapshots.iter();
        let snapshots =
            snapshots.filter(|s| old(s.name.generation) && !kept.contains(&Some(s.name)));
        let orphans = world.layers.iter().filter(|l| old(l.generation) && !layers.contains(l));
        (snapshots.cloned().collect(), orphans.copied().collect())
    }
}
