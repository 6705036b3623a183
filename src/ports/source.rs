//! Decoding: the batches of a [`InputQueue`] become a stream, and records that can't be decoded
//! become dead letters.

use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::{Scope, StreamVec};

use super::input_queue::{InputQueue, Next, Stamped};
use crate::record::Record;
use crate::serdes::Reject;
use crate::time::{Epoch, Timestamp};

/// Decodes a record into items of a stream, and returns its timestamp. A record that can't be used
/// is rejected.
pub(crate) type Decode<D> =
    Box<dyn FnMut(&Record<'_>, &mut Vec<D>) -> Result<Option<Timestamp>, Reject>>;

/// Makes a dead letter of a record that can't be decoded.
pub(crate) type Letter<L> = Box<dyn Fn(&Record<'_>, Reject) -> L>;

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
) -> (StreamVec<'s, Epoch, D>, StreamVec<'s, Epoch, L>) {
    let mut builder = OperatorBuilder::new(name.to_string(), scope);
    let address = builder.operator_info().address;
    let (items, item_stream) = builder.new_output::<Vec<D>>();
    let (rejects, reject_stream) = builder.new_output::<Vec<L>>();
    let mut items = OutputBuilder::<_, CapacityContainerBuilder<Vec<D>>>::from(items);
    let mut rejects = OutputBuilder::<_, CapacityContainerBuilder<Vec<L>>>::from(rejects);
    if let Some(queue) = &queue {
        queue.activate_on_change(scope.worker().sync_activator_for(address.to_vec()));
    }
    let again = scope.activator_for(address);
    builder.build(move |capabilities| {
        let mut held: Vec<Capability<Epoch>> = capabilities;
        let (mut out, mut bad) = (Vec::new(), Vec::new());
        move |_frontiers| {
            if held.is_empty() {
                return;
            }
            // The close of an epoch is often queued right behind its last batch. Handling both in
            // one activation saves a round on every worker.
            let mut taken = 0;
            while taken < TURN_BYTES {
                match queue.as_ref().map_or(Next::Done, |queue| queue.next()) {
                    Next::Done => {
                        held.clear();
                        return;
                    }
                    Next::Empty(open) => {
                        held.iter_mut().for_each(|c| c.downgrade(&open));
                        return;
                    }
                    Next::Batch(Stamped { epoch, source, cost, batch }) => {
                        held.iter_mut().for_each(|c| c.downgrade(&epoch));
                        out.reserve(batch.records.len().min(MESSAGE_RECORDS));
                        let (mut rejected, mut greatest) = (0, None);
                        for mut record in batch.iter(source) {
                            record.order.topic = topic;
                            let decoded = Reject::unless_whole(&record)
                                .and_then(|()| decode(&record, &mut out));
                            match decoded {
                                Ok(timestamp) => greatest = timestamp.max(greatest),
                                Err(reject) => {
                                    let queue = queue.as_ref();
                                    if queue.is_none_or(|it| !it.is_letter_written(record.order)) {
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
                        if let Some(queue) = &queue {
                            // This comes before the worker downgrades its capability. So once the
                            // epoch is completed, the timestamps of all its records are known.
                            queue.times.note(epoch, (source, batch.partition), greatest);
                            queue.decoded(cost);
                        }
                        send(&mut rejects, &held[1], &mut bad);
                        send(&mut items, &held[0], &mut out);
                        taken += cost;
                    }
                }
            }
            again.activate();
        }
    });
    (item_stream, reject_stream)
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
