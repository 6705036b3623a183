//! Maintenance of the table between commits: compaction, and deletion of files. As in the
//! maintenance of the Delta sink.

use crate::bounds::Weakening;
use crate::protocol::{Answer, Late, Protocol, State};
use crate::run::{Phase, Run};
use crate::world::{File, Version, insert};

impl Protocol {
    /// Returns true if a run may compact the table: it has made a commit and is the newest.
    pub(crate) fn can_compact(&self, state: &State, run: &Run) -> bool {
        let view = &run.memory.view;
        let newest = state.world.generation <= run.memory.generation;
        let several = view.rows.iter().any(|row| row.file != view.rows[0].file);
        let fenced = run.memory.begun && newest || self.lacks(Weakening::NoFence);
        fenced && several && !view.overtaken && view.unresolved.is_none()
    }

    /// Returns true if a run may delete files that the table does not name, and there are any.
    pub(crate) fn can_clean(&self, state: &State, run: &Run) -> bool {
        let (memory, world) = (&run.memory, &state.world);
        let newest = world.generation <= memory.generation;
        newest
            && (memory.begun || self.lacks(Weakening::CleanEarly))
            && memory.view.unresolved.is_none()
            && world.orphans().any(|file| file.generation <= memory.generation)
    }

    /// Writes one file with the rows of all others.
    pub(crate) fn begin_compaction(&self, state: &mut State, mut run: Run) -> Run {
        state.compactions += 1;
        let view = &run.memory.view;
        let mut files: Vec<File> = view.rows.iter().map(|row| row.file).collect();
        files.sort_unstable();
        files.dedup();
        let (generation, number) = (run.memory.generation, view.version + 1);
        let file = File { generation, number, compacted: true };
        let mut records: Vec<u8> = view.rows.iter().map(|row| row.record).collect();
        records.sort_unstable();
        insert(&mut state.world.files, file);
        run.phase = Phase::PutCompaction(Version::Compaction(generation, files, file, records));
        run
    }

    /// Creates the version that names the new file.
    pub(crate) fn put_compaction(
        &self,
        state: &mut State,
        mut run: Run,
        version: Version,
        answer: Answer,
    ) -> Run {
        let view = &mut run.memory.view;
        let number = view.version + 1;
        match answer {
            Answer::Arrives if state.world.table.create(number, &version) => {
                view.version = number;
                version.apply(&mut view.rows);
            }
            Answer::Arrives => view.overtaken = true,
            Answer::IsLost => {
                state.world.table.create(number, &version);
                view.unresolved = Some(version);
            }
            Answer::IsLate => {
                state.send_late(Late::Version(number, version.clone()));
                view.unresolved = Some(version);
            }
        }
        run.phase = Phase::Live;
        run
    }

    /// Settles a compaction of unknown outcome: a fence takes its number, or it is there already.
    pub(crate) fn resolve(&self, state: &mut State, mut run: Run) -> Run {
        let (view, table) = (&mut run.memory.view, &mut state.world.table);
        let number = view.version + 1;
        let compaction = view.unresolved.take();
        if table.create(number, &Version::Fence(run.memory.generation)) {
            view.version = number;
        } else if table.versions.get(usize::from(view.version)) == compaction.as_ref() {
            view.version = number;
            compaction.iter().for_each(|compaction| compaction.apply(&mut view.rows));
        }
        run.phase = Phase::Live;
        run
    }

    /// Deletes the files of this run and of older ones that the table does not name.
    pub(crate) fn clean(&self, state: &mut State, mut run: Run) -> Run {
        let orphans: Vec<File> = state.world.orphans().copied().collect();
        let later = |file: &File| file.generation > run.memory.generation;
        state.world.files.retain(|file| later(file) || !orphans.contains(file));
        run.phase = Phase::Live;
        run
    }
}
