//! Windows of fixed bounds: tumbling, hopping, unlimited, and those of a program.

use std::rc::Rc;

use super::accumulate::Accumulate;
use super::window::{Ends, PartOf, SavedWindow, Window, WindowRow};
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
        let (start, end, part) = part;
        let is_head = part.is_none();
        let window = self.window(windows, start, end);
        window.restore(&self.aggregate, part, row, &self.ends);
        if is_head {
            window.wake(&self.ends, call);
        }
    }

    fn input(&self, _: &K, windows: &mut Self::State, input: Timed<X>, call: &mut Call) {
        (self.assign)(input.timestamp, &mut |start, end| {
            if self.ends.close(end).is_some_and(|close| close <= input.partition_time) {
                call.late();
                return;
            }
            let before = windows.len();
            let window = self.window(windows, start, end);
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

impl<A> Fixed<A> {
    /// Returns the window of these bounds, which may be new.
    fn window<'w, X, S>(
        &self,
        windows: &'w mut Vec<Window<S>>,
        start: Timestamp,
        end: Timestamp,
    ) -> &'w mut Window<S>
    where
        A: Accumulate<X, State = S>,
    {
        // Most records belong to the last windows.
        let bounds = |window: &Window<S>| (window.start, window.end);
        let at = match windows.last() {
            Some(last) if bounds(last) == (start, end) => windows.len() - 1,
            _ => match windows.binary_search_by_key(&(start, end), bounds) {
                Ok(at) => at,
                Err(at) => {
                    windows.insert(at, Window::new(start, end, self.aggregate.fresh()));
                    at
                }
            },
        };
        &mut windows[at]
    }
}
