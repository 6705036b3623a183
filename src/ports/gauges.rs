//! Gauges: the number of rows of a table that satisfy a condition.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::metrics::Meter;
use crate::operators::{Datum, Diffs};
use crate::time::Epoch;

/// Keeps `gauge` at the number of rows for which `counts` is true. The output has no data; its
/// frontier shows the epochs that are counted.
pub(crate) fn measure<'s, D: Datum>(
    rows: Diffs<'s, D>,
    gauge: Arc<AtomicI64>,
    meter: Meter,
    counts: impl Fn(&D) -> bool + 'static,
) -> StreamVec<'s, Epoch, ()> {
    rows.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
        Pipeline,
        "gauge",
        move |_, _| {
            move |input, _| {
                input.for_each(|_, data| {
                    meter.count(data.len(), 0);
                    let change: isize =
                        data.drain(..).filter(|(row, ..)| counts(row)).map(|(.., diff)| diff).sum();
                    gauge.fetch_add(change as i64, Ordering::Relaxed);
                });
            }
        },
    )
}
