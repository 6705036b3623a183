//! The bindings of a topology in a run, and the demand of its ends.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::error::Error;
use crate::metrics::Metrics;
use crate::operators::{Cuts, Seeds};
use crate::ports::{AnyStore, SinkHandle, TopicInput};
use crate::time::{Epoch, ProcessingMode, Timestamp};

/// The ends of a topology that a run needs. They decide which rows its snapshots save.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand {
    /// The topics with a sink.
    pub(crate) sinks: BTreeMap<String, SinkDemand>,
    /// The stores that the program has requested.
    pub(crate) stores: BTreeSet<String>,
    /// The granularity of the answers.
    pub(crate) mode: ProcessingMode,
    /// The steps whose times are used by steps behind them, of those that have times only then.
    pub(crate) timed: BTreeSet<usize>,
}

/// The rows of a table that its sink needs at the start of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SinkDemand {
    /// The keys: the sink finds its rows by them.
    Keys,
    /// All rows.
    Rows,
    /// All rows, because the sink has none yet. At the next start it needs only the keys.
    RowsOnce,
}

/// The bindings of the names of a topology, for one worker of a run.
pub(crate) struct TopicBindings {
    pub(crate) inputs: BTreeMap<String, TopicInput>,
    pub(crate) sinks: BTreeMap<String, SinkHandle>,
    pub(crate) stores: BTreeMap<String, Arc<dyn AnyStore>>,
    pub(crate) demand: Demand,
    pub(crate) metrics: Metrics,
    pub(crate) seeds: Seeds,
    /// The cuts of this worker; none in a run without a state.
    pub(crate) cuts: Option<Cuts>,
    /// The number of earlier runs of the state.
    pub(crate) earlier_runs: u64,
    /// By the ranks of the topics before a step, its watermark at the last commit of earlier runs.
    pub(crate) watermarks: BTreeMap<BTreeSet<u16>, Timestamp>,
    /// The earliest epoch that is open at any end of the dataflow.
    pub(crate) open: Rc<Cell<Epoch>>,
    /// The earliest epoch that may use numbers of keys: it is open, or rows of it are in the logs
    /// of cuts.
    pub(crate) in_use: Rc<Cell<Epoch>>,
    /// Ends the run with an error.
    pub(crate) fail: Rc<dyn Fn(Error)>,
}

impl TopicBindings {
    /// Returns bindings for a dataflow that is only built for its plan and gets no records.
    pub(crate) fn of_a_plan(demand: Demand) -> Self {
        TopicBindings {
            inputs: BTreeMap::new(),
            sinks: BTreeMap::new(),
            stores: BTreeMap::new(),
            demand,
            metrics: Metrics::default(),
            seeds: Seeds::of_a_plan(),
            cuts: None,
            earlier_runs: 0,
            watermarks: BTreeMap::new(),
            open: Rc::default(),
            in_use: Rc::default(),
            fail: Rc::new(|_| ()),
        }
    }
}
