//! Decoding: the batches of a [`InputQueue`] become a stream, and records that can't be decoded
//! become dead letters.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::{Scope, StreamVec};

use super::input_queue::{ClockEvent, InputQueue, Item, Next, Stamped};
use crate::operators::{Clock, ClockChange, to_all_workers};
use crate::record::Record;
use crate::serdes::Reject;
use crate::time::{Epoch, Timestamp};

/// Decodes a record into items of a stream, and returns its timestamp. A record that can't be used
/// is rejected.
pub(crate) type Decode<D> =
    Box<dyn FnMut(&Record<'_>, TimeBefore, &mut Vec<D>) -> Result<Option<Timestamp>, Reject>>;

/// Makes a dead letter of a record that can't be decoded.
pub(crate) type Letter<L> = Box<dyn Fn(&Record<'_>, Reject) -> L>;

/// The partition time before a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeBefore {
    /// No step uses the time of the topic.
    Untimed,
    /// The greatest timestamp of the partition so far, if there is one.
    Timed(Option<Timestamp>),
}

impl TimeBefore {
    /// Returns the partition time of a record with this timestamp; the least timestamp if the topic
    /// is untimed.
    ///
    /// # Errors
    /// When a record of a timed topic has no timestamp.
    pub(crate) fn after(self, timestamp: Option<Timestamp>) -> Result<Timestamp, Reject> {
        match (self, timestamp) {
            (TimeBefore::Untimed, _) => Ok(Timestamp::MIN),
            (TimeBefore::Timed(before), Some(timestamp)) => {
                Ok(before.map_or(timestamp, |before| before.max(timestamp)))
            }
            (TimeBefore::Timed(_), None) => {
                Err(Reject::new("no timestamp", "the topology uses the time of this topic"))
            }
        }
    }
}

/// The streams of a topic.
pub(crate) struct Decoding<'s, D, L> {
    pub(crate) items: StreamVec<'s, Epoch, D>,
    pub(crate) letters: StreamVec<'s, Epoch, L>,
    /// The changes of the clocks of a timed topic, on all workers.
    pub(crate) clocks: Option<StreamVec<'s, Epoch, ClockChange>>,
}

/// The number of bytes that are decoded before other operators of the worker get their turn.
const TURN_BYTES: usize = 64 << 10;
/// The number of records that are decoded before their results are sent. A batch of records without
/// bytes may hold very many.
const MESSAGE_RECORDS: usize = 8192;

/// Decodes the batches of `queue`, the input queue of the topic of this rank. Without a queue, in a
/// dataflow that is only built for its plan, the streams are empty. Calls
/// `done(epoch, records, rejected, bytes)` after each batch.
pub(crate) fn source<'s, D: Clone + 'static, L: Clone + 'static>(
    scope: Scope<'s, Epoch>,
    name: &str,
    topic: u16,
    queue: Option<Arc<InputQueue>>,
    mut decode: Decode<D>,
    letter: Letter<L>,
    mut done: Box<dyn FnMut(Epoch, usize, usize, usize)>,
) -> Decoding<'s, D, L> {
    let mut builder = OperatorBuilder::new(name.to_string(), scope);
    let address = builder.operator_info().address;
    let (items, item_stream) = builder.new_output::<Vec<D>>();
    let (rejects, reject_stream) = builder.new_output::<Vec<L>>();
    let mut items = OutputBuilder::<_, CapacityContainerBuilder<Vec<D>>>::from(items);
    let mut rejects = OutputBuilder::<_, CapacityContainerBuilder<Vec<L>>>::from(rejects);
    let is_timed = queue.as_ref().is_some_and(|queue| queue.is_timed());
    let (clock_output, clock_stream) =
        is_timed.then(|| builder.new_output::<Vec<ClockChange>>()).unzip();
    let mut clock_output =
        clock_output.map(OutputBuilder::<_, CapacityContainerBuilder<Vec<ClockChange>>>::from);
    if let Some(queue) = &queue {
        queue.activate_on_change(scope.worker().sync_activator_for(address.to_vec()));
    }
    let (again, worker) = (scope.activator_for(address), scope.index());
    builder.build(move |capabilities| {
        let mut held: Vec<Capability<Epoch>> = capabilities;
        let (mut out, mut bad, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        let mut clocks = Clocks { topic, times: BTreeMap::new() };
        move |_frontiers| {
            let Some(queue) = &queue else {
                held.clear();
                return;
            };
            if held.is_empty() {
                return;
            }
            // The close of an epoch is often queued right behind its last batch. Handling both in
            // one activation saves a round on every worker.
            let mut taken = 0;
            while taken < TURN_BYTES {
                let Stamped { epoch, source, item } = match queue.next(worker) {
                    Next::Done => {
                        held.clear();
                        return;
                    }
                    Next::Empty(open) => {
                        held.iter_mut().for_each(|c| c.downgrade(&open));
                        return;
                    }
                    Next::Item(stamped) => stamped,
                };
                held.iter_mut().for_each(|c| c.downgrade(&epoch));
                match item {
                    Item::Clock { partition, event } => {
                        let id = (source, partition);
                        let floor = clocks.apply(id, event, &mut changes);
                        queue.times.note(epoch, id, floor);
                    }
                    Item::Batch { cost, batch } => {
                        let id = (source, batch.partition);
                        let mut time = clocks.before(is_timed, id);
                        out.reserve(batch.records.len().min(MESSAGE_RECORDS));
                        let (mut rejected, mut greatest) = (0, None);
                        for mut record in batch.iter(source) {
                            record.order.topic = topic;
                            let decoded = Reject::unless_whole(&record)
                                .and_then(|()| decode(&record, time, &mut out));
                            match decoded {
                                Ok(timestamp) => {
                                    greatest = timestamp.max(greatest);
                                    if let TimeBefore::Timed(time) = &mut time {
                                        *time = timestamp.max(*time);
                                    }
                                }
                                Err(reject) => {
                                    if !queue.is_letter_written(record.order) {
                                        bad.push(letter(&record, reject));
                                    }
                                    rejected += 1;
                                }
                            }
                            if out.len() + bad.len() >= MESSAGE_RECORDS {
                                send(&mut rejects, &held[1], &mut bad);
                                send(&mut items, &held[0], &mut out);
                            }
                        }
                        done(epoch, batch.records.len(), rejected, batch.bytes.len());
                        clocks.advance(id, time, &mut changes);
                        // This comes before the worker downgrades its capability. So once the epoch
                        // is completed, the timestamps of all its records are known.
                        queue.times.note(epoch, id, greatest);
                        queue.decoded(cost);
                        send(&mut rejects, &held[1], &mut bad);
                        send(&mut items, &held[0], &mut out);
                        taken += cost;
                    }
                }
                if let Some(output) = &mut clock_output {
                    send(output, &held[2], &mut changes);
                }
            }
            again.activate();
        }
    });
    let (items, letters) = (item_stream, reject_stream);
    Decoding { items, letters, clocks: clock_stream.map(to_all_workers) }
}

/// The partition times of a timed topic, as far as this worker decodes them.
struct Clocks {
    topic: u16,
    times: BTreeMap<(u16, u32), Option<Timestamp>>,
}

impl Clocks {
    /// Returns the partition time before a batch.
    fn before(&self, is_timed: bool, id: (u16, u32)) -> TimeBefore {
        match is_timed {
            true => TimeBefore::Timed(self.times.get(&id).copied().flatten()),
            false => TimeBefore::Untimed,
        }
    }

    /// Notes the partition time after a batch.
    fn advance(&mut self, id: (u16, u32), time: TimeBefore, changes: &mut Vec<ClockChange>) {
        if let TimeBefore::Timed(time) = time
            && self.times.get(&id) != Some(&time)
        {
            self.times.insert(id, time);
            changes.push(self.change(id, Clock::At(time)));
        }
    }

    /// Applies an event of a partition's clock. Returns the floor of its time.
    fn apply(
        &mut self,
        id: (u16, u32),
        event: ClockEvent,
        changes: &mut Vec<ClockChange>,
    ) -> Option<Timestamp> {
        match event {
            ClockEvent::Join { floor, closed } => {
                let time = self.times.entry(id).or_default();
                *time = floor.max(*time);
                let clock = Clock::Joined { time: *time, closed };
                changes.push(self.change(id, clock));
                floor
            }
            ClockEvent::Idle => {
                changes.push(self.change(id, Clock::Idle));
                None
            }
        }
    }

    fn change(&self, (source, partition): (u16, u32), clock: Clock) -> ClockChange {
        ClockChange { topic: self.topic, source, partition, clock }
    }
}

/// Sends the collected items as one message, if there are any.
fn send<D: Clone + 'static>(
    output: &mut OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>,
    capability: &Capability<Epoch>,
    items: &mut Vec<D>,
) {
    if !items.is_empty() {
        output.activate().session(capability).give_container(&mut std::mem::take(items));
    }
}
