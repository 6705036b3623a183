//! The network of a run over sockets, as [`cluster`](crate::cluster) makes it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::network::{Cluster, Deliver, Event, Installed, Leader, Member, Mesh, Network, Outbox};
use super::protocol::{Down, Up, Welcome};
use super::secret::drawn;
use crate::cluster::{self, Address, Hello, Key, Limits, Membership};
use crate::error::{Error, Result};
use crate::sync::lock;

impl Cluster {
    /// Returns the place of the process of number `process`, counted from 0, among `processes`.
    ///
    /// `hosts` are the addresses of all of them, with commas: `host:port`, or `unix:/path` on one
    /// machine. It may be a pattern instead, whose `{}` is replaced by the number of the process.
    /// The file `secret` has the same text in each process, of at least 16 bytes. Processes prove
    /// to one another that they hold it. What they send is not encrypted.
    ///
    /// ```
    /// use std::thread;
    ///
    /// use watershed::connect::memory::{MemoryLog, MemoryTable};
    /// use watershed::prelude::*;
    /// use watershed::runtime::Cluster;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// let secret = folder.path().join("secret");
    /// std::fs::write(&secret, "a text of at least sixteen bytes").unwrap();
    /// let hosts = format!("unix:{}/{{}}", folder.path().display());
    /// let (input, output) = (MemoryLog::default(), MemoryTable::default());
    /// input.append(0, Some(b"tea"), Some(b"green"));
    /// let run = |process| {
    ///     let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
    ///         let rows = builder.table::<String, String>("in", Consumed::with(Utf8, Utf8));
    ///         rows.to("out", Produced::columns(["key", "value"]));
    ///     });
    ///     let streams = Streams::new(topology).source("in", input.clone());
    ///     let cluster = Some(Cluster::new(&hosts, process, 2, &secret)?);
    ///     let config = Config { workers: 1, cluster, ..Config::default() };
    ///     streams.sink("out", output.clone()).run(config)
    /// };
    /// // Two programs on one machine or on two do the same.
    /// let (first, second) = thread::scope(|scope| {
    ///     let second = scope.spawn(|| run(1));
    ///     (run(0), second.join().unwrap())
    /// });
    /// assert_eq!((first?.committed, second.is_ok(), output.rows().len()), (1, true, 1));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When an address or the secret can't be used.
    pub fn new(hosts: &str, process: usize, processes: usize, secret: &Path) -> Result<Self> {
        Ok(Self::of(Membership {
            // The run adds the facts of the program.
            hello: Hello::new(process, processes, 0),
            addresses: Address::several(hosts, processes)?,
            listen: None,
            key: Key::from_file(secret)?,
            random: Arc::new(drawn),
            limits: Limits::default(),
            is_connected: Arc::default(),
        }))
    }

    /// Returns the place that a membership describes. The run adds the facts of the program.
    pub(crate) fn of(membership: Membership) -> Self {
        Cluster::on(membership)
    }
}

/// Returns a membership with the facts that all processes compare.
fn with_facts(membership: Membership, installed: &Installed) -> Membership {
    let Hello { process, processes, .. } = membership.hello;
    let hello = Hello::new(process, processes, installed.workers)
        .build(env!("CARGO_PKG_VERSION"))
        .installed(installed.fingerprint.as_str());
    Membership { hello, ..membership }
}

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
        self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Up>,
    ) -> Result<Arc<dyn Leader>> {
        let membership = with_facts(*self, &installed);
        let leader = cluster::gather(membership, move |it| deliver(event(it)))?;
        Ok(Arc::new(Led::new(leader, installed.workers)))
    }

    fn join(
        self: Box<Self>,
        installed: Installed,
        deliver: Deliver<Down>,
    ) -> Result<Arc<dyn Member>> {
        let membership = with_facts(*self, &installed);
        let member = cluster::join(membership, move |it| deliver(event(it)))?;
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
