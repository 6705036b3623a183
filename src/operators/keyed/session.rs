//! Sessions: windows that end when there is no record for longer than a gap.

use super::accumulate::Accumulate;
use super::window::{Ends, PartOf, SavedWindow, Window, WindowRow, restore};
use super::{Call, Logic, StreamTime, Timed};
use crate::operators::datum::Datum;
use crate::time::Timestamp;

/// Aggregates the values of each key by sessions.
///
/// A session closes when the watermark has passed its end by more than gap and grace. Until one
/// more gap has passed, a record that is not late may bridge it and a later session. Then the row
/// of the closed session is deleted, as that of an open one.
pub(crate) struct Session<A> {
    pub(crate) aggregate: A,
    /// Microseconds.
    pub(crate) gap: i64,
    pub(crate) ends: Ends,
    pub(crate) time: StreamTime,
}

/// The sessions of a key.
pub(crate) struct Sessions<S> {
    /// In the order of time.
    open: Vec<Window<S>>,
    /// Those that were merged with others in this epoch.
    merged: Vec<Window<S>>,
}

impl<S> Default for Sessions<S> {
    fn default() -> Self {
        Sessions { open: Vec::new(), merged: Vec::new() }
    }
}

impl<K: Datum, X: Datum, A: Accumulate<X>> Logic<K, X> for Session<A> {
    type State = Sessions<A::State>;
    type Part = PartOf<A::Part>;
    type Row = SavedWindow<A::Row>;
    type Out = WindowRow<K, A::Name, A::Out>;

    fn is_ordered(&self) -> bool {
        // Records of one epoch may extend and bridge sessions in any order, but the results of an
        // ordered aggregate depend on it.
        self.aggregate.is_ordered()
    }

    fn restore(&self, state: &mut Self::State, part: Self::Part, row: Self::Row, call: &mut Call) {
        restore(&mut state.open, &self.aggregate, &self.ends, part, row, call);
    }

    fn input(&self, _: &K, state: &mut Self::State, input: Timed<X>, call: &mut Call) {
        let at = input.timestamp;
        // A session near the record overlaps it by the gap. The others are before or after.
        let first = state.open.partition_point(|it| it.end < at.minus(self.gap));
        let last = state.open.partition_point(|it| it.start <= at.plus(self.gap)).max(first);
        let near = &state.open[first..last];
        let end = match self.time {
            StreamTime::Partitions => at,
            // Kafka also takes a late record that extends a session in time.
            StreamTime::Arrival => near.iter().map(|it| it.end).fold(at, Timestamp::max),
        };
        if self.ends.close(end).is_some_and(|close| close <= input.partition_time) {
            call.late();
            return;
        }
        // Kafka merges every session that it finds into a fresh one.
        if let [session] = near
            && (session.start..=session.end).contains(&at)
            && self.time == StreamTime::Partitions
        {
            state.open[first].add(&self.aggregate, &input);
            return;
        }
        let (start, end) =
            near.iter().fold((at, at), |(start, end), it| (it.start.min(start), it.end.max(end)));
        let mut session = Window::new(start, end, self.aggregate.fresh());
        for mut part in state.open.drain(first..last) {
            session.merge(&self.aggregate, &mut part);
            if (start, end) == (at, at) {
                // Its row is replaced.
                part.keep_rows();
            }
            state.merged.push(part);
        }
        session.add(&self.aggregate, &input);
        session.wake(&self.ends, call);
        state.open.insert(first, session);
    }

    fn expire(&self, _: &K, state: &mut Self::State, watermark: Timestamp, call: &mut Call) {
        state.open.iter_mut().for_each(|session| session.expire(&self.ends, watermark, call));
    }

    fn close(
        &self,
        key: &K,
        state: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(Self::Part, Option<Self::Row>),
    ) {
        // Kafka does not take back a row that it has emitted at the close of a session.
        let is_final = self.time == StreamTime::Arrival && self.ends.on_close;
        // Sessions that are merged go before the one that they are merged into is emitted: it may
        // have the bounds of one of them.
        for gone in state.merged.drain(..) {
            gone.unsave(&self.aggregate, save);
            if gone.is_shown() && !is_final {
                gone.retract(&self.aggregate, key, emit);
            }
        }
        state.open.iter_mut().for_each(|it| it.close(&self.aggregate, &self.ends, key, emit, save));
        state.open.retain(|session| !session.forgets);
    }

    fn is_empty(&self, state: &Self::State) -> bool {
        state.open.is_empty()
    }
}
