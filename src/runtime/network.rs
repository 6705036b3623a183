//! The connection of a run to its other processes.
//!
//! A run in several processes has one *leader*, process 0, which reads, commits and answers. The
//! others are its *members*: they decode and compute. Messages between the leader and a member are
//! in order. The workers of all processes have connections of their own, the [`Mesh`].

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use timely::communication::AllocatorBuilder;

use super::protocol::{Down, Up, Welcome};
use crate::error::{Error, Result};

/// The processes of a run, and the place of this one among them.
///
/// A run without it has one process.
pub struct Cluster {
    pub(crate) network: Box<dyn Network>,
    pub(crate) sharing: Sharing,
}

/// The processes among which batches are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    All,
    /// All but process 0, which reads.
    Others,
}

impl Cluster {
    /// Returns the place of a process on this network.
    pub(crate) fn on(network: impl Network + 'static) -> Self {
        Cluster { network: Box::new(network), sharing: Sharing::All }
    }

    /// Lets the other processes decode all records, to measure the cost of reading alone.
    #[doc(hidden)]
    #[must_use]
    pub fn reading_only(self) -> Self {
        Cluster { sharing: Sharing::Others, ..self }
    }

    /// Returns true in process 0, which reads, commits and answers.
    ///
    /// ```
    /// let places = watershed::testing::processes(3)?;
    /// let first: Vec<_> = places.iter().map(|place| place.is_first()).collect();
    /// assert_eq!(first, [true, false, false]);
    /// # Ok::<(), watershed::Error>(())
    /// ```
    pub fn is_first(&self) -> bool {
        self.network.process() == 0
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (process, processes) = (self.network.process(), self.network.processes());
        write!(f, "Cluster(process {process} of {processes})")
    }
}

/// The properties of a process that must be the same in all processes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The number of workers of each process.
    pub(crate) workers: usize,
    /// A digest of the plan, of the sinks and of the kind of state.
    pub(crate) fingerprint: String,
}

/// The way to reach the other processes, before any connection is made.
pub(crate) trait Network: Send {
    /// Returns the number of this process.
    fn process(&self) -> usize;

    /// Returns the number of all processes.
    fn processes(&self) -> usize;

    /// Waits in process 0 for all other processes. From then on `deliver` gets their messages.
    ///
    /// # Errors
    /// When a process is missing, or has other properties.
    fn lead(self: Box<Self>, installed: Installed, deliver: Deliver<Up>)
    -> Result<Arc<dyn Leader>>;

    /// Connects another process to process 0. From then on `deliver` gets its messages.
    ///
    /// # Errors
    /// When process 0 can't be reached, or has other properties.
    fn join(
        self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Down>,
    ) -> Result<Arc<dyn Member>>;
}

/// An event of the connection to a process.
pub(crate) enum Event<M> {
    Message {
        process: usize,
        message: M,
    },
    /// The process has failed, or its connection is lost.
    Failed(Error),
}

/// Takes events in their order. It must not block.
pub(crate) type Deliver<M> = Box<dyn Fn(Event<M>) + Send + Sync>;

/// The sending end of the connection to a process.
pub(crate) trait Outbox<M>: Send + Sync {
    /// Sends a message; it never blocks. A lost connection is an event.
    ///
    /// # Errors
    /// When the message is too long or can't be encoded.
    fn send(&self, message: &M) -> Result<()>;
}

/// The connections of process 0.
pub(crate) trait Leader: Send + Sync {
    /// Returns the sending end of the connection to a process.
    ///
    /// # Errors
    /// When there is no such process.
    fn outbox(&self, process: usize) -> Result<Box<dyn Outbox<Down>>>;

    /// Sends the beginning of a run of this generation to all processes, and connects the workers.
    ///
    /// # Errors
    /// When a process can't be reached any more.
    fn welcome(&self, generation: u64, welcome: &Welcome) -> Result<Mesh>;

    /// Sends an error to all processes, which end with it. Returns the first cause.
    fn fail(&self, error: Error) -> Error;

    /// Ends the connections in good order.
    ///
    /// # Errors
    /// When a process has failed.
    fn finish(&self) -> Result<()>;
}

/// The connections of another process.
pub(crate) trait Member: Send + Sync {
    /// Returns the sending end of the connection to process 0.
    ///
    /// # Errors
    /// When the connection has ended.
    fn outbox(&self) -> Result<Arc<dyn Outbox<Up>>>;

    /// Waits for the beginning of a run. Returns its generation too.
    ///
    /// # Errors
    /// When process 0 has failed.
    fn welcomed(&self) -> Result<(u64, Welcome)>;

    /// Connects the workers.
    ///
    /// # Errors
    /// When a process can't be reached.
    fn mesh(&self) -> Result<Mesh>;

    /// Sends an error to process 0. Returns the first cause.
    fn fail(&self, error: Error) -> Error;

    /// Ends the connection in good order.
    ///
    /// # Errors
    /// When process 0 has failed.
    fn finish(&self) -> Result<()>;
}

/// The connections among the workers of all processes.
pub(crate) struct Mesh {
    /// Builds the allocators of the workers of this process.
    pub(crate) builders: Vec<AllocatorBuilder>,
    /// Joins the threads of the connections when it is dropped.
    pub(crate) guard: Box<dyn Any + Send>,
}

impl Mesh {
    /// Returns the connections among the workers of one process.
    ///
    /// # Errors
    /// When they can't be made.
    pub(crate) fn of_one_process(workers: usize) -> Result<Self> {
        Self::of(match workers {
            1 => timely::CommunicationConfig::Thread,
            n => timely::CommunicationConfig::Process(n),
        })
    }

    /// Returns connections that timely makes by itself.
    ///
    /// # Errors
    /// When they can't be made.
    pub(crate) fn of(config: timely::CommunicationConfig) -> Result<Self> {
        let built = config.try_build();
        let (builders, guard) =
            built.map_err(|e| Error::connect("can't connect the workers").because(e))?;
        Ok(Mesh { builders, guard })
    }
}
