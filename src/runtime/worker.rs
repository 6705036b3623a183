//! The workers' threads: each builds the topology over what is bound to it, and steps until it is
//! complete.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use timely::WorkerConfig;
use timely::communication::WorkerGuards;

use super::Stores;
use super::alarm::Alarm;
use super::coordinator::Message;
use crate::connect::Writer;
use crate::error::{Error, Result};
use crate::graph::Plugs;
use crate::metrics::TopicCounters;
use crate::operators::Seeds;
use crate::ports::{Feed, Gauges, Marks, Outlet};
use crate::topology::Topology;

/// How long a worker looks again and again for news of a closed epoch before it sleeps: to be woken
/// for each of the first words between workers would be most of a small epoch's time. No longer,
/// because of two workers on one core it is the one that works that waits meanwhile: to yield gives
/// the core to another only when that has had less of it.
const SPIN: Duration = Duration::from_micros(300);

/// What the workers are given.
pub(super) struct Shared {
    pub(super) topology: Topology,
    pub(super) feeds: BTreeMap<String, (Arc<Feed>, Arc<TopicCounters>)>,
    pub(super) marks: Arc<Marks>,
    /// The open epoch.
    pub(super) open: Arc<AtomicU64>,
    pub(super) stores: Stores,
    pub(super) gauges: Gauges,
    pub(super) seeds: Seeds,
    /// By worker, the writers of each sink with its number.
    pub(super) writers: Mutex<Vec<BTreeMap<String, (usize, Box<dyn Writer>)>>>,
    pub(super) coordinator: Mutex<Sender<Message>>,
}

/// Starts `workers` threads.
pub(super) fn start(workers: usize, shared: Shared) -> Result<WorkerGuards<()>> {
    let communication = match workers {
        1 => timely::CommunicationConfig::Thread,
        n => timely::CommunicationConfig::Process(n),
    };
    let config = timely::Config { communication, worker: WorkerConfig::default() };
    timely::execute(config, move |worker| {
        let coordinator = shared.coordinator.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let alarm = Alarm { what: "worker", coordinator: coordinator.clone() };
        let index = worker.index();
        let writers = std::mem::take(
            &mut shared.writers.lock().unwrap_or_else(PoisonError::into_inner)[index],
        );
        let through = Rc::new(Cell::new(0));
        let outlet = |(topic, (sink, writer)): (String, (usize, Box<dyn Writer>))| {
            let coordinator = coordinator.clone();
            let tell = Box::new(move |report| {
                let _ = coordinator.send(Message::Report(sink, report));
            });
            (topic, Outlet { writer, marks: shared.marks.clone(), tell })
        };
        let outlets = writers.into_iter().map(outlet).collect();
        let (feeds, stores, gauges) =
            (shared.feeds.clone(), shared.stores.0.clone(), shared.gauges.clone());
        shared.topology.install(
            worker,
            Plugs { feeds, outlets, stores, gauges, seeds: shared.seeds, open: through.clone() },
        );
        let (mut last, mut open, mut since) = (0, 0, Instant::now());
        while worker.has_dataflows() {
            let opened = shared.open.load(Ordering::Acquire);
            if opened > open {
                (open, since) = (opened, Instant::now());
            }
            if last < open && since.elapsed() < SPIN {
                worker.step_or_park(Some(Duration::ZERO));
                std::thread::yield_now();
            } else {
                worker.step_or_park(Some(Duration::from_millis(100)));
            }
            let frontier = through.get();
            if frontier > last {
                last = frontier;
                // The frontier is that of all workers: one of them is enough to tell.
                if index == 0 {
                    let _ = coordinator.send(Message::Through(frontier));
                }
            }
        }
        drop(alarm);
    })
    .map_err(|e| Error::no_thread("the workers", e))
}
