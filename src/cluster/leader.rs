//! [`Leader`]: process 0, to which all others connect.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::board::Cause;
use super::frame::{self, Tag};
use super::handshake::{Role, Session};
use super::link::Outbox;
use super::links::{Deliver, Event, Links, Pair};
use super::lobby::{Arrival, Lobby};
use super::meeting::{self, Meeting};
use super::membership::Membership;
use super::mesh::Mesh;
use super::socket::Socket;
use crate::error::{Error, Result};
use crate::faults;
use crate::sync::io_runtime;

/// Process 0 of a run.
pub(crate) struct Leader<Down> {
    links: Links,
    meeting: Meeting,
    down: PhantomData<fn(&Down)>,
}

/// The connections of one process until all have come.
#[derive(Default)]
struct Seat {
    /// The life of the process to which both connections belong.
    life: u64,
    bulk: Option<Socket>,
    talk: Option<Socket>,
}

impl Seat {
    fn take(&mut self, arrival: Arrival) {
        if self.life != arrival.hello.life {
            // A process that was started again replaces its earlier life.
            *self = Seat { life: arrival.hello.life, ..Seat::default() };
        }
        match arrival.role {
            Role::Bulk => self.bulk = Some(arrival.socket),
            _ => self.talk = Some(arrival.socket),
        }
    }

    fn is_complete(&self) -> bool {
        self.bulk.is_some() && self.talk.is_some()
    }
}

/// Waits until all other processes are connected to this one, process 0, and starts the links.
///
/// # Errors
/// - Of kind [`Lost`](crate::ErrorKind::Lost), with the names of the processes that have not come
///   within their time.
/// - Of kind [`Config`](crate::ErrorKind::Config) if one of them has another configuration.
pub(crate) fn gather<Down: Serialize, Up: DeserializeOwned + 'static>(
    membership: Membership,
    deliver: impl Fn(Event<Up>) + Send + Sync + 'static,
) -> Result<Leader<Down>> {
    let membership = membership.begin()?;
    let deliver: Deliver<Up> = Arc::new(deliver);
    let (lobby, seats) = io_runtime()?.block_on(async {
        let lobby = membership.lobby().await?;
        let seats = seated(&membership, &lobby).await?;
        Ok::<_, Error>((lobby, seats))
    })?;
    let pairs = (1..).zip(seats).filter_map(|(process, seat)| {
        let (Some(bulk), Some(talk)) = (seat.bulk, seat.talk) else { return None };
        Some(Pair { process, bulk, talk })
    });
    let links = Links::start(0, pairs.collect(), membership.limits, &deliver)?;
    membership.connected();
    faults::point("cluster.gathered");
    let (membership, lobby) = (Box::new(membership), Some(lobby));
    Ok(Leader::new(links, Meeting::Network { membership, lobby }))
}

/// Returns the connections of the processes from 1.
async fn seated(membership: &Membership, lobby: &Lobby) -> Result<Vec<Seat>> {
    let own = &membership.hello;
    let seats: Vec<Seat> = (1..own.processes).map(|_| Seat::default()).collect();
    if seats.is_empty() {
        return Ok(seats);
    }
    let seats = RefCell::new(seats);
    let identity = Arc::new(membership.identity(Session::default())?);
    let seat = |arrival: Arrival| {
        own.compare(&arrival.hello)?;
        let mut seats = seats.borrow_mut();
        seats[arrival.hello.process - 1].take(arrival);
        Ok(seats.iter().all(Seat::is_complete))
    };
    let missing = || {
        let seats = seats.borrow();
        let open = (1..).zip(seats.iter()).filter(|(_, seat)| !seat.is_complete());
        open.map(|(process, _)| process).collect::<Vec<usize>>().into_iter()
    };
    {
        let mut all = pin!(lobby.receive(&identity, &[Role::Bulk, Role::Talk], seat));
        let (mut left, mut pause) = (membership.limits.gather, membership.limits.first_warning);
        loop {
            if let Ok(done) = timeout(left.min(pause), &mut all).await {
                done?;
                break;
            }
            left = left.saturating_sub(pause);
            if left.is_zero() {
                return Err(membership.not_come(missing(), lobby));
            }
            tracing::warn!("still waiting for {}", membership.missing(missing(), lobby));
            pause = membership.limits.warning;
        }
    }
    Ok(seats.into_inner())
}

impl<Down: Serialize> Leader<Down> {
    pub(super) fn new(links: Links, meeting: Meeting) -> Self {
        Leader { links, meeting, down: PhantomData }
    }

    /// Returns the queue of messages to one process.
    ///
    /// # Errors
    /// Of kind [`Lost`](crate::ErrorKind::Lost) for a number that no other process has.
    pub(crate) fn outbox(&self, process: usize) -> Result<Outbox<Down>> {
        self.links.bulk(process)
    }

    /// Welcomes all processes to the run of this generation, and connects them with one another.
    ///
    /// # Errors
    /// - Of kind [`Lost`](crate::ErrorKind::Lost) if a process is gone, or not connected in time.
    /// - The failure of another process.
    pub(crate) fn welcome<W: Serialize>(&mut self, generation: u64, payload: &W) -> Result<Mesh> {
        let session = self.meeting.session(generation)?;
        let content = (session.generation, session.number, postcard_of(payload)?);
        self.links.send_to_all(&frame::encoded(Tag::Welcome, &content)?);
        faults::point("cluster.welcome");
        meeting::mesh(&mut self.meeting, &self.links, session)
    }

    /// Returns the number of connections that were turned away until now. They are counted until
    /// the mesh is made.
    #[cfg(test)]
    pub(crate) fn strangers(&self) -> u64 {
        self.meeting.strangers()
    }

    /// Ends the run because of `error`, and returns its first cause.
    ///
    /// If `error` is only the loss of a process, the cause may still be on its way, so this waits
    /// for a moment. All other processes end with the same cause.
    pub(crate) fn fail(&self, error: Error) -> Error {
        let own = Cause::new(0, &error);
        let board = &self.links.board;
        let limit = self.meeting.limits().verdict;
        let state = board.wait_while_for(limit, |state| {
            let is_known = own.is_primary() || state.causes.iter().any(Cause::is_primary);
            state.readers > 0 && !is_known
        });
        let first = state.causes.iter().find(|cause| cause.is_primary());
        let first = first.or(Some(&own).filter(|own| own.is_primary()));
        // A process that has lost another one closes its connections of timely, which may be
        // noticed first. Its links stay open, so a loss of a link names the right process.
        let cause = first.or(state.causes.first()).unwrap_or(&own).clone();
        drop(state);
        self.links.send_failure(&cause);
        self.links.close();
        if cause == own { error } else { cause.to_error(0) }
    }

    /// Ends the run of all processes, once all others have ended theirs.
    ///
    /// # Errors
    /// The failure of another process.
    pub(crate) fn finish(self) -> Result<()> {
        self.links.finish()
    }
}

fn postcard_of(payload: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_stdvec(payload)
        .map_err(|e| Error::internal("can't encode the welcome to other processes").because(e))
}
