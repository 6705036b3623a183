//! The values of groups, as a stream or a table has made them.

use std::cell::OnceCell;
use std::rc::Rc;

use timely::dataflow::StreamVec;

use crate::operators::{Datum, Diffs, Restored, Timed};
use crate::stream::Updates;
use crate::time::Epoch;

/// The values by group, as they were made.
#[derive(Clone)]
pub(super) enum Values<'s, G: Datum, X: Datum> {
    /// Of the rows of a table.
    Rows(Diffs<'s, (G, X)>),
    /// Of the records of a stream, with the diffs of them once a reader needs those.
    Records(Records<'s, G, X>, Rc<OnceCell<Diffs<'s, (G, X)>>>),
}

/// The grouped records of a stream.
#[derive(Clone)]
pub(crate) struct Records<'s, G: Datum, X: Datum> {
    /// Makes diffs of them, for aggregates that take values in any order.
    pub(crate) diffs: Rc<dyn Fn() -> Diffs<'s, (G, X)> + 's>,
    /// Makes values with positions and times of them.
    pub(crate) timed: Rc<dyn Fn() -> TimedRecords<'s, G, X> + 's>,
    pub(crate) updates: Updates,
    pub(crate) restored: Restored,
}

/// Values by group, with their positions and times.
pub(crate) type TimedRecords<'s, G, X> = StreamVec<'s, Epoch, (G, Timed<X>)>;
