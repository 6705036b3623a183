//! One worker's part of a table while a run recovers.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::connect::{FoundRows, Recovered, Recovering};
use crate::error::{Error, Result};
use crate::row::{Row, RowKey};

use super::index::{Index, KeyHash, Places, SHARDS, shard};
use super::layout::Layout;
use super::slots::{RewriteBuffer, Slots, UNPLACED};
use super::writer::DeltaWriter;

/// The number of keys that are looked up together: many in each shard of the index.
const LOOK_UPS: usize = 1 << 16;

/// Looks up the place of each row in the table by the key of the row. A row is either given with
/// its values or by its key alone. Only a writer of few rows needs values; then the missing ones
/// are read back from the table at the end.
pub(super) struct DeltaRecovery {
    layout: Arc<Layout>,
    worker: usize,
    index: Arc<Index>,
    /// The index, once a row was looked up.
    places: Option<Arc<Places>>,
    key: RowKey,
    /// Slots with the hashes of their keys, by shard of the index, to be looked up together.
    pending: Vec<Vec<(u32, KeyHash)>>,
    /// The number of pending slots.
    count: usize,
    /// The places of the rows. A row that the table lacks is unplaced.
    slots: Slots,
    /// The rows that were given with their values, while all rows are few.
    buffer: Option<RewriteBuffer>,
}

impl DeltaRecovery {
    pub(super) fn new(layout: Arc<Layout>, worker: usize, index: Arc<Index>) -> Self {
        let buffer = (layout.rewrite_below > 0).then(RewriteBuffer::default);
        let (key, slots) = (index.hasher(), Slots::default());
        DeltaRecovery {
            layout,
            worker,
            index,
            places: None,
            key,
            pending: vec![Vec::new(); SHARDS],
            count: 0,
            slots,
            buffer,
        }
    }

    /// Puts a row at `slot`, at the place that its key has in the table. `row` begins with the key.
    fn place(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        if self.places.is_none() {
            self.places = Some(self.index.places()?);
        }
        self.slots.put(slot, UNPLACED);
        let key = self.key.of(self.layout.schema.key, row);
        self.pending[shard(key)].push((slot, key));
        self.count += 1;
        if self.count >= LOOK_UPS {
            self.look_up();
        }
        Ok(())
    }

    /// Looks up the pending keys, shard by shard: the memory of a shard is in the caches then, and
    /// the processor loads that of several look-ups at once.
    fn look_up(&mut self) {
        let Some(places) = &self.places else { return };
        for (slot, key) in self.pending.iter_mut().flat_map(|shard| shard.drain(..)) {
            self.slots.put(slot, places.get(key).unwrap_or(UNPLACED));
        }
        self.count = 0;
    }

    /// Stops collecting values once the rows are no longer few.
    fn check_size(&mut self) {
        self.buffer.take_if(|buffer| buffer.outgrown(self.slots.rows(), &self.layout));
    }

    /// Reads the values of rows that were given by key alone, if the rows are few.
    fn read_values(&mut self) -> Result<()> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        let (slots, layout) = (&self.slots, &self.layout);
        let absent = slots.all_in_files().filter(|(slot, _)| !buffer.holds(*slot)).collect();
        self.index.read(layout.columns(), absent, &mut |slot, row| {
            buffer.put(slot, row);
            match buffer.outgrown(slots.rows(), layout) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        self.check_size();
        Ok(())
    }
}

impl Recovering for DeltaRecovery {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        self.place(slot, row)?;
        if let Some(buffer) = &mut self.buffer {
            buffer.put(slot, row);
        }
        self.check_size();
        Ok(())
    }

    fn restore(&mut self, slot: u32, key: &dyn Row) -> Result<()> {
        self.place(slot, key)?;
        self.check_size();
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        // Its key need not be in the table, so it may be left unplaced here.
        self.look_up();
        if self.slots.take(slot)
            && let Some(buffer) = &mut self.buffer
        {
            buffer.take(slot);
        }
    }

    fn skip(&mut self, _rows: u64) -> Result<()> {
        let topic = &self.layout.schema.topic;
        Err(Error::internal(format!("can't skip rows of the table of {topic}")))
    }

    fn finish(mut self: Box<Self>) -> Result<Recovered> {
        self.look_up();
        let missing = self.slots.unplaced();
        if missing > 0 {
            let topic = &self.layout.schema.topic;
            let message =
                format!("the table of {topic} lacks {missing} rows that were written to it");
            return Err(Error::data(message).hint(
                "Another program has changed the table. Restore it, or begin anew with an empty \
                 table and a new state.",
            ));
        }
        self.places = None;
        self.read_values()?;
        if let Some(buffer) = &mut self.buffer {
            buffer.changed = false;
        }
        let found = FoundRows::count(self.slots.rows());
        let writer = DeltaWriter::new(self.layout, self.worker, self.slots, self.buffer);
        Ok(Recovered { writer: Box::new(writer), found })
    }
}
