//! [`Mesh`]: the connections of timely between all processes.

use std::any::Any;

use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use super::limits::Limits;
use super::panics;
use super::pulse::Pulsed;
use super::socket::Socket;
use crate::error::{Error, Result};

/// The connections of timely between this process and all others.
pub(crate) struct Mesh {
    own: usize,
    sockets: Vec<Option<Pulsed>>,
}

/// The arguments of [`timely::execute::execute_from`].
pub(crate) struct MeshBuilders {
    /// One for each worker of this process.
    pub(crate) builders: Vec<AllocatorBuilder>,
    /// Joins the threads of the connections. It panics if one of them did, so forget it after a
    /// failure.
    pub(crate) guard: Box<dyn Any + Send>,
}

impl Mesh {
    pub(super) fn new(own: usize, sockets: Vec<Option<Socket>>, limits: Limits) -> Result<Self> {
        let pulsed = sockets.into_iter().enumerate().map(|(process, socket)| {
            let pulsed = socket.map(|socket| Pulsed::start(process, socket, limits));
            pulsed.transpose().map_err(|e| {
                Error::lost(format!("can't use the connection to process {process}")).because(e)
            })
        });
        Ok(Mesh { own, sockets: pulsed.collect::<Result<_>>()? })
    }

    /// Starts the threads of the connections for `workers` workers of this process.
    ///
    /// From now on a panic of timely because of a lost process prints nothing; see
    /// [`lost_process`](super::lost_process).
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(crate) fn builders(self, workers: usize) -> Result<MeshBuilders> {
        panics::watch();
        let hooks = Hooks::default();
        let (refill, spill) = (hooks.refill.clone(), hooks.spill.clone());
        let local = ProcessBuilder::new_typed_vector(workers, refill, spill);
        let (builders, guard) =
            initialize_networking_from_sockets(local, self.sockets, self.own, workers, hooks)
                .map_err(|e| Error::no_thread("the threads between processes", e))?;
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        Ok(MeshBuilders { builders, guard: Box::new(guard) })
    }
}
