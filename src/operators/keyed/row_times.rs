//! The times of rows that are made of several rows: joined rows and aggregates.

use serde::{Deserialize, Serialize};

use super::{Call, Logic, Timed};
use crate::operators::datum::{Datum, Side};
use crate::record::{Order, Ordinal};
use crate::time::Timestamp;

/// The times of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct RowTimes {
    timestamp: Timestamp,
    partition_time: Timestamp,
}

impl RowTimes {
    pub(super) fn of<X>(input: &Timed<X>) -> Self {
        RowTimes { timestamp: input.timestamp, partition_time: input.partition_time }
    }

    /// Returns the greater times of both.
    pub(super) fn max(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        RowTimes {
            timestamp: self.timestamp.max(other.timestamp),
            partition_time: self.partition_time.max(other.partition_time),
        }
    }

    /// Returns the times of a touch that is later than all with lesser timestamps.
    pub(super) fn as_last(self) -> Timed<()> {
        let order = Order { offset: self.timestamp.place(), ..Order::default() };
        Timed { order, ..self.timed() }
    }

    pub(super) fn timed(self) -> Timed<()> {
        let (order, ordinal) = (Order::default(), Ordinal::default());
        let RowTimes { timestamp, partition_time } = self;
        Timed { order, ordinal, timestamp, partition_time, value: () }
    }
}

/// Makes the times of joined rows: the greater ones of a change and of the partner that stands.
///
/// An input is the change of a row of one side, and true if the row stands.
pub(crate) struct JoinedTimes;

/// The times of the rows of a key that stand.
#[derive(Default)]
pub(crate) struct Partners {
    left: Option<RowTimes>,
    right: Option<RowTimes>,
    /// The times of the changes in this epoch, also of rows that were deleted.
    touched: Option<RowTimes>,
}

impl<K: Datum> Logic<K, Side<bool, bool>> for JoinedTimes {
    type State = Partners;
    /// True for the left row.
    type Part = bool;
    type Row = RowTimes;
    type Out = (K, Timed<()>);

    fn is_ordered(&self) -> bool {
        // A key has one change of each side in an epoch.
        false
    }

    fn restore(&self, state: &mut Partners, is_left: bool, row: RowTimes, _: &mut Call) {
        let side = if is_left { &mut state.left } else { &mut state.right };
        *side = Some(row);
    }

    fn input(&self, _: &K, state: &mut Partners, input: Timed<Side<bool, bool>>, _: &mut Call) {
        let times = RowTimes::of(&input);
        let (side, stands) = match input.value {
            Side::Left(stands) => (&mut state.left, stands),
            Side::Right(stands) => (&mut state.right, stands),
        };
        *side = stands.then_some(times);
        state.touched = Some(times.max(state.touched));
    }

    fn expire(&self, _: &K, _: &mut Partners, _: Timestamp, _: &mut Call) {}

    fn close(
        &self,
        key: &K,
        state: &mut Partners,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(bool, Option<RowTimes>),
    ) {
        let Some(touched) = state.touched.take() else { return };
        emit((key.clone(), touched.max(state.left).max(state.right).timed()));
        save(true, state.left);
        save(false, state.right);
    }

    fn is_empty(&self, state: &Partners) -> bool {
        state.left.is_none() && state.right.is_none()
    }
}

/// Makes the times of aggregates: the greatest ones of the changes since the group has had a row.
///
/// An input on the left is a change with its times. One on the right is true if the group has a row
/// from now on, and has no times.
pub(crate) struct GroupedTimes;

/// The times of a group.
#[derive(Default)]
pub(crate) struct Group {
    times: Option<RowTimes>,
    is_touched: bool,
    stands: bool,
}

impl<K: Datum> Logic<K, Side<(), bool>> for GroupedTimes {
    type State = Group;
    type Part = ();
    type Row = RowTimes;
    type Out = (K, Timed<()>);

    fn is_ordered(&self) -> bool {
        false
    }

    fn restore(&self, state: &mut Group, (): (), row: RowTimes, _: &mut Call) {
        (state.times, state.stands) = (Some(row), true);
    }

    fn input(&self, _: &K, state: &mut Group, input: Timed<Side<(), bool>>, _: &mut Call) {
        match input.value {
            Side::Left(()) => {
                state.times = Some(RowTimes::of(&input).max(state.times));
                state.is_touched = true;
            }
            Side::Right(stands) => state.stands = stands,
        }
    }

    fn expire(&self, _: &K, _: &mut Group, _: Timestamp, _: &mut Call) {}

    fn close(
        &self,
        key: &K,
        state: &mut Group,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut((), Option<RowTimes>),
    ) {
        let Some(times) = state.times else { return };
        let is_touched = std::mem::take(&mut state.is_touched);
        if is_touched {
            emit((key.clone(), times.timed()));
        }
        if !state.stands {
            state.times = None;
        }
        if is_touched || !state.stands {
            save((), state.times);
        }
    }

    fn is_empty(&self, state: &Group) -> bool {
        state.times.is_none() && !state.stands
    }
}
