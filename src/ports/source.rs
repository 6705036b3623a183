//! Decoding: batches from a [`Feed`] become a stream, and what can't be decoded becomes dead
//! letters.

use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::{Scope, StreamVec};

use super::feed::{Feed, Next};
use crate::record::Record;
use crate::serdes::Reject;
use crate::time::{Epoch, Timestamp};

/// Turns a record into items of a stream, and returns its timestamp or the reason why it can't.
pub(crate) type Decode<D> =
    Box<dyn FnMut(&Record<'_>, &mut Vec<D>) -> Result<Option<Timestamp>, Reject>>;

/// Makes a dead letter of a record that can't be decoded.
pub(crate) type Letter<L> = Box<dyn Fn(&Record<'_>, Reject) -> L>;

/// So many bytes are decoded before others get their turn.
const TURN: usize = 64 << 10;
/// So many records are decoded before what they became goes on: without a byte in them they may be
/// very many.
const PIECE: usize = 8192;

/// Decodes what comes through `feed`, of the topic of this rank. Told of each batch that is done by
/// `done(records, rejected, bytes)`.
pub(crate) fn source<'s, D: Clone + 'static, L: Clone + 'static>(
    scope: Scope<'s, Epoch>,
    name: &str,
    topic: u16,
    feed: Option<Arc<Feed>>,
    mut decode: Decode<D>,
    letter: Letter<L>,
    mut done: Box<dyn FnMut(usize, usize, usize)>,
) -> (StreamVec<'s, Epoch, D>, StreamVec<'s, Epoch, L>) {
    let mut builder = OperatorBuilder::new(name.to_string(), scope);
    let address = builder.operator_info().address;
    let (items, item_stream) = builder.new_output::<Vec<D>>();
    let (rejects, reject_stream) = builder.new_output::<Vec<L>>();
    let mut items = OutputBuilder::<_, CapacityContainerBuilder<Vec<D>>>::from(items);
    let mut rejects = OutputBuilder::<_, CapacityContainerBuilder<Vec<L>>>::from(rejects);
    if let Some(feed) = &feed {
        feed.wakes(scope.worker().sync_activator_for(address.to_vec()));
    }
    let again = scope.activator_for(address);
    builder.build(move |capabilities| {
        let mut held: Vec<Capability<Epoch>> = capabilities;
        let (mut out, mut bad) = (Vec::new(), Vec::new());
        move |_frontiers| {
            if held.is_empty() {
                return;
            }
            // What closes an epoch often waits behind its last batch already: both at once are one
            // round less of all workers.
            let mut taken = 0;
            while taken < TURN {
                match feed.as_ref().map_or(Next::Done, |feed| feed.next()) {
                    Next::Done => {
                        held.clear();
                        return;
                    }
                    Next::Empty(open) => {
                        held.iter_mut().for_each(|c| c.downgrade(&open));
                        return;
                    }
                    Next::Batch(epoch, source, batch) => {
                        held.iter_mut().for_each(|c| c.downgrade(&epoch));
                        out.reserve(batch.records.len().min(PIECE));
                        let (mut rejected, mut greatest) = (0, None);
                        for mut record in batch.iter(source) {
                            record.order.topic = topic;
                            let decoded = Reject::unless_whole(&record)
                                .and_then(|()| decode(&record, &mut out));
                            match decoded {
                                Ok(timestamp) => greatest = timestamp.max(greatest),
                                Err(reject) => {
                                    bad.push(letter(&record, reject));
                                    rejected += 1;
                                }
                            }
                            if out.len() + bad.len() >= PIECE {
                                give(&mut rejects, &held[1], &mut bad);
                                give(&mut items, &held[0], &mut out);
                            }
                        }
                        done(batch.records.len(), rejected, batch.bytes.len());
                        let cost = batch.cost();
                        if let Some(feed) = &feed {
                            // Before this worker releases the epoch: whoever sees it complete
                            // reads the timestamps of all its records.
                            feed.times.note(epoch, (source, batch.partition), greatest);
                            feed.decoded(cost);
                        }
                        give(&mut rejects, &held[1], &mut bad);
                        give(&mut items, &held[0], &mut out);
                        taken += cost;
                    }
                }
            }
            again.activate();
        }
    });
    (item_stream, reject_stream)
}

/// Sends what there is, if there is anything.
fn give<D: Clone + 'static>(
    output: &mut OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>,
    at: &Capability<Epoch>,
    what: &mut Vec<D>,
) {
    if !what.is_empty() {
        output.activate().session(at).give_container(&mut std::mem::take(what));
    }
}
