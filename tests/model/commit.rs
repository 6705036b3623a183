//! The committer: it stages a commit, creates the manifest, shows it in both sinks, and compacts
//! the table between commits. As in `runtime::committer`, `durable::ledger`, and the sinks'
//! committers.

use crate::bounds::Weakening;
use crate::protocol::{Answer, Late, Protocol, State, Step};
use crate::run::{Phase, Run, Showing};
use crate::world::{
    Changes, File, KEPT_MANIFESTS, KEYS, Log, Manifest, Row, Version, insert, latest,
};

impl Changes {
    /// Returns the version of the table that makes commit `n`, by a run.
    pub(crate) fn commit(&self, generation: u8, n: u8, end: u8) -> Version {
        let adds = latest(self.from, end).collect();
        Version::Commit(generation, n, self.file, adds, self.removes.clone())
    }
}

impl Log {
    /// Appends the records of commit `n`.
    pub(crate) fn append(&mut self, n: u8, records: &[u8]) {
        self.records.extend_from_slice(records);
        self.commit = n;
    }
}

impl Protocol {
    /// Takes a step of the committer. Returns `None` if the run exits.
    pub(crate) fn commit(&self, state: &mut State, mut run: Run, step: Step) -> Option<Run> {
        match (std::mem::take(&mut run.phase), step) {
            (Phase::Live, Step::CommitUpTo(end)) => self.stage(state, run, end),
            (Phase::Live, Step::Compact) => Some(self.begin_compaction(state, run)),
            (Phase::Live, Step::Clean) => Some(self.clean(state, run)),
            (Phase::Live, Step::Resolve) => {
                run.phase = Phase::Resolve;
                Some(run)
            }
            (Phase::Create(manifest), Step::Request(answer)) => {
                self.create(state, run, manifest, answer)
            }
            (Phase::ReadBack(manifest), _) => self.read_back(state, run, manifest),
            (Phase::ShowTable(showing), _) => self.show_table(state, run, showing),
            (Phase::PutVersion(showing), Step::Request(answer)) => {
                self.put_version(state, run, showing, answer)
            }
            (Phase::ShowLog(showing), Step::Request(answer)) => {
                self.show_log(state, run, showing, answer)
            }
            (Phase::WriteOffset(showing), _) if state.world.log.epoch == run.memory.generation => {
                state.world.log.commit = showing.n;
                self.sinks_shown(state, run, showing)
            }
            (Phase::WriteOffset(_), _) => None,
            (Phase::PutCompaction(version), Step::Request(answer)) => {
                Some(self.put_compaction(state, run, version, answer))
            }
            (Phase::Resolve, _) => Some(self.resolve(state, run)),
            (phase, _) => {
                run.phase = phase;
                self.start(state, run)
            }
        }
    }

    /// Stages the records up to `end` if no newer run has begun, and names a snapshot that is
    /// ready.
    fn stage(&self, state: &mut State, mut run: Run, end: u8) -> Option<Run> {
        let memory = &mut run.memory;
        if state.world.generation > memory.generation {
            return None;
        }
        let n = memory.last + 1;
        memory.view.unresolved = None;
        let view = &mut memory.view;
        let changes = (end > memory.end).then(|| {
            let adds: Vec<u8> = latest(memory.end, end).collect();
            let replaced =
                |row: &&Row| adds.iter().any(|record| record % KEYS == row.record % KEYS);
            Changes {
                from: memory.end,
                version: view.version,
                file: File { generation: memory.generation, number: n, compacted: false },
                removes: view.rows.iter().filter(replaced).copied().collect(),
            }
        });
        if let Some(changes) = &changes {
            insert(&mut state.world.files, changes.file);
            changes.commit(memory.generation, n, end).apply(&mut view.rows);
        }
        // A run falls back to the snapshot before the last merge: later ones share the layers that
        // may be damaged.
        let shared = |ready| {
            let shares = memory.named[0].is_some_and(|newest| state.world.share(ready, newest));
            shares && !self.lacks(Weakening::SharedFallback)
        };
        let named = match memory.ready {
            Some(ready) if shared(ready) => [Some(ready), memory.named[1]],
            Some(ready) => [Some(ready), memory.named[0]],
            None => memory.named,
        };
        let (generation, previous) = (memory.generation, memory.digest);
        let (app, changed) = (memory.app, changes.clone());
        let manifest = Manifest { generation, end, previous, changes: changed, named, app };
        run.phase = match changes {
            Some(changes) if self.lacks(Weakening::ManifestAfterShowing) => {
                Phase::ShowTable(Showing { n, manifest, changes, earlier: false })
            }
            _ => Phase::Create(manifest),
        };
        Some(run)
    }

    fn create(
        &self,
        state: &mut State,
        mut run: Run,
        manifest: Manifest,
        answer: Answer,
    ) -> Option<Run> {
        let n = run.memory.last + 1;
        let trusted = self.lacks(Weakening::TrustUnknown);
        match answer {
            Answer::Arrives if state.world.create_manifest(n, &manifest) => {
                self.decided(state, run, manifest)
            }
            Answer::Arrives => self.read_back(state, run, manifest),
            Answer::IsLost | Answer::IsLate => {
                if answer == Answer::IsLost {
                    state.world.create_manifest(n, &manifest);
                } else {
                    state.send_late(Late::Manifest(n, Box::new(manifest.clone())));
                }
                if trusted {
                    return self.decided(state, run, manifest);
                }
                run.phase = Phase::ReadBack(manifest);
                Some(run)
            }
        }
    }

    /// Compares the stored manifest with the own one: the stored one decides.
    fn read_back(&self, state: &mut State, mut run: Run, manifest: Manifest) -> Option<Run> {
        let fresh = self.lacks(Weakening::FreshBindings);
        match state.world.manifest(run.memory.last + 1) {
            Some(there)
                if *there == manifest
                    || self.lacks(Weakening::AdoptForeign)
                    || (fresh && there.generation == manifest.generation) =>
            {
                self.decided(state, run, manifest)
            }
            Some(_) => None,
            None => {
                run.phase = Phase::Create(manifest);
                if fresh {
                    run.memory.view.rows.clone_from(&state.world.table.rows);
                    run.phase = Phase::Live;
                }
                Some(run)
            }
        }
    }

    /// Goes on after the manifest exists.
    fn decided(&self, state: &mut State, mut run: Run, manifest: Manifest) -> Option<Run> {
        let n = run.memory.last + 1;
        run.memory.decided = true;
        if n > KEPT_MANIFESTS {
            state.world.delete_manifest(n - KEPT_MANIFESTS);
        }
        if manifest.app == n {
            let memory = &mut run.memory;
            (memory.last, memory.end, memory.named) = (n, 0, [None; 2]);
            (memory.digest, memory.app) = (manifest.digest(), n);
            // The next run completes the reset if this one dies.
            memory.resets = false;
            run.phase = Phase::EmptyTable;
            return Some(run);
        }
        match manifest.changes.clone() {
            Some(changes) if !self.lacks(Weakening::ManifestAfterShowing) => {
                run.phase = Phase::ShowTable(Showing { n, manifest, changes, earlier: false });
                Some(run)
            }
            _ => self.shown(state, run, &manifest),
        }
    }

    /// Reads the versions of the table that were made since.
    fn show_table(&self, state: &State, mut run: Run, showing: Showing) -> Option<Run> {
        let (view, generation) = (&mut run.memory.view, run.memory.generation);
        let mut superseded = false;
        for version in &state.world.table.versions[usize::from(view.version)..] {
            superseded |= version.generation() > generation;
            match version {
                Version::Commit(_, n, ..) => view.txn = view.txn.max(*n),
                Version::Compaction(..) if !superseded && !self.lacks(Weakening::NoFence) => {
                    return None;
                }
                _ => {}
            }
        }
        view.version = state.world.table.version();
        run.phase = if view.txn >= showing.n && !self.lacks(Weakening::NoTxn) {
            Phase::ShowLog(showing)
        } else if superseded {
            return None;
        } else {
            Phase::PutVersion(showing)
        };
        Some(run)
    }

    fn put_version(
        &self,
        state: &mut State,
        mut run: Run,
        showing: Showing,
        answer: Answer,
    ) -> Option<Run> {
        let (view, generation) = (&mut run.memory.view, run.memory.generation);
        let version = showing.changes.commit(generation, showing.n, showing.manifest.end);
        let number = view.version + 1;
        let done = match answer {
            Answer::Arrives if state.world.table.create(number, &version) => {
                (view.version, view.txn) = (number, showing.n);
                true
            }
            Answer::Arrives => self.lacks(Weakening::TrustTaken),
            Answer::IsLost => {
                state.world.table.create(number, &version);
                self.lacks(Weakening::TrustUnknown)
            }
            Answer::IsLate => {
                state.send_late(Late::Version(number, version));
                self.lacks(Weakening::TrustUnknown)
            }
        };
        run.phase = if done { Phase::ShowLog(showing) } else { Phase::ShowTable(showing) };
        Some(run)
    }

    fn show_log(
        &self,
        state: &mut State,
        mut run: Run,
        showing: Showing,
        answer: Answer,
    ) -> Option<Run> {
        let (log, generation) = (&mut state.world.log, run.memory.generation);
        if log.epoch != generation {
            return None;
        }
        if log.commit >= showing.n {
            return self.sinks_shown(state, run, showing);
        }
        let records: Vec<u8> = (showing.changes.from..showing.manifest.end).collect();
        if self.lacks(Weakening::OffsetsAfterRecords) {
            log.records.extend(records);
            run.phase = Phase::WriteOffset(showing);
            return Some(run);
        }
        match answer {
            Answer::IsLate => {
                // The run exits, because the next one can find out the outcome.
                state.send_late(Late::Transaction(generation, showing.n, records));
                None
            }
            _ => {
                log.append(showing.n, &records);
                self.sinks_shown(state, run, showing)
            }
        }
    }

    fn sinks_shown(&self, state: &mut State, mut run: Run, showing: Showing) -> Option<Run> {
        run.memory.view.overtaken = false;
        run.phase = match showing {
            Showing { earlier: true, .. } => Phase::LoadState,
            Showing { manifest, .. } if self.lacks(Weakening::ManifestAfterShowing) => {
                Phase::Create(manifest)
            }
            Showing { manifest, .. } => return self.shown(state, run, &manifest),
        };
        Some(run)
    }

    /// Ends a commit that both sinks show, and releases records of the source.
    fn shown(&self, state: &mut State, mut run: Run, manifest: &Manifest) -> Option<Run> {
        let memory = &mut run.memory;
        memory.last += 1;
        memory.end = manifest.end;
        memory.digest = manifest.digest();
        memory.begun |= manifest.changes.is_some();
        if memory.ready.is_some() && manifest.named[0] == memory.ready {
            memory.ready = None;
        }
        memory.named = manifest.named;
        let [newest, previous] = memory.named;
        let released = if self.lacks(Weakening::ReleaseNewest) { newest } else { previous };
        let begin = &mut state.world.source_begin;
        *begin = (*begin).max(released.map_or(0, |released| released.end));
        if self.lacks(Weakening::CollectHighest) {
            state.world.delete_manifest(memory.last);
        }
        run.phase = Phase::Live;
        Some(run)
    }
}
