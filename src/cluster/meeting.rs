//! The connections of timely between all processes, made once the generation of the run is known.
//!
//! Process `j` dials each process `i < j`. The session of the run is part of the handshake, so a
//! process of an earlier life can't take part.

use std::sync::Arc;

use tokio::time::timeout;

use super::dial::{dial, not_reached};
use super::handshake::{Role, Session};
use super::limits::Limits;
use super::links::Links;
use super::lobby::{Arrival, Lobby};
use super::membership::Membership;
use super::mesh::Mesh;
use super::socket::Socket;
use crate::error::{Error, Result};
use crate::faults;
use crate::sync::io_runtime;

/// The way in which a process is connected with all others.
pub(super) enum Meeting {
    /// By connections that are made when the run is known.
    Network { membership: Box<Membership>, lobby: Option<Lobby> },
    /// By sockets within one process, one for each other process.
    Local { sockets: Vec<Option<Socket>>, limits: Limits },
}

impl Meeting {
    pub(super) fn limits(&self) -> Limits {
        match self {
            Meeting::Network { membership, .. } => membership.limits,
            Meeting::Local { limits, .. } => *limits,
        }
    }

    /// Returns the number of connections that were turned away.
    #[cfg(test)]
    pub(super) fn strangers(&self) -> u64 {
        match self {
            Meeting::Network { lobby: Some(lobby), .. } => lobby.strangers.total(),
            _ => 0,
        }
    }

    /// Draws the session of a run.
    pub(super) fn session(&self, generation: u64) -> Result<Session> {
        let number = match self {
            Meeting::Network { membership, .. } => (membership.random)()?,
            Meeting::Local { .. } => Default::default(),
        };
        Ok(Session { generation, number })
    }
}

/// Connects process `links.own` with all others.
///
/// # Errors
/// The first failure that the links report, and those of [`Leader`](super::Leader) and
/// [`Member`](super::Member).
pub(super) fn mesh(meeting: &mut Meeting, links: &Links, session: Session) -> Result<Mesh> {
    let own = links.own;
    let limits = meeting.limits();
    let sockets = match meeting {
        Meeting::Local { sockets, .. } => std::mem::take(sockets),
        Meeting::Network { membership, lobby } => {
            let lobby = lobby.take();
            let work = connected(membership, lobby.as_ref(), session);
            io_runtime()?.block_on(links.board.or_failure(own, work))?
        }
    };
    faults::point("cluster.mesh");
    Mesh::new(own, sockets, limits)
}

async fn connected(
    membership: &Membership,
    lobby: Option<&Lobby>,
    session: Session,
) -> Result<Vec<Option<Socket>>> {
    let own = &membership.hello;
    let identity = Arc::new(membership.identity(session)?);
    let limits = membership.limits;
    let dialled = futures::future::try_join_all((0..own.process).map(|process| {
        let (address, identity) = (&membership.addresses[process], identity.clone());
        async move {
            let mut last = String::new();
            let work = dial(address, &identity, Role::Mesh, limits, &mut last);
            let done = timeout(limits.gather, work).await;
            let (socket, hello) =
                done.unwrap_or_else(|_| Err(not_reached(process, address, limits.gather, &last)))?;
            own.compare(&hello)?;
            Ok::<_, Error>(Some(socket))
        }
    }));
    let accepted = accepted(membership, lobby, &identity);
    let (dialled, accepted) = tokio::try_join!(dialled, accepted)?;
    Ok(dialled.into_iter().chain([None]).chain(accepted).collect())
}

/// Returns the connections of the processes with higher numbers.
async fn accepted(
    membership: &Membership,
    lobby: Option<&Lobby>,
    identity: &Arc<super::handshake::Identity>,
) -> Result<Vec<Option<Socket>>> {
    let own = &membership.hello;
    let first = own.process + 1;
    let mut seats: Vec<Option<Socket>> = (first..own.processes).map(|_| None).collect();
    let Some(lobby) = lobby.filter(|_| !seats.is_empty()) else { return Ok(seats) };
    let seat = |arrival: Arrival| {
        own.compare(&arrival.hello)?;
        let process = arrival.hello.process;
        if let Some(seat) = process.checked_sub(first).and_then(|at| seats.get_mut(at)) {
            // The first connection has ended if the process dials again.
            *seat = Some(arrival.socket);
        }
        Ok(seats.iter().all(Option::is_some))
    };
    let all = lobby.receive(identity, &[Role::Mesh], seat);
    match timeout(membership.limits.gather, all).await {
        Ok(done) => done.map(|()| seats),
        Err(_) => {
            let missing: Vec<usize> = (first..)
                .zip(&seats)
                .filter(|(_, seat)| seat.is_none())
                .map(|(process, _)| process)
                .collect();
            Err(membership.not_come(missing.into_iter(), lobby))
        }
    }
}
