//! One worker's writer of a table. It keeps the place of every row that it wrote, so that it reads
//! nothing to replace one.

use std::sync::Arc;

use crate::connect::{Mode, Part, Writer};
use crate::error::Result;
use crate::row::Row;

use super::changes::Changes;
use super::file::{NewFile, OpenFile};
use super::index::Place;
use super::layout::{FileNumbers, Layout};
use super::slots::{RewriteBuffer, Slots, UNPLACED};

/// The writer of one worker.
pub(super) struct DeltaWriter {
    layout: Arc<Layout>,
    worker: usize,
    numbers: FileNumbers,
    /// The number of files that it has begun.
    begun: u64,
    slots: Slots,
    deleted: Vec<Place>,
    open: Option<OpenFile>,
    closed: Vec<NewFile>,
    /// All of its rows, while they are few.
    buffer: Option<RewriteBuffer>,
}

impl DeltaWriter {
    /// Returns the writer of the worker with the number `worker`. Its rows are those in `slots`,
    /// and also in `buffer` if they are few.
    pub(super) fn new(
        layout: Arc<Layout>,
        worker: usize,
        slots: Slots,
        buffer: Option<RewriteBuffer>,
    ) -> Self {
        DeltaWriter {
            numbers: FileNumbers::of(worker, layout.workers),
            layout,
            worker,
            begun: 0,
            slots,
            deleted: Vec::new(),
            open: None,
            closed: Vec::new(),
            buffer,
        }
    }

    /// Adds a row to the open file; returns its place.
    fn append(&mut self, row: &dyn Row) -> Result<Place> {
        let file = match &mut self.open {
            Some(file) => file,
            none => {
                let path = self.layout.path(self.worker, self.begun);
                self.begun += 1;
                none.insert(OpenFile::new(self.numbers.take()?, path, self.layout.columns())?)
            }
        };
        let place = Place { file: file.id(), row: file.push(row)? };
        if self.layout.full(file) {
            self.close()?;
        }
        Ok(place)
    }

    /// Deletes the row at `slot` from its file, if it is in one.
    fn delete(&mut self, slot: u32) {
        self.deleted.extend(self.slots.in_file(slot));
    }

    /// Stops rewriting, for ever: from here on rows are appended and deleted one by one.
    fn switch_to_append(&mut self) -> Result<()> {
        let Some(buffer) = self.buffer.take() else { return Ok(()) };
        for (slot, row) in buffer.rows() {
            if self.slots.is_unplaced(slot) {
                let place = self.append(row)?;
                self.slots.put(slot, place);
            }
        }
        Ok(())
    }

    /// Rewrites all rows of the buffer, if any has changed. Returns the files that are replaced.
    fn rewrite(&mut self) -> Result<Vec<u32>> {
        let Some(mut buffer) = self.buffer.take_if(|buffer| buffer.changed) else {
            return Ok(Vec::new());
        };
        self.deleted.extend(self.slots.all_in_files().map(|(_, place)| place));
        self.deleted.retain(|place| !buffer.own.contains(&place.file));
        for (slot, row) in buffer.rows() {
            let place = self.append(row)?;
            self.slots.put(slot, place);
        }
        self.close()?;
        buffer.changed = false;
        let own = self.closed.iter().map(|file| file.entry.id).collect();
        let replaced = std::mem::replace(&mut buffer.own, own);
        self.buffer = Some(buffer);
        Ok(replaced)
    }

    fn close(&mut self) -> Result<()> {
        if let Some(file) = self.open.take() {
            self.closed.push(file.finish()?);
        }
        Ok(())
    }
}

impl Writer for DeltaWriter {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        if self.layout.schema.mode == Mode::Append {
            return self.append(row).map(|_| ());
        }
        self.delete(slot);
        let Some(buffer) = &mut self.buffer else {
            let place = self.append(row)?;
            self.slots.put(slot, place);
            return Ok(());
        };
        self.slots.put(slot, UNPLACED);
        buffer.put(slot, row);
        if buffer.outgrown(self.slots.rows(), &self.layout) {
            self.switch_to_append()?;
        }
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        self.delete(slot);
        if self.slots.take(slot)
            && let Some(buffer) = &mut self.buffer
        {
            buffer.take(slot);
        }
    }

    fn stage(&mut self) -> Result<Option<Part>> {
        let replaced = self.rewrite()?;
        self.close()?;
        let (files, deleted) =
            (std::mem::take(&mut self.closed), std::mem::take(&mut self.deleted));
        if files.is_empty() && deleted.is_empty() && replaced.is_empty() {
            return Ok(None);
        }
        Changes::part(files, &deleted, replaced, self.buffer.is_some()).map(Some)
    }
}
