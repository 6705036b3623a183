//! The settings of a run, and the handle that ends a run early.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::liveness::Liveness;
use super::message::Message;
use super::network::Cluster;
use super::profile::Profile;
use super::progress::{Milestone, Progress};
use crate::store::Store;
use crate::sync::{Sender, lock};
use crate::time::ProcessingMode;

/// Settings of a run.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use watershed::connect::memory::MemoryLog;
/// use watershed::prelude::*;
/// use watershed::runtime::Milestone;
///
/// let topology = Topology::new("count", |builder: &StreamsBuilder<'_>| {
///     let words = builder.stream("words", Consumed::with(Nullable(Utf8), Utf8));
///     words.group_by(|_, word| (word.clone(), ())).count().materialize(Materialized::named("n"));
/// });
/// let words = MemoryLog::default();
/// [&b"tea"[..], b"for", b"two"].map(|word| words.append(0, None, Some(word)));
///
/// let milestones = Arc::new(Mutex::new(Vec::new()));
/// let reached = milestones.clone();
/// let config = Config {
///     workers: 2,
///     commit_every: Duration::from_millis(100),
///     milestone: Some(Box::new(move |milestone| reached.lock().unwrap().push(milestone))),
///     ..Config::default()
/// };
/// Streams::new(topology).source("words", words).run(config)?;
/// assert_eq!(milestones.lock().unwrap().last(), Some(&Milestone::Committed(3)));
/// # Ok::<(), Error>(())
/// ```
pub struct Config {
    /// Number of worker threads of the dataflow, the same in each process.
    pub workers: usize,
    /// The processes of the run; none if it has one process.
    ///
    /// Each process runs the same program with the same bindings and settings. Process 0 reads,
    /// commits and answers. The others decode and compute; they open no source, their callbacks are
    /// never called, and their stores stay empty. A handle to end the run works in each of them.
    pub cluster: Option<Cluster>,
    /// The store of the manifests. Without it each run begins anew.
    pub state: Option<Store>,
    /// The reaction to a state of another topology.
    pub topology_change: TopologyChange,
    /// The granularity of answers: one for each epoch, or one for each record. A state that was
    /// made in the other mode is refused.
    pub mode: ProcessingMode,
    /// True to continue after the records that exist at the start.
    pub follow: bool,
    /// True to close all windows once a run without `follow` has read everything: no record will
    /// ever come that belongs into one. The state records it, so records that a later run reads all
    /// the same are late. A run that is stopped closes nothing.
    pub close_at_end: bool,
    /// Least time between two commits. A change after a longer pause is committed at once. While
    /// more than 128 MiB are known to be unread, a commit also waits for 128 MiB of records, or for
    /// ten seconds. Once 128 MiB of records are not committed, a commit is due after a quarter of
    /// the time, because their rows are in memory until then.
    pub commit_every: Duration,
    /// True for a snapshot with each commit, so that a restart reads no record again. Otherwise a
    /// snapshot is made when many bytes have changed, beside the commits, unless results need one
    /// with each commit.
    pub snapshot_each_commit: bool,
    /// Handle to end the run early.
    pub stop: Stop,
    /// Callback for the progress, about ten times a second. It runs on the coordinator's thread
    /// and must return quickly.
    pub progress: Option<Box<dyn FnMut(&Progress) + Send>>,
    /// Callback for each milestone, called at once. It runs on the coordinator's thread and must
    /// return quickly.
    pub milestone: Option<Box<dyn FnMut(Milestone) + Send>>,
    /// Signs of life of the threads of this process, for its supervisor.
    pub liveness: Option<Liveness>,
    /// Measures the operators of this process; none by default.
    pub profile: Option<Profile>,
}

impl Config {
    /// Returns the number of processes.
    pub(super) fn processes(&self) -> usize {
        self.cluster.as_ref().map_or(1, |cluster| cluster.network.processes())
    }
}

impl Default for Config {
    /// One worker for each core, no state, no following, at most one commit a second.
    fn default() -> Self {
        Config {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            cluster: None,
            state: None,
            topology_change: TopologyChange::Refuse,
            mode: ProcessingMode::Consistent,
            follow: false,
            close_at_end: false,
            commit_every: Duration::from_secs(1),
            snapshot_each_commit: false,
            stop: Stop::default(),
            progress: None,
            milestone: None,
            liveness: None,
            profile: None,
        }
    }
}

/// The reaction of a run to a state of another topology. [`Adoption`](super::Adoption) has an
/// example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopologyChange {
    /// Refuse the state, and name the difference.
    #[default]
    Refuse,
    /// Continue the unchanged part of the state. Unchanged sinks must have the recorded rows. New
    /// sinks get all rows in the first commit. So do sinks whose rows other steps make now: the
    /// same commit removes the rows that they have. Sinks that are not bound any more are left as
    /// they are.
    ///
    /// A topic is continued from the snapshot if the snapshot has each row that is needed of it,
    /// and a sink that was written before proves that. Otherwise this topic is read again from its
    /// beginning.
    Adopt,
    /// Begin anew, also if the topology is the same: the sinks are emptied, and all records are
    /// read again by a new application. If the run dies meanwhile, the next one completes the
    /// reset, with any setting. After a commit, this setting resets the state once more.
    ///
    /// The run is refused, and nothing is changed, if a sink can't be emptied, or a source has lost
    /// the first records that the state was made of.
    ///
    /// ```
    /// use watershed::connect::memory::{MemoryLog, MemoryTable};
    /// use watershed::prelude::*;
    /// use watershed::runtime::TopologyChange;
    /// use watershed::store::Store;
    ///
    /// let (words, lengths) = (MemoryLog::default(), MemoryTable::default());
    /// words.append(0, Some(b"1"), Some(b"tea"));
    /// # let folder = tempfile::tempdir().unwrap();
    /// let state = Store::open(folder.path().to_str().unwrap())?;
    /// let run = |factor: i64, topology_change| {
    ///     let topology = Topology::new("words", move |builder: &StreamsBuilder<'_>| {
    ///         let words = builder.table::<i64, String>("words", Consumed::with(Json, Utf8));
    ///         let lengths = words.map_values(move |word| factor * word.len() as i64);
    ///         lengths.to("lengths", Produced::columns(["id", "length"]));
    ///     });
    ///     let streams = Streams::new(topology).source("words", words.clone());
    ///     let state = Some(state.clone());
    ///     let config = Config { state, topology_change, ..Config::default() };
    ///     streams.sink("lengths", lengths.clone()).run(config)
    /// };
    /// run(1, TopologyChange::Refuse)?;
    /// run(10, TopologyChange::Reset)?;
    /// assert_eq!(lengths.rows(), [[Value::Long(1), Value::Long(30)]]);
    /// # Ok::<(), Error>(())
    /// ```
    Reset,
}

/// Supplier of batches. It also decides when an epoch closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunMode {
    /// Readers fetch batches from the sources; age and size close an epoch.
    Sources,
    /// The test driver sends batches and closes epochs. No source is read.
    TestDriver,
}

/// A handle to end a run in good order: everything that was read is committed first.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::prelude::*;
///
/// let topology = Topology::new("count", |builder| {
///     let words = builder.stream("words", Consumed::with(Nullable(Utf8), Utf8));
///     words.group_by(|_, word| (word.clone(), ())).count().materialize(Materialized::named("n"));
/// });
/// let stop = Stop::default();
/// let config = Config { follow: true, stop: stop.clone(), ..Config::default() };
/// let streams = Streams::new(topology).source("words", MemoryLog::default());
/// let run = std::thread::spawn(move || streams.run(config));
/// stop.stop(); // without it the run would wait for records for ever
/// assert!(run.join().is_ok_and(|result| result.is_ok()));
/// ```
#[derive(Clone, Default)]
pub struct Stop(Arc<Mutex<StopState>>);

#[derive(Default)]
struct StopState {
    requested: bool,
    /// The run to end, once it has started.
    run: Option<Sender<Message>>,
}

impl Stop {
    /// Requests the end. It may be called before the run has started, and more than once.
    pub fn stop(&self) {
        let mut state = lock(&self.0);
        state.requested = true;
        state.send();
    }

    /// Returns true once the end was requested.
    ///
    /// ```
    /// use watershed::runtime::Stop;
    ///
    /// let stop = Stop::default();
    /// let handle = stop.clone(); // of the same run
    /// assert!(!stop.is_asked());
    /// handle.stop();
    /// assert!(stop.is_asked());
    /// ```
    pub fn is_asked(&self) -> bool {
        lock(&self.0).requested
    }

    /// Connects the handle to the run that it ends.
    pub(super) fn connect(&self, run: &Sender<Message>) {
        let mut state = lock(&self.0);
        state.run = Some(run.clone());
        if state.requested {
            state.send();
        }
    }
}

impl StopState {
    fn send(&mut self) {
        if let Some(run) = &self.run {
            // The run may be over already.
            let _ = run.send(Message::Stop);
        }
    }
}
