//! Processes that are threads of one process. Each message is encoded and decoded, and the workers
//! exchange rows over pairs of sockets.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Config, Hooks};

use crate::error::{Error, Result};
use crate::runtime::{
    Deliver, Down, Event, Installed, Leader, Member, Mesh, Network, Outbox, Up, Welcome,
};
use crate::sync::{Receiver, Sender, channel, lock};

/// The sockets of a process: one to each other process, and none to itself.
type Sockets = Vec<Option<UnixStream>>;

/// The beginning of a run, encoded, or the error that prevents it.
type Begun = Result<(u64, Vec<u8>)>;

/// Encodes a message.
fn encoded(message: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(|e| Error::internal("can't encode a message").because(e))
}

fn decoded<M: DeserializeOwned>(bytes: &[u8]) -> Result<M> {
    postcard::from_bytes(bytes).map_err(|e| Error::internal("can't decode a message").because(e))
}

/// Returns an error as another process receives it.
fn sent(error: &Error) -> Error {
    encoded(error).and_then(|bytes| decoded(&bytes)).unwrap_or_else(|error| error)
}

/// The processes of a run, of which each is a thread.
struct Hub {
    installed: OnceLock<Installed>,
    up: OnceLock<Deliver<Up>>,
    down: Vec<OnceLock<Deliver<Down>>>,
    begun: Vec<Sender<Begun>>,
    joined: Sender<()>,
}

impl Hub {
    fn fail(&self, error: &Error) {
        for deliver in self.down.iter().filter_map(OnceLock::get) {
            deliver(Event::Failed(sent(error)));
        }
        for begun in &self.begun {
            // The process may have ended already.
            let _ = begun.send(Err(sent(error)));
        }
    }
}

/// The place of one process.
pub(super) struct Place {
    process: usize,
    sockets: Sockets,
    begun: Receiver<Begun>,
    /// For process 0: notes of the others that have joined.
    joined: Option<Receiver<()>>,
    hub: Arc<Hub>,
}

/// Returns the places of all processes.
///
/// # Errors
/// When the system provides no socket.
pub(super) fn places(processes: usize) -> Result<Vec<Place>> {
    let (joined, all_joined) = channel();
    let (begun, waiting): (Vec<_>, Vec<_>) = (0..processes).map(|_| channel()).unzip();
    let down = (0..processes).map(|_| OnceLock::new()).collect();
    let (installed, up) = (OnceLock::new(), OnceLock::new());
    let hub = Arc::new(Hub { installed, up, down, begun, joined });
    let mut meshes: Vec<Sockets> = Vec::new();
    for _ in 0..processes {
        let mut own = Vec::new();
        for other in &mut meshes {
            let pair = UnixStream::pair();
            let (one, two) =
                pair.map_err(|e| Error::connect("can't make a pair of sockets").because(e))?;
            own.push(Some(one));
            other.push(Some(two));
        }
        own.push(None);
        meshes.push(own);
    }
    let mut joined = Some(all_joined);
    let place = |(process, (sockets, begun))| {
        let (joined, hub) = (joined.take(), hub.clone());
        Place { process, sockets, begun, joined, hub }
    };
    Ok(meshes.into_iter().zip(waiting).enumerate().map(place).collect())
}

impl Network for Place {
    fn process(&self) -> usize {
        self.process
    }

    fn processes(&self) -> usize {
        self.sockets.len()
    }

    fn lead(
        self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Up>,
    ) -> Result<Arc<dyn Leader>> {
        let Place { process, sockets, joined, hub, .. } = *self;
        hub.up.get_or_init(|| deliver);
        hub.installed.get_or_init(|| installed.clone());
        for _ in 1..sockets.len() {
            let joined = joined.as_ref().and_then(|joined| joined.recv().ok());
            joined.ok_or_else(|| Error::internal("a process is missing"))?;
        }
        Ok(Arc::new(Led {
            hub,
            mesh: Mutex::new(Some((process, sockets))),
            workers: installed.workers,
        }))
    }

    fn join(
        self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Down>,
    ) -> Result<Arc<dyn Member>> {
        let Place { process, sockets, begun, hub, .. } = *self;
        hub.down[process].get_or_init(|| deliver);
        // Process 0 waits for this.
        let _ = hub.joined.send(());
        let (mesh, begun) = (Mutex::new(Some((process, sockets))), Mutex::new(begun));
        Ok(Arc::new(Joined { hub, begun, mesh, installed, process }))
    }
}

/// Starts the threads of the connections among workers.
fn mesh(taken: &Mutex<Option<(usize, Sockets)>>, workers: usize) -> Result<Mesh> {
    let taken = lock(taken).take();
    let (process, sockets) =
        taken.ok_or_else(|| Error::internal("the workers are connected already"))?;
    let hooks = Hooks::default();
    let (refill, spill) = (hooks.refill.clone(), hooks.spill.clone());
    let local = ProcessBuilder::new_typed_vector(workers, refill, spill);
    let (builders, guard) =
        initialize_networking_from_sockets(local, sockets, process, workers, hooks)
            .map_err(|e| Error::no_thread("the threads between processes", e))?;
    let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
    Ok(Mesh { builders, guard: Box::new(guard) })
}

/// Process 0.
struct Led {
    hub: Arc<Hub>,
    mesh: Mutex<Option<(usize, Sockets)>>,
    workers: usize,
}

struct ToMember {
    hub: Arc<Hub>,
    process: usize,
}

impl Outbox<Down> for ToMember {
    fn send(&self, message: &Down) -> Result<()> {
        let message = decoded(&encoded(message)?)?;
        if let Some(deliver) = self.hub.down[self.process].get() {
            deliver(Event::Message { process: 0, message });
        }
        Ok(())
    }
}

impl Leader for Led {
    fn outbox(&self, process: usize) -> Result<Box<dyn Outbox<Down>>> {
        Ok(Box::new(ToMember { hub: self.hub.clone(), process }))
    }

    fn welcome(&self, generation: u64, welcome: &Welcome) -> Result<Mesh> {
        for begun in &self.hub.begun {
            // A process that has ended has sent an error.
            let _ = begun.send(Ok((generation, encoded(welcome)?)));
        }
        mesh(&self.mesh, self.workers)
    }

    fn fail(&self, error: Error) -> Error {
        self.hub.fail(&error);
        error
    }

    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

/// Another process.
struct Joined {
    hub: Arc<Hub>,
    begun: Mutex<Receiver<Begun>>,
    mesh: Mutex<Option<(usize, Sockets)>>,
    installed: Installed,
    process: usize,
}

struct ToLeader {
    hub: Arc<Hub>,
    process: usize,
}

impl Outbox<Up> for ToLeader {
    fn send(&self, message: &Up) -> Result<()> {
        let (process, message) = (self.process, decoded(&encoded(message)?)?);
        if let Some(deliver) = self.hub.up.get() {
            deliver(Event::Message { process, message });
        }
        Ok(())
    }
}

impl Member for Joined {
    fn outbox(&self) -> Arc<dyn Outbox<Up>> {
        Arc::new(ToLeader { hub: self.hub.clone(), process: self.process })
    }

    fn welcomed(&self) -> Result<(u64, Welcome)> {
        let begun = lock(&self.begun).recv();
        let (generation, welcome) = begun.map_err(|_| Error::internal("process 0 has ended"))??;
        if self.hub.installed.get() != Some(&self.installed) {
            return Err(Error::config("this process runs another program than process 0"));
        }
        Ok((generation, decoded(&welcome)?))
    }

    fn mesh(&self) -> Result<Mesh> {
        mesh(&self.mesh, self.installed.workers)
    }

    fn fail(&self, error: Error) -> Error {
        if let Some(deliver) = self.hub.up.get() {
            deliver(Event::Failed(sent(&error)));
        }
        error
    }

    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

/// One process whose workers exchange encoded rows.
pub(super) struct Serialised;

impl Network for Serialised {
    fn process(&self) -> usize {
        0
    }

    fn processes(&self) -> usize {
        1
    }

    fn lead(self: Box<Self>, installed: Installed, _: Deliver<Up>) -> Result<Arc<dyn Leader>> {
        Ok(Arc::new(Alone { workers: installed.workers }))
    }

    fn join(self: Box<Self>, _: Installed, _: Deliver<Down>) -> Result<Arc<dyn Member>> {
        Err(Error::internal("a single process joins no other"))
    }
}

struct Alone {
    workers: usize,
}

impl Leader for Alone {
    fn outbox(&self, process: usize) -> Result<Box<dyn Outbox<Down>>> {
        Err(Error::internal(format!("there is no process {process}")))
    }

    fn welcome(&self, _: u64, _: &Welcome) -> Result<Mesh> {
        Mesh::of(Config::ProcessBinary(self.workers))
    }

    fn fail(&self, error: Error) -> Error {
        error
    }

    fn finish(&self) -> Result<()> {
        Ok(())
    }
}
