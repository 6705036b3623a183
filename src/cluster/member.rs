//! [`Member`]: a process that is connected to process 0.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::board::Cause;
use super::dial::{dial, not_reached};
use super::frame;
use super::handshake::{Role, Session};
use super::key::Code;
use super::link::{Outbox, gone};
use super::links::{Deliver, Event, Links, Pair};
use super::meeting::{self, Meeting};
use super::membership::Membership;
use super::mesh::Mesh;
use crate::error::{Error, ErrorKind, Result};
use crate::faults;
use crate::sync::io_runtime;

/// A process of a run with a number above 0.
pub(crate) struct Member<Up> {
    links: Links,
    meeting: Meeting,
    session: Session,
    up: PhantomData<fn(&Up)>,
}

/// The first message of process 0.
pub(crate) struct Welcome<W> {
    /// The generation of the state.
    pub(crate) generation: u64,
    /// The message of the runtime.
    pub(crate) payload: W,
}

/// Connects this process to process 0, and starts the links. Process 0 may start later.
///
/// # Errors
/// - Of kind [`Lost`](crate::ErrorKind::Lost) if process 0 can't be reached in time.
/// - Of kind [`Config`](crate::ErrorKind::Config) if it has another configuration.
pub(crate) fn join<Up: Serialize, Down: DeserializeOwned + 'static>(
    membership: Membership,
    deliver: impl Fn(Event<Down>) + Send + Sync + 'static,
) -> Result<Member<Up>> {
    let membership = membership.begin()?;
    let deliver: Deliver<Down> = Arc::new(deliver);
    let own = membership.hello.process;
    let (lobby, pair) = io_runtime()?.block_on(async {
        // An address that can't be used is an error before process 0 waits for this process.
        let lobby = match own + 1 < membership.hello.processes {
            true => Some(membership.lobby().await?),
            false => None,
        };
        Ok::<_, Error>((lobby, connected(&membership).await?))
    })?;
    let links = Links::start(own, vec![pair], membership.limits, &deliver)?;
    membership.connected();
    faults::point("cluster.joined");
    let membership = Box::new(membership);
    Ok(Member::new(links, Meeting::Network { membership, lobby }))
}

async fn connected(membership: &Membership) -> Result<Pair> {
    let (address, limits) = (&membership.addresses[0], membership.limits);
    let identity = membership.identity(Session::default())?;
    let mut last = String::new();
    let both = async {
        let bulk = dial(address, &identity, Role::Bulk, limits, &mut last).await?;
        membership.hello.compare(&bulk.1)?;
        let talk = dial(address, &identity, Role::Talk, limits, &mut last).await?;
        membership.hello.compare(&talk.1)?;
        Ok(Pair { process: 0, bulk: bulk.0, talk: talk.0 })
    };
    let done = timeout(limits.gather, both).await;
    done.unwrap_or_else(|_| Err(not_reached(0, address, limits.gather, &last)))
}

impl<Up: Serialize> Member<Up> {
    pub(super) fn new(links: Links, meeting: Meeting) -> Self {
        Member { links, meeting, session: Session::default(), up: PhantomData }
    }

    /// Returns the queue of messages to process 0.
    ///
    /// # Errors
    /// Of kind [`Lost`](crate::ErrorKind::Lost) if process 0 is gone.
    pub(crate) fn outbox(&self) -> Result<Outbox<Up>> {
        self.links.talk(0)
    }

    /// Waits for the welcome of process 0.
    ///
    /// # Errors
    /// The failure of process 0, or that of another process that ends the run.
    pub(crate) fn welcomed<W: DeserializeOwned>(&mut self) -> Result<Welcome<W>> {
        let board = &self.links.board;
        let mut state = board.wait_while(|state| {
            state.welcome.is_none() && state.causes.is_empty() && state.readers > 0
        });
        if let Some(cause) = state.causes.first() {
            return Err(cause.to_error(self.links.own));
        }
        let content = state.welcome.take().ok_or_else(|| gone(0))?;
        drop(state);
        let malformed = |e| Error::lost("process 0 sent a malformed welcome").because(e);
        let (generation, number, payload): (u64, Code, Vec<u8>) =
            frame::decoded(&content).map_err(malformed)?;
        faults::point("cluster.welcomed");
        self.session = Session { generation, number };
        let payload = frame::decoded(&payload).map_err(malformed)?;
        Ok(Welcome { generation, payload })
    }

    /// Connects this process with all others, after the welcome.
    ///
    /// # Errors
    /// - Of kind [`Lost`](crate::ErrorKind::Lost) if a process is gone, or not connected in time.
    /// - The failure for which process 0 ends the run.
    pub(crate) fn mesh(&mut self) -> Result<Mesh> {
        meeting::mesh(&mut self.meeting, &self.links, self.session)
    }

    /// Reports `error` to process 0, and returns the first cause, for which process 0 ends the run.
    ///
    /// The error of this process is the cause if process 0 does not answer, unless it is only the
    /// loss of another process, and process 0 is gone too.
    pub(crate) fn fail(&self, error: Error) -> Error {
        let own = self.links.own;
        let board = &self.links.board;
        self.links.send_failure(&Cause::new(own, &error));
        // Process 0 waits for the first cause itself.
        let limit = self.meeting.limits().verdict * 4;
        let state = board.wait_while_for(limit, |state| {
            state.aborted.is_none() && !state.ended.contains(&0) && state.readers > 0
        });
        let aborted = state.aborted.as_ref().filter(|cause| cause.process != own);
        // Without process 0 all others end, so the loss of another one is a consequence.
        let lost = state.causes.first().filter(|_| error.kind() == ErrorKind::Lost);
        let cause = aborted.or(lost).cloned();
        drop(state);
        self.links.close();
        cause.map_or(error, |cause| cause.to_error(own))
    }

    /// Ends the part of this process, and waits until process 0 ends the run.
    ///
    /// # Errors
    /// The failure for which process 0 ends the run.
    pub(crate) fn finish(self) -> Result<()> {
        self.links.finish()
    }
}
