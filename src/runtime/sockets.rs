//! The network of a run over sockets, as [`cluster`](crate::cluster) makes it.

use std::sync::{Arc, Mutex};

use super::network::{Deliver, Event, Installed, Leader, Member, Mesh, Network, Outbox};
use super::protocol::{Down, Up, Welcome};
use crate::cluster::{self, Membership};
use crate::error::{Error, Result};
use crate::sync::lock;

/// Returns an event of the cluster as the runtime handles it.
fn event<M>(event: cluster::Event<M>) -> Event<M> {
    match event {
        cluster::Event::Message { process, message } => Event::Message { process, message },
        cluster::Event::Failed { error, .. } => Event::Failed(error),
    }
}

impl Network for Membership {
    fn process(&self) -> usize {
        self.hello.process
    }

    fn processes(&self) -> usize {
        self.hello.processes
    }

    fn lead(
        mut self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Up>,
    ) -> Result<Arc<dyn Leader>> {
        self.hello = self.hello.installed(installed.fingerprint);
        let leader = cluster::gather(*self, move |it| deliver(event(it)))?;
        Ok(Arc::new(Led::new(leader, installed.workers)))
    }

    fn join(
        mut self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Down>,
    ) -> Result<Arc<dyn Member>> {
        self.hello = self.hello.installed(installed.fingerprint);
        let member = cluster::join(*self, move |it| deliver(event(it)))?;
        Ok(Arc::new(Joined::new(member, installed.workers)))
    }
}

impl Outbox<Down> for cluster::Outbox<Down> {
    fn send(&self, message: &Down) -> Result<()> {
        cluster::Outbox::send(self, message)
    }
}

impl Outbox<Up> for cluster::Outbox<Up> {
    fn send(&self, message: &Up) -> Result<()> {
        cluster::Outbox::send(self, message)
    }
}

/// Returns the connections among workers, `workers` of them in this process.
fn mesh(mesh: cluster::Mesh, workers: usize) -> Result<Mesh> {
    let cluster::MeshBuilders { builders, guard } = mesh.builders(workers)?;
    Ok(Mesh { builders, guard })
}

/// Returns the error for connections that were used after their end.
fn ended() -> Error {
    Error::internal("the connections to other processes have ended")
}

/// Process 0; none after its end.
pub(crate) struct Led {
    leader: Mutex<Option<cluster::Leader<Down>>>,
    workers: usize,
}

impl Led {
    /// Returns the connections of process 0, in which each process has this number of workers.
    pub(crate) fn new(leader: cluster::Leader<Down>, workers: usize) -> Self {
        Led { leader: Mutex::new(Some(leader)), workers }
    }
}

impl Leader for Led {
    fn outbox(&self, process: usize) -> Result<Box<dyn Outbox<Down>>> {
        let leader = lock(&self.leader);
        let outbox = leader.as_ref().ok_or_else(ended)?.outbox(process)?;
        Ok(Box::new(outbox))
    }

    fn welcome(&self, generation: u64, welcome: &Welcome) -> Result<Mesh> {
        let mut leader = lock(&self.leader);
        mesh(leader.as_mut().ok_or_else(ended)?.welcome(generation, welcome)?, self.workers)
    }

    fn fail(&self, error: Error) -> Error {
        match &*lock(&self.leader) {
            Some(leader) => leader.fail(error),
            None => error,
        }
    }

    fn finish(&self) -> Result<()> {
        let leader = lock(&self.leader).take();
        leader.map_or(Ok(()), cluster::Leader::finish)
    }
}

/// Another process; none after its end.
pub(crate) struct Joined {
    member: Mutex<Option<cluster::Member<Up>>>,
    workers: usize,
}

impl Joined {
    /// Returns the connections of a process with this number of workers.
    pub(crate) fn new(member: cluster::Member<Up>, workers: usize) -> Self {
        Joined { member: Mutex::new(Some(member)), workers }
    }
}

impl Member for Joined {
    fn outbox(&self) -> Result<Arc<dyn Outbox<Up>>> {
        let member = lock(&self.member);
        let outbox = member.as_ref().ok_or_else(ended)?.outbox()?;
        Ok(Arc::new(outbox))
    }

    fn welcomed(&self) -> Result<(u64, Welcome)> {
        let mut member = lock(&self.member);
        let welcome = member.as_mut().ok_or_else(ended)?.welcomed()?;
        Ok((welcome.generation, welcome.payload))
    }

    fn mesh(&self) -> Result<Mesh> {
        mesh(lock(&self.member).as_mut().ok_or_else(ended)?.mesh()?, self.workers)
    }

    fn fail(&self, error: Error) -> Error {
        match &*lock(&self.member) {
            Some(member) => member.fail(error),
            None => error,
        }
    }

    fn finish(&self) -> Result<()> {
        let member = lock(&self.member).take();
        member.map_or(Ok(()), cluster::Member::finish)
    }
}
