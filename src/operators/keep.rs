//! The operators that save the rows which pass through them. After a restart they emit the saved
//! rows before they pass on any other.

use std::rc::Rc;

use timely::Container;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::{Stream, StreamVec};
use timely::progress::operate::FrontierInterest;

use super::cut::{DiffsCut, TableCut};
use super::datum::{Datum, Upsert, Upserts};
use super::owners::Fail;
use crate::error::Result;
use crate::faults;
use crate::time::Epoch;

/// Saves the rows of a table by key, and passes them on.
///
/// The keys of the saved rows must be held by the table from which they come, so that they have a
/// number.
pub(crate) fn keep<'s, V: Datum>(
    rows: Upserts<'s, V>,
    name: &str,
    cut: TableCut,
) -> Upserts<'s, V> {
    let (buckets, fail) = (cut.buckets(), cut.fail().clone());
    let saved = cut.clone();
    let load = move |bucket: u8| {
        let rows = saved.load(bucket)?.into_iter();
        Ok(Rc::new(rows.map(|(number, value)| Upsert::new(number, Some(value))).collect()))
    };
    let log = move |epoch: Epoch, rows: &Rc<Vec<Upsert<V>>>| {
        cut.put_all(epoch, rows.iter().map(|row| (row.number, row.value.as_ref())));
    };
    pass(rows, name, buckets, fail, load, log)
}

/// Saves the sum of the diffs of each datum, and passes the diffs on.
pub(crate) fn keep_diffs<'s, D: Datum>(
    diffs: StreamVec<'s, Epoch, (D, Epoch, isize)>,
    name: &str,
    cut: DiffsCut,
) -> StreamVec<'s, Epoch, (D, Epoch, isize)> {
    let (buckets, fail) = (cut.buckets(), cut.fail().clone());
    let saved = cut.clone();
    let load = move |bucket: u8| {
        let mut rows = Vec::new();
        saved.load(bucket, |datum, diff| rows.push((datum, 0, diff)))?;
        Ok(rows)
    };
    let log = move |epoch: Epoch, rows: &Vec<(D, Epoch, isize)>| {
        cut.add(epoch, rows.iter().map(|(datum, _, diff)| (datum, *diff)));
    };
    pass(diffs, name, buckets, fail, load, log)
}

/// Passes rows on and logs them. First it loads the saved rows, a bucket at each call, in epoch 0;
/// until then it takes nothing from its input, because a row must not overtake the saved row that
/// it replaces.
fn pass<'s, C: Container + Clone + Default>(
    rows: Stream<'s, Epoch, C>,
    name: &str,
    buckets: Vec<u8>,
    fail: Fail,
    load: impl Fn(u8) -> Result<C> + 'static,
    log: impl Fn(Epoch, &C) + 'static,
) -> Stream<'s, Epoch, C> {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new(format!("keep {name}"), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(rows, Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<C>>::from(output);
    builder.set_notify_for(0, FrontierInterest::Never);
    builder.build(move |mut capabilities| {
        let mut buckets = buckets.into_iter();
        let mut recovery = capabilities.pop();
        // The planted bug holds the saved rows back until a row has overtaken them.
        let mut held_back = if faults::bug("overtaking_tail") { 2_000 } else { 0 };
        activator.activate();
        move |_| {
            if held_back > 0 {
                held_back -= 1;
                activator.activate();
            } else if let Some(capability) = &recovery {
                if let Some(bucket) = buckets.next() {
                    activator.activate();
                    match load(bucket) {
                        Ok(mut rows) => {
                            output.activate().session(capability).give_container(&mut rows);
                        }
                        Err(error) => fail(error),
                    }
                    return;
                }
                recovery = None;
            }
            input.for_each(|time, data| {
                held_back = 0;
                log(*time.time(), data);
                output.activate().session(&time).give_container(data);
            });
        }
    });
    stream
}
