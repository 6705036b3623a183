//! One worker's part of a table while a run recovers.

use std::sync::Arc;

use crate::connect::{FoundRows, Recovered, Recovering};
use crate::error::{Error, Result};
use crate::row::{Row, RowKey};

use super::index::{Index, Places};
use super::layout::Layout;
use super::slots::{RewriteBuffer, Slots, UNPLACED};
use super::writer::DeltaWriter;

/// Looks up the place of each row in the table by the key of the row.
pub(super) struct DeltaRecovery {
    layout: Arc<Layout>,
    worker: usize,
    index: Arc<Index>,
    /// The index, once a row was looked up.
    places: Option<Places>,
    key: RowKey,
    /// The places of the rows. A row that the table lacks is unplaced.
    slots: Slots,
    buffer: Option<RewriteBuffer>,
}

impl DeltaRecovery {
    pub(super) fn new(layout: Arc<Layout>, worker: usize, index: Arc<Index>) -> Self {
        let buffer = (layout.rewrite_below > 0).then(RewriteBuffer::default);
        let (key, slots) = (index.hasher(), Slots::default());
        DeltaRecovery { layout, worker, index, places: None, key, slots, buffer }
    }
}

impl Recovering for DeltaRecovery {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        let places = match &self.places {
            Some(places) => places,
            None => self.places.insert(self.index.places()?),
        };
        let key = self.key.of(self.layout.schema.key, row);
        self.slots.put(slot, places.get(&key).copied().unwrap_or(UNPLACED));
        if let Some(buffer) = &mut self.buffer {
            buffer.put(slot, row);
            if buffer.outgrown(self.slots.rows(), &self.layout) {
                self.buffer = None;
            }
        }
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
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
        if let Some(buffer) = &mut self.buffer {
            buffer.changed = false;
        }
        let found = FoundRows::count(self.slots.rows());
        let writer = DeltaWriter::new(self.layout, self.worker, self.slots, self.buffer);
        Ok(Recovered { writer: Box::new(writer), found })
    }
}
