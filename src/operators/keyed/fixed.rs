//! Windows of fixed bounds: tumbling, hopping, unlimited, and those of a program.

use std::rc::Rc;

use super::accumulate::Accumulate;
use super::window::{Ends, PartOf, SavedWindow, Window, WindowRow, restore, window_of};
use super::{Call, Logic, Timed};
use crate::operators::datum::Datum;
use crate::time::Timestamp;

/// Calls its second argument with the bounds of each window of a timestamp.
pub(crate) type Assign = Rc<dyn Fn(Timestamp, &mut dyn FnMut(Timestamp, Timestamp))>;

/// Aggregates the values of each key by windows that depend on the timestamp alone.
pub(crate) struct Fixed<A> {
    pub(crate) aggregate: A,
    pub(crate) assign: Assign,
    pub(crate) ends: Ends,
}

impl<K: Datum, X: Datum, A: Accumulate<X>> Logic<K, X> for Fixed<A> {
    /// The windows in the order of their starts and ends.
    type State = Vec<Window<A::State>>;
    type Part = PartOf<A::Part>;
    type Row = SavedWindow<A::Row>;
    type Out = WindowRow<K, A::Name, A::Out>;

    fn is_ordered(&self) -> bool {
        self.aggregate.is_ordered()
    }

    fn restore(
        &self,
        windows: &mut Self::State,
        part: Self::Part,
        row: Self::Row,
        call: &mut Call,
    ) {
        restore(windows, &self.aggregate, &self.ends, part, row, call);
    }

    fn input(&self, _: &K, windows: &mut Self::State, input: Timed<X>, call: &mut Call) {
        (self.assign)(input.timestamp, &mut |start, end| {
            if self.ends.close(end).is_some_and(|close| close <= input.partition_time) {
                call.late();
                return;
            }
            let before = windows.len();
            let window = window_of(windows, &self.aggregate, start, end);
            window.add(&self.aggregate, &input);
            let is_new = windows.len() > before;
            if is_new && let Some(close) = self.ends.close(end) {
                call.wake_at(close);
            }
        });
    }

    fn expire(&self, _: &K, windows: &mut Self::State, watermark: Timestamp, call: &mut Call) {
        windows.iter_mut().for_each(|window| window.expire(&self.ends, watermark, call));
    }

    fn close(
        &self,
        key: &K,
        windows: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(Self::Part, Option<Self::Row>),
    ) {
        windows.iter_mut().for_each(|it| it.close(&self.aggregate, &self.ends, key, emit, save));
        windows.retain(|window| !window.forgets);
    }

    fn is_empty(&self, windows: &Self::State) -> bool {
        windows.is_empty()
    }
}
