//! The promises, as properties of every state, and events that a search must not miss.

use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::Property;

use crate::protocol::{Answer, Protocol, State, Step};
use crate::run::{Phase, Run};
use crate::world::{Named, Version, World, latest};

/// Each version of the table has exactly the rows of its commit, and no commit comes twice.
pub const TABLE: &str = "no version of the table loses or repeats a row";
/// The last version of the table names no file that is gone.
pub const FILES: &str = "the files of the table exist";
/// The log has each record once, in order.
pub const LOG: &str = "the log loses and repeats nothing";
/// Sinks are at a commit whose manifest exists or existed.
pub const DECIDED: &str = "sinks show decided commits only";
/// The highest manifest follows its predecessor.
pub const CHAIN: &str = "the manifests are chained";
/// Snapshots that the highest manifest names can be loaded, unless a bit has flipped.
pub const NAMED: &str = "named snapshots can be loaded";
/// No run refuses a state.
pub const REFUSAL: &str = "no run refuses the state";
/// A fresh run, alone and without faults, shows all records.
pub const FINISH: &str = "a fresh run finishes";

/// Sinks come to show all records, after a run was followed by another.
pub const SHOWS_ALL: &str = "a second run shows all records";
/// Compactions happen.
pub const COMPACTS: &str = "the table is compacted";
/// Sinks come to show all records after a reset.
pub const RESETS: &str = "a reset state shows all records";
/// The source comes to forget records.
pub const FORGETS: &str = "the source forgets records";
/// A run comes to live on the older of two snapshots.
pub const FALLS_BACK: &str = "a run falls back to the older snapshot";

/// Returns all properties.
pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(TABLE, |_, state: &State| table(&state.world)),
        Property::always(FILES, |_, state: &State| files(&state.world)),
        Property::always(LOG, |_, state: &State| log(&state.world)),
        Property::always(DECIDED, |_, state: &State| decided(&state.world)),
        Property::always(CHAIN, |_, state: &State| state.world.is_chained(state.world.highest())),
        Property::always(NAMED, |protocol: &Protocol, state: &State| protocol.names_whole(state)),
        Property::always(REFUSAL, |_, state: &State| state.refusal.is_none()),
        Property::always(FINISH, |protocol: &Protocol, state: &State| {
            protocol.finishes(&state.world)
        }),
        Property::sometimes(SHOWS_ALL, |protocol: &Protocol, state: &State| {
            let shown = state.world.log.records.len() == usize::from(protocol.bounds.records);
            shown && state.runs.iter().any(|run| run.memory.begun && run.memory.generation > 1)
        }),
        Property::sometimes(COMPACTS, |_, state: &State| {
            let mut versions = state.world.table.versions.iter();
            versions.any(|version| matches!(version, Version::Compaction(..)))
        }),
        Property::sometimes(RESETS, |protocol: &Protocol, state: &State| {
            let log = &state.world.log;
            log.app > 0 && log.records.len() == usize::from(protocol.bounds.records)
        }),
        Property::sometimes(FORGETS, |_, state: &State| state.world.source_begin > 0),
        Property::sometimes(FALLS_BACK, |_, state: &State| falls_back(state)),
    ]
}

fn table(world: &World) -> bool {
    let (table, n) = (&world.table, usize::from(world.table.txn));
    let end = if n == 0 { Some(&0) } else { world.decided.get(n - 1) };
    let rows = table.rows.iter().map(|row| row.record);
    !table.repeated && end.is_none_or(|end| rows.eq(latest(0, *end)))
}

fn files(world: &World) -> bool {
    world.table.rows.iter().all(|row| world.files.contains(&row.file))
}

fn log(world: &World) -> bool {
    world.log.records.iter().copied().eq(0..world.log.records.len() as u8)
}

fn decided(world: &World) -> bool {
    let end = |n: u8| match n {
        0 => Some(0),
        n => world.decided.get(usize::from(n) - 1).copied(),
    };
    end(world.table.txn).is_some() && end(world.log.commit) == Some(world.log.records.len() as u8)
}

impl Protocol {
    /// Returns true if the snapshots that count have all their layers.
    fn names_whole(&self, state: &State) -> bool {
        let world = &state.world;
        let named = world.manifest(world.highest()).map_or([None, None], |manifest| manifest.named);
        self.counting(state, named).into_iter().flatten().all(|name| is_whole(world, name))
    }

    /// Returns true if a fresh run, and another after it, show all records.
    fn finishes(&self, world: &World) -> bool {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let hash = hasher.finish();
        let known = |hash| self.finishing.lock().is_ok_and(|known| known.contains(hash));
        if known(&hash) {
            return true;
        }
        // The second run finds the state that the first one leaves.
        let finished = self.finish(world).and_then(|world| self.finish(&world)).is_some();
        if finished && let Ok(mut known) = self.finishing.lock() {
            known.insert(hash);
        }
        finished
    }

    /// Returns the world after a fresh run, alone and without faults; `None` if it exits or does
    /// not show all records.
    fn finish(&self, world: &World) -> Option<World> {
        let mut state = State { world: world.clone(), ..State::default() };
        let mut run = Run::default();
        loop {
            let step = match &run.phase {
                Phase::Live if run.memory.end < self.bounds.records => {
                    Step::CommitUpTo(self.bounds.records)
                }
                Phase::Live => break,
                Phase::Create(_) | Phase::PutVersion(_) | Phase::ShowLog(_) => {
                    Step::Request(Answer::Arrives)
                }
                _ => Step::Next,
            };
            run = self.commit(&mut state, run, step)?;
        }
        let world = state.world;
        let all = world.log.records.len() == usize::from(self.bounds.records);
        (all && files(&world) && table(&world) && log(&world) && decided(&world)).then_some(world)
    }
}

fn falls_back(state: &State) -> bool {
    let world = &state.world;
    let Some(manifest) = world.manifest(world.highest()) else { return false };
    let damaged = manifest.named[0].is_some_and(|newest| world.load(newest).is_none());
    let older = |run: &Run| run.is_live() && run.memory.named == [manifest.named[1], None];
    damaged && manifest.named[1].is_some() && state.runs.iter().any(older)
}

/// Returns true if a snapshot and all its layers exist.
fn is_whole(world: &World, name: Named) -> bool {
    World { damaged: Vec::new(), ..world.clone() }.load(name).is_some()
}
