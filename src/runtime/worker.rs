//! The threads of the workers of a process. Each builds the dataflow with its bindings, and steps
//! it until it is complete.

use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use timely::WorkerConfig;
use timely::communication::WorkerGuards;
use timely::execute::execute_from;
use timely::worker::Worker;

use super::liveness::Liveness;
use super::message::Message;
use super::network::Mesh;
use super::panic_guard::PanicGuard;
use super::profile::Profile;
use super::stores::Stores;
use super::unwritten::Taken;
use super::writers::{SinkWriter, Writers};
use crate::cluster;
use crate::durable::Layers;
use crate::error::{Error, Result};
use crate::faults;
use crate::graph::{Demand, TopicBindings};
use crate::metrics::Metrics;
use crate::operators::{Cuts, SavedRows, Seeds};
use crate::ports::{AppendedRows, Barriers, SinkHandle, TopicInput};
use crate::simulation;
use crate::sync::{Seats, Sender, elapsed, lock, now};
use crate::time::{Epoch, Timestamp};
use crate::topology::Topology;

/// Time for which a worker busy-polls after an epoch closes, before it parks. Parking at once would
/// add a wake-up per progress message, most of a small epoch's latency. Polling longer starves the
/// other worker when two share a core: `yield_now` only helps if the scheduler owes it time.
const BUSY_POLL_DURATION: Duration = Duration::from_micros(300);
/// Longest time for which a worker parks. Every activation wakes it earlier.
const PARK_TIMEOUT: Duration = Duration::from_millis(100);

/// The parts of a run from which each worker builds its dataflow.
pub(super) struct Shared {
    pub(super) topology: Topology,
    /// Digest of the plan that each worker must build.
    pub(super) fingerprint: String,
    pub(super) inputs: BTreeMap<String, TopicInput>,
    pub(super) barriers: Arc<Barriers>,
    /// The number of the open epoch.
    pub(super) open: Arc<AtomicU64>,
    pub(super) stores: Stores,
    pub(super) metrics: Metrics,
    pub(super) seeds: Seeds,
    pub(super) demand: Demand,
    pub(super) saving: Option<Saving>,
    pub(super) writers: Mutex<Writers>,
    pub(super) coordinator: Sender<Message>,
    pub(super) liveness: Option<Liveness>,
    pub(super) profile: Option<Profile>,
}

/// The connection of the workers to the snapshots of a run.
pub(super) struct Saving {
    /// The layers of the snapshot from which the run continues.
    pub(super) layers: Option<Arc<Layers>>,
    /// By topic, the rows of its sink in that snapshot.
    pub(super) sinks: BTreeMap<String, (u64, u64)>,
    pub(super) earlier_runs: u64,
    /// By the ranks of the topics before a step, its watermark at the last commit.
    pub(super) watermarks: BTreeMap<BTreeSet<u16>, Timestamp>,
    pub(super) submit: Submit,
}

/// Submits the changed rows of a worker to the thread that writes them.
pub(super) type Submit = Arc<dyn Fn(Taken) + Send + Sync>;

impl Shared {
    /// Returns the bindings for the worker of this global number; it may be called once for each.
    /// `completed` is set to the completed frontier of the dataflow, and `in_use` to the earliest
    /// epoch that may use numbers of keys.
    fn bindings(
        &self,
        worker: usize,
        completed: Rc<Cell<Epoch>>,
        in_use: Rc<Cell<Epoch>>,
        cuts: Option<Cuts>,
    ) -> TopicBindings {
        let mut writers = lock(&self.writers);
        let own = writers.remove(&worker).unwrap_or_default().into_iter();
        let sinks = own.map(|SinkWriter { topic, sink, recovering, start }| {
            let coordinator = self.coordinator.clone();
            let report = Box::new(move |report| {
                // The run may be over already.
                let _ = coordinator.send(Message::Report(sink, report));
            });
            // Rows that are not written again belong to no worker, so the first one counts them.
            let saved = self.saving.as_ref().filter(|_| worker == 0);
            let saved = saved.and_then(|saving| saving.sinks.get(&topic).copied());
            let (rows, digest) = saved.unwrap_or_default();
            let appended = AppendedRows { rows, digest };
            let barriers = self.barriers.clone();
            (topic, SinkHandle { recovering, start, barriers, appended, report })
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
            demand: self.demand.clone(),
            metrics: self.metrics.clone(),
            seeds: self.seeds,
            cuts,
            earlier_runs: self.saving.as_ref().map_or(0, |saving| saving.earlier_runs),
            watermarks: self.saving.as_ref().map(|it| it.watermarks.clone()).unwrap_or_default(),
            open: completed,
            in_use,
            fail: Rc::new(fail),
        }
    }
}

/// Hands the changed rows of one worker to the saver, barrier by barrier.
struct Handover {
    worker: usize,
    cuts: Cuts,
    submit: Submit,
    /// The first epoch whose rows were not handed over.
    from: Epoch,
}

impl Handover {
    /// Returns the first epoch some of whose rows may not be handed over.
    fn first(&self) -> Epoch {
        self.cuts.first().map_or(self.from, |first| first.min(self.from))
    }

    /// Hands over the rows up to the last barrier before `completed`. The recovery ends with a
    /// barrier too. If no barrier is due, rows are handed over once they need much memory. A
    /// barrier is set before its epoch is closed, so no later barrier can come before `completed`.
    fn hand_over(&mut self, barriers: &Barriers, completed: Epoch) -> Result<()> {
        let recovery = (self.from == 0 && completed > 0).then_some(0);
        let barrier = barriers.last_before(self.from, completed).or(recovery);
        let (rows, through) = match barrier {
            Some(barrier) => (self.cuts.take(barrier)?, barrier),
            None if completed > self.from => match self.cuts.take_many(completed - 1)? {
                Some(rows) => (rows, completed - 1),
                None => return Ok(()),
            },
            None => return Ok(()),
        };
        if self.from == 0 {
            self.cuts.end_recovery();
        }
        self.from = through + 1;
        let (worker, is_barrier) = (self.worker, barrier.is_some());
        (self.submit)(Taken { worker, through, is_barrier, rows });
        Ok(())
    }
}

/// The threads of the workers.
pub(crate) struct Workers {
    guards: Option<WorkerGuards<()>>,
    /// The threads of the connections to other processes.
    mesh: Option<Box<dyn Any + Send>>,
    seats: Arc<Seats>,
}

impl Workers {
    /// Waits for the end of all workers, and of the connections to those of other processes.
    ///
    /// # Errors
    /// When a thread has panicked.
    pub(super) fn join(&mut self) -> Result<()> {
        self.seats.wait();
        let ended = self.guards.take().map(WorkerGuards::join).unwrap_or_default();
        // The usual reason of a panic is that another process is gone.
        let failed = |message| cluster::lost_process().unwrap_or_else(|| Error::internal(message));
        if ended.iter().any(Result::is_err) {
            return Err(failed("a worker panicked"));
        }
        // Timely joins its threads in `drop`, which panics if one of them has.
        let mesh = AssertUnwindSafe(self.mesh.take());
        catch_unwind(|| drop(mesh)).map_err(|_| failed("a connection of the workers failed"))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // A worker may wait for another that has panicked, so joining could block for ever.
        std::mem::forget((self.guards.take(), self.mesh.take()));
    }
}

/// Steps a worker once as a turn of a simulation. It waits for a turn with something to do.
fn step_in_turn(worker: &mut Worker, task: &simulation::Task) {
    let (wake, seen) = (task.workers(), task.workers().count());
    // With this token a worker without anything to do returns at once.
    std::thread::current().unpark();
    worker.step_or_park(Some(Duration::from_nanos(1)));
    // Activations are kept until the next step.
    let has_worked = worker.activations().borrow().empty_for() == Some(Duration::ZERO);
    if has_worked {
        wake.ring();
        task.switch("a step");
    } else {
        task.wait("a step", wake, seen, Some(PARK_TIMEOUT));
    }
}

/// Starts the workers of a process.
///
/// # Errors
/// When the system provides no thread.
pub(super) fn start(process: usize, mesh: Mesh, shared: Shared) -> Result<Workers> {
    let workers = mesh.builders.len();
    let first = process * workers;
    let seats = Arc::new(Seats::new("worker", workers));
    let seats_to_take = seats.clone();
    let others = Box::new(());
    let guards = execute_from(mesh.builders, others, WorkerConfig::default(), move |worker| {
        // The index counts the workers of all processes.
        let _turn = seats_to_take.take(worker.index() - first);
        let guard = PanicGuard::new("worker", shared.coordinator.clone());
        let (frontier, in_use) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut handover = shared.saving.as_ref().map(|saving| {
            let saved = saving.layers.clone().map(|layers| layers as Arc<dyn SavedRows>);
            let (number, submit) = (worker.index(), saving.submit.clone());
            let (barriers, open) = (shared.barriers.clone(), shared.open.clone());
            // Rows of another process may arrive before their epoch is open in this one. Until
            // then a barrier before the epoch may be missing.
            let may_be_between = move |from, to| {
                to > open.load(Ordering::Acquire) || barriers.last_before(from, to).is_some()
            };
            let cuts = Cuts::new(saved, number, worker.peers(), may_be_between);
            Handover { worker: number, cuts, submit, from: 0 }
        });
        let cuts = handover.as_ref().map(|handover| handover.cuts.clone());
        let bindings = shared.bindings(worker.index(), frontier.clone(), in_use.clone(), cuts);
        shared.profile.iter().for_each(|profile| profile.attach(worker));
        let plan = shared.topology.install(worker, bindings);
        let other = worker.index() > 0 && faults::bug("other_plan");
        if other || Topology::fingerprint(&plan) != shared.fingerprint {
            let message = format!("worker {} built another dataflow", worker.index());
            let error = Error::internal(message)
                .hint("The function of a topology must build the same dataflow at each call.");
            // The run may be over already. Without this worker's reports nothing is committed.
            let _ = shared.coordinator.send(Message::Failed(error));
        }
        let (mut completed, mut open, mut opened) = (0, 0, now());
        let sign = shared.liveness.as_ref().map(Liveness::enter);
        while faults::bug("stuck_worker") {
            std::thread::park();
        }
        while worker.has_dataflows() {
            if let Some(sign) = &sign {
                sign.renew();
            }
            let announced = shared.open.load(Ordering::Acquire);
            if announced > open {
                (open, opened) = (announced, now());
            }
            if let Some(task) = simulation::current() {
                step_in_turn(worker, &task);
            } else if completed < open && elapsed(opened) < BUSY_POLL_DURATION {
                worker.step_or_park(Some(Duration::ZERO));
                std::thread::yield_now();
            } else {
                worker.step_or_park(Some(PARK_TIMEOUT));
            }
            if frontier.get() > completed {
                completed = frontier.get();
                if let Some(handover) = &mut handover
                    && let Err(error) = handover.hand_over(&shared.barriers, completed)
                {
                    // The run may be over already.
                    let _ = shared.coordinator.send(Message::Failed(error));
                }
                in_use.set(handover.as_ref().map_or(completed, Handover::first));
                // All workers see the same frontier, so one report of a process is enough.
                if worker.index() == first {
                    // A planted bug: two reports, the second one behind the first.
                    if completed >= 2 && faults::bug("backward_frontier") {
                        for epoch in [completed - 1, completed - 2] {
                            let _ = shared.coordinator.send(Message::Completed { process, epoch });
                        }
                    }
                    // The run may be over already.
                    let completed = Message::Completed { process, epoch: completed };
                    let _ = shared.coordinator.send(completed);
                }
            }
        }
        drop(guard);
    })
    .map_err(|e| Error::no_thread("the workers", e))?;
    Ok(Workers { guards: Some(guards), mesh: Some(mesh.guard), seats })
}
