//! The values of groups, as a stream or a table has made them.

use std::cell::OnceCell;
use std::rc::Rc;

use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use crate::operators::{Datum, Diffs, Restored, Timed};
use crate::stream::Updates;
use crate::table::MakeTouches;
use crate::time::Epoch;

/// The values by group, as they were made.
#[derive(Clone)]
pub(super) enum Values<'s, G: Datum, X: Datum> {
    /// Of the rows of a table, with the times of the records that touch groups, if the rows can
    /// have times.
    Rows(Diffs<'s, (G, X)>, Option<MakeTouches<'s, G>>),
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

impl<'s, G: Datum, X: Datum> Values<'s, G, X> {
    /// Returns a way to find the times of the records that touch groups; none if they have no
    /// times.
    pub(super) fn touches(&self) -> Option<MakeTouches<'s, G>> {
        match self {
            Values::Rows(_, touches) => touches.clone(),
            Values::Records(records, _) if records.updates == Updates::AppendOnly => {
                let timed = records.timed.clone();
                let times = move || timed().map(|(group, value)| (group, value.map(|_| ())));
                Some(Rc::new(times))
            }
            Values::Records(..) => None,
        }
    }
}
