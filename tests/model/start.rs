//! The start of a run: it takes over the state and the sinks, shows the last manifest, and loads
//! the state. As in `runtime::begin`, `durable::ledger`, and the sinks' `open`.

use crate::bounds::Weakening;
use crate::protocol::{Protocol, Refusal, State};
use crate::run::{Memory, Phase, Run, Showing, View};
use crate::world::{Log, Manifest, Named, Version};

impl Protocol {
    /// Takes the next step of a run that is not live yet.
    pub(crate) fn start(&self, state: &mut State, mut run: Run) -> Option<Run> {
        let memory = &mut run.memory;
        let world = &mut state.world;
        run.phase = match run.phase {
            Phase::Find => {
                memory.generation = world.generation + 1;
                memory.last = world.highest();
                if !world.is_chained(memory.last) {
                    return state.refuse(memory, Refusal::Chain);
                }
                if let Some(manifest) = world.manifest(memory.last) {
                    memory.end = manifest.end;
                    memory.digest = manifest.digest();
                    memory.named = manifest.named;
                    memory.app = manifest.app;
                }
                if self.lacks(Weakening::SearchedFallback) {
                    let [newest, fallback] = &mut memory.named;
                    let earlier = (1..memory.last).rev().filter_map(|n| world.manifest(n));
                    *fallback = earlier.map(|m| m.named[0]).find(|name| name != newest).flatten();
                }
                Phase::Claim
            }
            Phase::Claim if world.generation >= memory.generation => Phase::Find,
            Phase::Claim => {
                world.generation = memory.generation;
                Phase::Recheck
            }
            Phase::Recheck if world.highest() != memory.last => Phase::Find,
            // A reset that has begun is completed before another one.
            Phase::Recheck if memory.last > 0 && memory.app == memory.last => {
                memory.resets = false;
                if self.lacks(Weakening::ForgottenReset) {
                    Phase::LoadTable
                } else {
                    Phase::EmptyTable
                }
            }
            Phase::Recheck if memory.resets && self.lacks(Weakening::EmptyEarly) => {
                memory.app = memory.last + 1;
                Phase::EmptyTable
            }
            Phase::Recheck if memory.resets => Phase::Create(self.reset(memory)),
            Phase::Recheck => Phase::LoadTable,
            Phase::EmptyTable => {
                let table = &mut world.table;
                if table.versions.iter().any(|v| v.generation() > memory.generation) {
                    return None;
                }
                let (number, app) = (memory.view.version + 1, memory.app);
                if table.app == app || table.create(number, &Version::Reset(memory.generation, app))
                {
                    Phase::EmptyLog
                } else {
                    memory.view.version = table.version();
                    Phase::EmptyTable
                }
            }
            Phase::EmptyLog if world.log.epoch > memory.generation => return None,
            Phase::EmptyLog => {
                if world.log.app != memory.app {
                    let (epoch, app) = (memory.generation, memory.app);
                    world.log = Log { epoch, app, ..Log::default() };
                }
                if memory.resets { Phase::Create(self.reset(memory)) } else { Phase::LoadTable }
            }
            Phase::LoadTable => {
                let table = &world.table;
                if table.versions.iter().any(|v| v.generation() > memory.generation) {
                    return None;
                }
                if table.txn > memory.last {
                    return state.refuse(memory, Refusal::SinkAhead);
                }
                if table.app != memory.app && !self.lacks(Weakening::ForgottenReset) {
                    return state.refuse(memory, Refusal::Misfit);
                }
                let (version, txn, rows) = (table.version(), table.txn, table.rows.clone());
                memory.view = View { version, txn, rows, ..View::default() };
                if self.lacks(Weakening::NoFence) { Phase::OpenLog } else { Phase::Fence }
            }
            Phase::Fence => {
                let number = memory.view.version + 1;
                if world.table.create(number, &Version::Fence(memory.generation)) {
                    memory.view.version = number;
                    Phase::OpenLog
                } else {
                    Phase::LoadTable
                }
            }
            Phase::OpenLog if world.log.epoch > memory.generation => return None,
            Phase::OpenLog => {
                world.log.epoch = memory.generation;
                if world.log.commit > memory.last {
                    return state.refuse(memory, Refusal::SinkAhead);
                }
                Phase::CatchUp
            }
            Phase::CatchUp => return self.catch_up(state, run),
            Phase::LoadState => return self.load(state, run),
            live => live,
        };
        Some(run)
    }

    /// Returns the manifest of a reset. From it on the state belongs to another application, and
    /// has no record.
    fn reset(&self, memory: &Memory) -> Manifest {
        let (generation, previous, app) = (memory.generation, memory.digest, memory.last + 1);
        Manifest { generation, end: 0, previous, changes: None, named: [None; 2], app }
    }

    /// Begins to show the last manifest.
    fn catch_up(&self, state: &mut State, mut run: Run) -> Option<Run> {
        run.phase = Phase::LoadState;
        let n = run.memory.last;
        if n == 0 || self.lacks(Weakening::NoRollForward) {
            return Some(run);
        }
        // A manifest that is gone was collected by a newer run.
        let manifest = state.world.manifest(n)?.clone();
        let Some(changes) = manifest.changes.clone() else { return Some(run) };
        let view = &mut run.memory.view;
        let shown = view.txn >= n && !self.lacks(Weakening::NoTxn);
        if !shown {
            // The library can also translate a commit for rows that were moved since. No move must
            // be possible here.
            let since = &state.world.table.versions[usize::from(changes.version)..];
            let moved = since.iter().any(|version| matches!(version, Version::Compaction(..)));
            let gone = changes.removes.iter().any(|row| !view.rows.contains(row))
                || !state.world.files.contains(&changes.file);
            let checked =
                ![Some(Weakening::NoTxn), Some(Weakening::NoFence)].contains(&self.weakening);
            if checked && (moved || gone) {
                return state.refuse(&run.memory, Refusal::Misfit);
            }
            changes.commit(0, n, manifest.end).apply(&mut view.rows);
        }
        let showing = Showing { n, manifest, changes, earlier: true };
        run.phase = if shown { Phase::ShowLog(showing) } else { Phase::ShowTable(showing) };
        Some(run)
    }

    /// Loads the newest snapshot that is whole, and reads the records after it again.
    fn load(&self, state: &mut State, mut run: Run) -> Option<Run> {
        let (world, memory) = (&state.world, &mut run.memory);
        let candidates = self.counting(state, memory.named);
        memory.layers.clear();
        let mut end = 0;
        let found = candidates.into_iter().enumerate().find_map(|(rank, name)| {
            let layers = world.load(name?)?;
            Some((rank, name, layers))
        });
        memory.named = match found {
            Some((rank, name, layers)) => {
                memory.layers = layers.to_vec();
                end = name.map_or(0, |name| name.end);
                let other = match rank {
                    0 => candidates[1],
                    _ if self.lacks(Weakening::KeepDamaged) => candidates[0],
                    _ => None,
                };
                [name, other]
            }
            None => [None, None],
        };
        if world.source_begin > end {
            return state.refuse(memory, Refusal::Unloadable);
        }
        run.phase = Phase::Live;
        Some(run)
    }

    /// Returns the snapshots that count, the newest first.
    pub(crate) fn counting(&self, state: &State, named: [Option<Named>; 2]) -> [Option<Named>; 2] {
        if !self.lacks(Weakening::SnapshotsByCreation) {
            return named;
        }
        let names = state.world.snapshots.iter().map(|snapshot| snapshot.name);
        [names.max_by_key(|name| (name.manifest, name.generation)), None]
    }
}
