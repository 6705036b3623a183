//! The frame of operators that keep durable state by key and use event time: windows, sessions,
//! joins of streams, suppression.
//!
//! A [`Logic`] handles the inputs of one key, and is called again when a time has come that it has
//! requested. The frame routes inputs to the owners of their keys, orders them, observes the
//! watermark, saves changed state in a cut, and loads it after a restart. So results depend on the
//! positions and timestamps of records only, and not on batches, workers or restarts.

mod accumulate;
mod fixed;
mod newest;
mod pairs;
mod ranked_times;
mod referred_times;
mod row_times;
mod session;
mod sliding;
mod sliding_by_arrival;
mod stream_clock;
mod suppress;
mod temporal;
mod window;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::operate::FrontierInterest;

use super::cut::StateCut;
use super::datum::Datum;
use super::owners::{Fail, Owners};
use super::seeds::Map;
use super::watermarks::ClosedTimes;
use crate::error::Error;
use crate::faults;
use crate::metrics::Meter;
use crate::record::{Order, Ordinal, PartitionId};
use crate::time::{Epoch, Timestamp};

pub(crate) use accumulate::{Accumulate, Bagged, Folding};
pub(crate) use fixed::Fixed;
pub(crate) use newest::{Newest, Version};
pub(crate) use pairs::{PairJoiner, Pairs, Place, Reach, SideTimes, Waiting};
pub(crate) use ranked_times::RankedTimes;
pub(crate) use referred_times::{Reference, ReferredTimes};
pub(crate) use row_times::{GroupedTimes, JoinedTimes, RowTimes};
pub(crate) use session::Session;
pub(crate) use sliding::{SavedSliding, Sliding, sliding_start};
pub(crate) use stream_clock::{StreamClock, StreamTime};
pub(crate) use suppress::{Limit, Since, Suppress, Waits, WhenFull};
pub(crate) use temporal::Temporal;
pub(crate) use window::{Ends, PartOf, SavedWindow, WindowRow};

/// A value with its position and its times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Timed<X> {
    pub(crate) order: Order,
    pub(crate) ordinal: Ordinal,
    pub(crate) timestamp: Timestamp,
    /// The greatest timestamp of its partition up to its position.
    pub(crate) partition_time: Timestamp,
    pub(crate) value: X,
}

impl<X> Timed<X> {
    /// Returns another value at the same position and times.
    pub(crate) fn map<Y>(self, f: impl FnOnce(X) -> Y) -> Timed<Y> {
        let Timed { order, ordinal, timestamp, partition_time, value } = self;
        Timed { order, ordinal, timestamp, partition_time, value: f(value) }
    }
}

/// The state of an operator by key, and the changes of it. `I` is an input and `O` a result.
pub(crate) trait Logic<K: Datum, I>: 'static {
    /// The state of a key in memory.
    type State: Default;
    /// The name of a part of the state of a key.
    type Part: Datum;
    /// The saved content of a part.
    type Row: Datum;
    type Out: Clone + 'static;

    /// Returns true if the inputs of an epoch must be handled in the order of their positions.
    /// Otherwise they are handled as they arrive.
    fn is_ordered(&self) -> bool;

    /// Returns true if an input moves stream time, where its arrival does.
    fn moves_time(&self, _: &I) -> bool {
        true
    }

    /// Adds a saved part to the state.
    fn restore(&self, state: &mut Self::State, part: Self::Part, row: Self::Row, call: &mut Call);

    /// Handles an input of a key.
    fn input(&self, key: &K, state: &mut Self::State, input: Timed<I>, call: &mut Call);

    /// Handles the times that have come: the watermark is now `watermark`. Called for each key that
    /// has requested a time up to it. Results are emitted by [`close`](Self::close), which follows.
    fn expire(&self, key: &K, state: &mut Self::State, watermark: Timestamp, call: &mut Call);

    /// Ends an epoch in which the key had inputs or expired: emits results and saves changed parts.
    fn close(
        &self,
        key: &K,
        state: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(Self::Part, Option<Self::Row>),
    );

    /// Returns true if the state is that of a new key.
    fn is_empty(&self, state: &Self::State) -> bool;
}

/// The requests of a [`Logic`] during a call.
pub(crate) struct Call {
    now: Timestamp,
    wakes: Vec<Timestamp>,
    /// The partition and partition time of the input.
    input: (PartitionId, Timestamp),
    /// Those of the records that are late, once for each window.
    late: Vec<(PartitionId, Timestamp)>,
    fail: Fail,
}

impl Call {
    fn new(now: Timestamp, fail: Fail) -> Self {
        let input = (PartitionId::default(), Timestamp::MIN);
        Call { now, wakes: Vec::new(), input, late: Vec::new(), fail }
    }

    /// Requests a call of [`Logic::expire`] when the watermark has reached `at`.
    pub(crate) fn wake_at(&mut self, at: Timestamp) {
        self.wakes.push(at);
    }

    /// Returns the stream time: the last watermark, or the greatest timestamp that has arrived.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Ends the run with an error.
    pub(crate) fn fail(&self, error: Error) {
        (self.fail)(error);
    }

    /// Counts a record that is too late for a window.
    pub(crate) fn late(&mut self) {
        self.late.push(self.input);
    }
}

/// The state of a key, and whether it was touched in the open epoch.
struct Entry<S> {
    state: S,
    touched: bool,
}

/// The inputs of an epoch that is not closed.
struct Held<T> {
    capability: Capability<Epoch>,
    inputs: Vec<Vec<T>>,
    watermark: Option<Timestamp>,
}

/// All state of the operator on one worker.
struct Keyed<K: Datum, I, L: Logic<K, I>> {
    logic: L,
    time: StreamTime,
    entries: Map<K, Entry<L::State>>,
    touched: Vec<K>,
    timers: BTreeMap<Timestamp, Vec<K>>,
    clock: StreamClock,
    call: Call,
    closed: ClosedTimes,
    meter: Meter,
    inputs: std::marker::PhantomData<I>,
}

impl<K: Datum, I, L: Logic<K, I>> Keyed<K, I, L> {
    fn restore(&mut self, key: K, part: L::Part, row: L::Row) {
        let fresh = || Entry { state: L::State::default(), touched: false };
        let entry = self.entries.entry(key.clone()).or_insert_with(fresh);
        self.logic.restore(&mut entry.state, part, row, &mut self.call);
        self.take_wakes(&key);
    }

    fn take_wakes(&mut self, key: &K) {
        for at in self.call.wakes.drain(..) {
            self.timers.entry(at).or_default().push(key.clone());
        }
    }

    fn input(&mut self, key: K, mut input: Timed<I>) {
        if self.time == StreamTime::Arrival {
            if self.logic.moves_time(&input.value) {
                self.clock.observe(input.timestamp);
            }
            (input.partition_time, self.call.now) = (self.clock.now(), self.clock.now());
        }
        self.call.input = (input.order.partition_id(), input.partition_time);
        match self.entries.get_mut(&key) {
            Some(entry) => {
                self.logic.input(&key, &mut entry.state, input, &mut self.call);
                if !self.call.wakes.is_empty() {
                    self.take_wakes(&key);
                }
                let Some(entry) = self.entries.get_mut(&key) else { return };
                if !entry.touched {
                    entry.touched = true;
                    self.touched.push(key);
                }
            }
            None => {
                let mut entry = Entry { state: L::State::default(), touched: true };
                self.logic.input(&key, &mut entry.state, input, &mut self.call);
                self.take_wakes(&key);
                self.entries.insert(key.clone(), entry);
                self.touched.push(key);
            }
        }
    }

    fn expire(&mut self, watermark: Option<Timestamp>) {
        let Some(watermark) = watermark else { return };
        self.call.now = watermark;
        while let Some(first) = self.timers.first_entry()
            && *first.key() <= watermark
        {
            for key in first.remove() {
                let Some(entry) = self.entries.get_mut(&key) else { continue };
                self.logic.expire(&key, &mut entry.state, watermark, &mut self.call);
                let touched = std::mem::replace(&mut entry.touched, true);
                self.take_wakes(&key);
                if !touched {
                    self.touched.push(key);
                }
            }
        }
    }

    fn close(&mut self, epoch: Epoch, cut: Option<&StateCut>, out: &mut Vec<L::Out>) {
        let mut saved = Vec::new();
        for key in self.touched.drain(..) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.touched = false;
            let (emit, save) = (&mut |result| out.push(result), &mut |part, row| {
                if cut.is_some() {
                    saved.push((part, row));
                }
            });
            self.logic.close(&key, &mut entry.state, emit, save);
            let is_empty = self.logic.is_empty(&entry.state);
            let is_lost = faults::bug("lost_part") && saved.len() > 1;
            if let Some(cut) = cut.filter(|_| !saved.is_empty() && !is_lost) {
                cut.put(epoch, &key, saved.drain(..));
            }
            if is_empty {
                self.entries.remove(&key);
            }
        }
        let late = std::mem::take(&mut self.call.late);
        let is_closed = |(partition, time): &&_| self.closed.explain(*partition, *time);
        self.meter.late(epoch, late.len(), late.iter().filter(is_closed).count());
    }
}

/// The parts of an operator that do not depend on its logic.
pub(crate) struct Setting {
    pub(crate) owners: Owners,
    pub(crate) meter: Meter,
    pub(crate) time: StreamTime,
    pub(crate) cut: Option<StateCut>,
    /// The cut of the greatest timestamp that has reached the operator, if that is its stream time.
    pub(crate) clock: Option<StateCut>,
    pub(crate) closed: ClosedTimes,
}

/// Runs `logic` over inputs by key. `watermarks` are those of the step, on each worker; a watermark
/// holds from the close of its epoch on.
pub(crate) fn keyed<'s, K: Datum, I: Datum, L: Logic<K, I>>(
    inputs: StreamVec<'s, Epoch, (K, Timed<I>)>,
    watermarks: StreamVec<'s, Epoch, Timestamp>,
    name: &str,
    setting: Setting,
    logic: L,
) -> StreamVec<'s, Epoch, L::Out> {
    let Setting { owners, meter, time, cut, clock, closed } = setting;
    let seeds = owners.seeds();
    let scope = inputs.scope();
    let is_owner = owners.check(name, scope.index(), scope.peers());
    let mut builder = OperatorBuilder::new(name.to_string(), scope);
    let route = move |(key, _): &(K, Timed<I>)| seeds.route(key);
    let mut inputs = builder.new_input(inputs, Exchange::new(route));
    let mut watermarks = builder.new_input(watermarks, Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<L::Out>>>::from(output);
    (0..2).for_each(|input| builder.set_notify_for(input, FrontierInterest::IfCapability));
    let (is_ordered, clock) = (logic.is_ordered(), StreamClock::new(clock));
    let mut state = Keyed {
        logic,
        time,
        entries: seeds.map(),
        touched: Vec::new(),
        timers: BTreeMap::new(),
        call: Call::new(clock.now(), owners.fail()),
        closed,
        clock,
        meter: meter.clone(),
        inputs: std::marker::PhantomData,
    };
    if let Some(cut) = &cut {
        cut.load(|key, part, row| state.restore(key, part, row));
    }
    builder.build(move |_| {
        let mut held: BTreeMap<Epoch, Held<(K, Timed<I>)>> = BTreeMap::new();
        move |frontiers| {
            let fresh = |time: InputCapability<Epoch>| Held {
                capability: time.retain(0),
                inputs: Vec::new(),
                watermark: None,
            };
            inputs.for_each(|time, data| {
                if data.first().is_some_and(|(key, _)| !is_owner(seeds.route(key))) {
                    return;
                }
                let at = *time.time();
                let held = held.entry(at).or_insert_with(|| fresh(time));
                held.inputs.push(std::mem::take(data));
            });
            watermarks.for_each(|time, data| {
                let at = *time.time();
                let held = held.entry(at).or_insert_with(|| fresh(time));
                held.watermark = held.watermark.max(data.drain(..).max());
            });
            let open = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
            while let Some(mut first) = held.first_entry() {
                let epoch = *first.key();
                if open.is_some_and(|open| open < epoch) {
                    break;
                }
                let is_closed = open != Some(epoch);
                if !is_ordered || is_closed {
                    let parts = std::mem::take(&mut first.get_mut().inputs);
                    let rows = parts.iter().map(Vec::len).sum();
                    meter.count(rows, 0);
                    if is_ordered {
                        let mut all: Vec<_> = parts.into_iter().flatten().collect();
                        all.sort_by(|(_, one), (_, other)| match state.time {
                            StreamTime::Partitions => {
                                (one.order, &one.ordinal).cmp(&(other.order, &other.ordinal))
                            }
                            // The changes of a record stay in the order in which they are made.
                            StreamTime::Arrival => one.order.cmp(&other.order),
                        });
                        all.into_iter().for_each(|(key, input)| state.input(key, input));
                    } else {
                        let all = parts.into_iter().flatten();
                        all.for_each(|(key, input)| state.input(key, input));
                    }
                }
                if !is_closed {
                    break;
                }
                let Held { capability, watermark, .. } = first.remove();
                state.expire(match state.time {
                    StreamTime::Partitions => watermark.max(Some(state.call.now)),
                    StreamTime::Arrival => Some(state.clock.now()),
                });
                let mut out = Vec::new();
                state.close(epoch, cut.as_ref(), &mut out);
                state.clock.save(epoch);
                meter.count(0, out.len());
                if !out.is_empty() {
                    output.activate().session(&capability).give_container(&mut out);
                }
            }
        }
    });
    stream
}
