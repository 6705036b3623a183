//! A full copy of a table on each worker.

use differential_dataflow::AsCollection;
use timely::dataflow::operators::vec::Broadcast;

use super::datum::{Datum, Diffs};

/// Copies diffs to all workers. The diffs of a key stay in their order.
pub(crate) fn broadcast<'s, D: Datum>(rows: Diffs<'s, D>) -> Diffs<'s, D> {
    if rows.inner.scope().peers() == 1 {
        return rows;
    }
    rows.inner.broadcast().as_collection()
}
