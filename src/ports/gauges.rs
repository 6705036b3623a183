//! Numbers of rows, counted where they pass.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::operators::{Datum, Diffs};
use crate::sync::lock;
use crate::time::Epoch;

/// The gauges of a topology by name, shared by all workers.
#[derive(Clone, Default)]
pub(crate) struct Gauges(Arc<Mutex<BTreeMap<String, Arc<AtomicI64>>>>);

impl Gauges {
    /// The gauge of this name.
    pub(crate) fn named(&self, name: &str) -> Arc<AtomicI64> {
        lock(&self.0).entry(name.to_string()).or_default().clone()
    }

    /// What they show.
    pub(crate) fn read(&self) -> BTreeMap<String, u64> {
        let gauges = lock(&self.0);
        let value = |gauge: &AtomicI64| u64::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0);
        gauges.iter().map(|(name, gauge)| (name.clone(), value(gauge))).collect()
    }
}

/// Has `gauge` show how many rows `counts` is true for; what it returns is empty, and ends when it
/// is through.
pub(crate) fn measure<'s, D: Datum>(
    rows: Diffs<'s, D>,
    gauge: Arc<AtomicI64>,
    counts: impl Fn(&D) -> bool + 'static,
) -> StreamVec<'s, Epoch, ()> {
    rows.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
        Pipeline,
        "gauge",
        move |_, _| {
            move |input, _| {
                input.for_each(|_, data| {
                    let change: isize =
                        data.drain(..).filter(|(row, ..)| counts(row)).map(|(.., diff)| diff).sum();
                    gauge.fetch_add(change as i64, Ordering::Relaxed);
                });
            }
        },
    )
}
