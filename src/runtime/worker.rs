//! The threads of the workers. Each builds the dataflow with its bindings, and steps it until it is
//! complete.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use timely::WorkerConfig;
use timely::communication::WorkerGuards;

use super::message::Message;
use super::panic_guard::PanicGuard;
use super::stores::Stores;
use crate::connect::Recovering;
use crate::error::{Error, Result};
use crate::graph::TopicBindings;
use crate::metrics::Metrics;
use crate::operators::Seeds;
use crate::ports::{Barriers, SinkHandle, TopicInput};
use crate::sync::lock;
use crate::topology::Topology;

/// Time for which a worker busy-polls after an epoch closes, before it parks. Parking at once would
/// add a wake-up per progress message, most of a small epoch's latency. Polling longer starves the
/// other worker when two share a core: `yield_now` only helps if the scheduler owes it time.
const BUSY_POLL_DURATION: Duration = Duration::from_micros(300);
/// Longest time for which a worker parks. Every activation wakes it earlier.
const PARK_TIMEOUT: Duration = Duration::from_millis(100);

/// A writer in its recovery, with the number of its sink and the topic that is bound to it.
pub(super) struct SinkWriter {
    pub(super) topic: String,
    pub(super) sink: usize,
    pub(super) recovering: Box<dyn Recovering>,
}

/// The writers of the workers of this process, by the global number of the worker: its number among
/// the workers of all processes. Names of files contain this number, so it must be unique.
pub(super) type Writers = BTreeMap<usize, Vec<SinkWriter>>;

/// The parts of a run from which each worker builds its dataflow.
pub(super) struct Shared {
    pub(super) topology: Topology,
    pub(super) inputs: BTreeMap<String, TopicInput>,
    pub(super) barriers: Arc<Barriers>,
    /// The number of the open epoch.
    pub(super) open: Arc<AtomicU64>,
    pub(super) stores: Stores,
    pub(super) metrics: Metrics,
    pub(super) seeds: Seeds,
    pub(super) writers: Mutex<Writers>,
    pub(super) coordinator: Sender<Message>,
}

impl Shared {
    /// Returns the bindings for the worker of this global number; it may be called once for each.
    /// `completed` is set to the completed frontier of the dataflow.
    fn bindings(&self, worker: usize, completed: Rc<Cell<u64>>) -> TopicBindings {
        let mut writers = lock(&self.writers);
        let own = writers.remove(&worker).unwrap_or_default().into_iter();
        let sinks = own.map(|SinkWriter { topic, sink, recovering }| {
            let coordinator = self.coordinator.clone();
            let report = Box::new(move |report| {
                // The run may be over already.
                let _ = coordinator.send(Message::Report(sink, report));
            });
            (topic, SinkHandle { recovering, barriers: self.barriers.clone(), report })
        });
        let coordinator = self.coordinator.clone();
        let fail = move |error| {
            // The run may be over already.
            let _ = coordinator.send(Message::Failed(error));
        };
        TopicBindings {
            sinks: sinks.collect(),
            inputs: self.inputs.clone(),
            stores: self.stores.by_name(),
            metrics: self.metrics.clone(),
            seeds: self.seeds,
            open: completed,
            fail: Rc::new(fail),
        }
    }
}

/// Starts `workers` threads.
///
/// # Errors
/// When the system provides no thread.
pub(super) fn start(workers: usize, shared: Shared) -> Result<WorkerGuards<()>> {
    let communication = match workers {
        1 => timely::CommunicationConfig::Thread,
        n => timely::CommunicationConfig::Process(n),
    };
    let config = timely::Config { communication, worker: WorkerConfig::default() };
    timely::execute(config, move |worker| {
        let guard = PanicGuard::new("worker", shared.coordinator.clone());
        let frontier = Rc::new(Cell::new(0));
        // The index counts the workers of all processes.
        let bindings = shared.bindings(worker.index(), frontier.clone());
        shared.topology.install(worker, bindings);
        let (mut completed, mut open, mut opened) = (0, 0, Instant::now());
        while worker.has_dataflows() {
            let announced = shared.open.load(Ordering::Acquire);
            if announced > open {
                (open, opened) = (announced, Instant::now());
            }
            if completed < open && opened.elapsed() < BUSY_POLL_DURATION {
                worker.step_or_park(Some(Duration::ZERO));
                std::thread::yield_now();
            } else {
                worker.step_or_park(Some(PARK_TIMEOUT));
            }
            if frontier.get() > completed {
                completed = frontier.get();
                // All workers see the same frontier, so one report is enough.
                if worker.index() == 0 {
                    // The run may be over already.
                    let _ = shared.coordinator.send(Message::Completed(completed));
                }
            }
        }
        drop(guard);
    })
    .map_err(|e| Error::no_thread("the workers", e))
}
