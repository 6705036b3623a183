//! The times of rows of which a group has several.

use super::row_times::RowTimes;
use super::{Call, Logic, Timed};
use crate::operators::datum::{Datum, Side};
use crate::time::Timestamp;

/// Makes the times of the rows of groups: a row that changes has the greatest ones of the changes
/// of its group in the same epoch. It keeps nothing between epochs.
///
/// An input on the left is a change of the group with its times. One on the right is a row that
/// comes or goes, and has no times.
pub(crate) struct RankedTimes;

/// The changes of a group in an epoch.
pub(crate) struct Changed<X> {
    touched: Option<RowTimes>,
    rows: Vec<X>,
}

impl<X> Default for Changed<X> {
    fn default() -> Self {
        Changed { touched: None, rows: Vec::new() }
    }
}

impl<G: Datum, X: Datum> Logic<G, Side<(), X>> for RankedTimes {
    type State = Changed<X>;
    type Part = ();
    type Row = ();
    type Out = ((G, X), Timed<()>);

    fn is_ordered(&self) -> bool {
        false
    }

    fn restore(&self, _: &mut Changed<X>, (): (), (): (), _: &mut Call) {}

    fn input(&self, _: &G, state: &mut Changed<X>, input: Timed<Side<(), X>>, _: &mut Call) {
        let times = RowTimes::of(&input);
        match input.value {
            Side::Left(()) => state.touched = Some(times.max(state.touched)),
            Side::Right(row) => state.rows.push(row),
        }
    }

    fn expire(&self, _: &G, _: &mut Changed<X>, _: Timestamp, _: &mut Call) {}

    fn close(
        &self,
        group: &G,
        state: &mut Changed<X>,
        emit: &mut dyn FnMut(Self::Out),
        _: &mut dyn FnMut((), Option<()>),
    ) {
        let Changed { touched, rows } = std::mem::take(state);
        // Rows that were restored have no touch, and are no changes.
        let Some(times) = touched else { return };
        rows.into_iter().for_each(|row| emit(((group.clone(), row), times.timed())));
    }

    fn is_empty(&self, state: &Changed<X>) -> bool {
        state.touched.is_none() && state.rows.is_empty()
    }
}
