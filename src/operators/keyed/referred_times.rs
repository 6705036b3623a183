//! The times of rows that are joined with the rows to which they refer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row_times::RowTimes;
use super::{Call, Logic, Timed};
use crate::operators::datum::{Datum, Side};
use crate::time::Timestamp;

/// Makes the times of left rows that are joined by a foreign key: the greater ones of a change and
/// of the other row. A right row to which none refers has the greatest ones of all changes.
///
/// The operator is keyed by the foreign key. An input on the left is the key of a left row, with
/// what its change did. One on the right is true if the right row stands.
pub(crate) struct ReferredTimes {
    /// As in Kafka, the change of a right row passes its own times on, even if they are the lesser.
    pub(crate) is_per_record: bool,
}

/// The change of a left row, for a foreign key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Reference {
    /// The row refers to the foreign key.
    Stands,
    /// The row does not refer to the foreign key any more.
    Moved,
    /// The row was deleted. Its deletion has the greater times of the left and the right row.
    Deleted,
}

/// The times of a right row and of the left rows that refer to it.
pub(crate) struct Referring<K> {
    right: Option<RowTimes>,
    /// The times of the change of the right row in this epoch, also of its deletion.
    right_touched: Option<RowTimes>,
    lefts: BTreeMap<K, RowTimes>,
    /// The changes of left rows in this epoch, with their times.
    lefts_touched: BTreeMap<K, (Reference, RowTimes)>,
}

impl<K> Default for Referring<K> {
    fn default() -> Self {
        let (lefts, lefts_touched) = (BTreeMap::new(), BTreeMap::new());
        Referring { right: None, right_touched: None, lefts, lefts_touched }
    }
}

impl<F: Datum, K: Datum> Logic<F, Side<(K, Reference), bool>> for ReferredTimes {
    type State = Referring<K>;
    /// The key of a left row; none for the right row.
    type Part = Option<K>;
    type Row = RowTimes;
    /// The foreign key with the key of a left row, or none for the right row.
    type Out = (F, Option<K>, Timed<()>);

    fn is_ordered(&self) -> bool {
        // A row has one change in an epoch.
        false
    }

    fn restore(&self, state: &mut Self::State, part: Option<K>, row: RowTimes, _: &mut Call) {
        match part {
            Some(left) => _ = state.lefts.insert(left, row),
            None => state.right = Some(row),
        }
    }

    fn input(
        &self,
        _: &F,
        state: &mut Self::State,
        input: Timed<Side<(K, Reference), bool>>,
        _: &mut Call,
    ) {
        let times = RowTimes::of(&input);
        match input.value {
            Side::Left((left, reference)) => {
                if reference == Reference::Stands {
                    state.lefts.insert(left.clone(), times);
                } else {
                    state.lefts.remove(&left);
                }
                state.lefts_touched.insert(left, (reference, times));
            }
            Side::Right(stands) => {
                (state.right, state.right_touched) = (stands.then_some(times), Some(times));
            }
        }
    }

    fn expire(&self, _: &F, _: &mut Self::State, _: Timestamp, _: &mut Call) {}

    fn close(
        &self,
        foreign: &F,
        state: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(Option<K>, Option<RowTimes>),
    ) {
        let mut emit = |left: Option<K>, times: RowTimes| {
            emit((foreign.clone(), left, times.as_last()));
        };
        let right_touched = state.right_touched.take();
        let right = right_touched.or(state.right);
        let touched = state.lefts_touched.values().map(|(_, times)| *times);
        let touched = touched.reduce(|all, times| all.max(Some(times)));
        if let (Some(times), _) | (None, Some(times)) = (touched, right_touched) {
            emit(None, times.max(right));
        }
        if let Some(change) = right_touched {
            save(None, state.right);
            for (left, times) in &state.lefts {
                let times = if self.is_per_record { change } else { change.max(Some(*times)) };
                emit(Some(left.clone()), times);
            }
        }
        for (left, (reference, times)) in std::mem::take(&mut state.lefts_touched) {
            let other = right.filter(|_| reference != Reference::Moved);
            emit(Some(left.clone()), times.max(other));
            let row = state.lefts.get(&left).copied();
            save(Some(left), row);
        }
    }

    fn is_empty(&self, state: &Self::State) -> bool {
        state.right.is_none() && state.lefts.is_empty()
    }
}
