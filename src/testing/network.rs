//! Processes that are threads of one process. Each message is encoded and decoded, and goes over a
//! pair of sockets.

use std::sync::{Arc, OnceLock};

use timely::communication::Config;

use crate::cluster::{self, LocalProcesses, in_one_process};
use crate::error::{Error, Result};
use crate::runtime::{
    Deliver, Down, Event, Installed, Joined, Leader, Led, Member, Mesh, Network, Outbox, Up,
    Welcome,
};
use crate::sync::{Receiver, Sender, channel};

/// The receivers of events, which each process sets when it starts.
struct Receivers {
    up: OnceLock<Deliver<Up>>,
    down: Vec<OnceLock<Deliver<Down>>>,
}

/// The place of one process.
pub(super) struct Place {
    process: usize,
    processes: usize,
    end: End,
    receivers: Arc<Receivers>,
}

/// The connections of one process.
enum End {
    /// With the notes of members that have started.
    Leader(cluster::Leader<Down>, Receiver<()>),
    Member(cluster::Member<Up>, Sender<()>),
}

/// Passes an event on. A process that has not started yet finds failures when it starts.
fn deliver<M>(receiver: &OnceLock<Deliver<M>>, event: cluster::Event<M>) {
    if let Some(deliver) = receiver.get() {
        deliver(match event {
            cluster::Event::Message { process, message } => Event::Message { process, message },
            cluster::Event::Failed { error, .. } => Event::Failed(error),
        });
    }
}

/// Returns the places of all processes.
///
/// # Errors
/// When the system provides no socket or thread.
pub(super) fn places(processes: usize) -> Result<Vec<Place>> {
    let down = (0..processes).map(|_| OnceLock::new()).collect();
    let receivers = Arc::new(Receivers { up: OnceLock::new(), down });
    let (of_leader, of_members) = (receivers.clone(), receivers.clone());
    let LocalProcesses { leader, members } = in_one_process(
        processes,
        move |event| deliver(&of_leader.up, event),
        move |process, event| deliver(&of_members.down[process], event),
    )?;
    let (started, all_started) = channel();
    let members = members.into_iter().map(|member| End::Member(member, started.clone()));
    let ends = [End::Leader(leader, all_started)].into_iter().chain(members);
    let place = |(process, end)| Place { process, processes, end, receivers: receivers.clone() };
    Ok(ends.enumerate().map(place).collect())
}

impl Network for Place {
    fn process(&self) -> usize {
        self.process
    }

    fn processes(&self) -> usize {
        self.processes
    }

    fn lead(
        self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Up>,
    ) -> Result<Arc<dyn Leader>> {
        self.receivers.up.get_or_init(|| deliver);
        match self.end {
            End::Leader(leader, started) => {
                // A message to a process that has not started would get lost.
                for _ in 1..self.processes {
                    let missing = |_| Error::internal("a process has not started");
                    started.recv().map_err(missing)?;
                }
                Ok(Arc::new(Led::new(leader, installed.workers)))
            }
            End::Member(..) => Err(Error::internal("only process 0 leads")),
        }
    }

    fn join(
        self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Down>,
    ) -> Result<Arc<dyn Member>> {
        self.receivers.down[self.process].get_or_init(|| deliver);
        match self.end {
            End::Member(member, started) => {
                // Process 0 waits for this.
                let _ = started.send(());
                Ok(Arc::new(Joined::new(member, installed.workers)))
            }
            End::Leader(..) => Err(Error::internal("process 0 joins no other")),
        }
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
