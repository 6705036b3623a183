//! The lobby: connections come in, and only those of authenticated processes come through.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::address::{Address, Connection, Listener};
use super::handshake::{Identity, Refusal, Role, receive};
use super::hello::Hello;
use super::limits::Limits;
use super::socket::Socket;
use crate::error::{Error, Result};
use crate::faults;
use crate::sync::{elapsed, now};

/// Time between two attempts to accept when the system has no free file.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time between two attempts to listen.
const BIND_PAUSE: Duration = Duration::from_millis(100);

/// The limits of the handshakes at one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    /// The longest time of one handshake.
    pub(super) deadline: Duration,
    /// The most handshakes at the same time.
    pub(super) pending: usize,
}

/// Counts the connections that were turned away, by reason.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// The first bytes, the role or the length were wrong.
    pub(super) malformed: AtomicU64,
    /// The code was wrong.
    pub(super) unproven: AtomicU64,
    /// The handshake had no end within its time.
    pub(super) late: AtomicU64,
    /// The connection ended within the handshake.
    pub(super) broken: AtomicU64,
    /// Newer connections took the place of this one.
    pub(super) evicted: AtomicU64,
}

impl Strangers {
    /// Returns the number of all of them.
    pub(super) fn total(&self) -> u64 {
        let all = [&self.malformed, &self.unproven, &self.late, &self.broken, &self.evicted];
        all.into_iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn count(&self, refusal: &Refusal) {
        let counter = match refusal {
            Refusal::Malformed => &self.malformed,
            Refusal::Unproven => &self.unproven,
            Refusal::Broken(_) | Refusal::Unable(_) => &self.broken,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// An authenticated connection.
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) role: Role,
    pub(super) hello: Hello,
}

/// A connection after its handshake, with the bytes of the other process.
struct Proven {
    connection: Connection,
    role: Role,
    hello: Vec<u8>,
}

/// The place at which a process accepts the connections of others.
pub(super) struct Lobby {
    listener: Listener,
    admission: Admission,
    pub(super) strangers: Arc<Strangers>,
}

impl Lobby {
    /// Listens at `address`; tries it for as long as the `limits` allow to gather. A long wait is
    /// logged. It must be called in a runtime of tokio.
    ///
    /// The name of a new process may not be known yet, and a process of an earlier life may still
    /// hold the port.
    pub(super) async fn open(
        address: &Address,
        admission: Admission,
        limits: Limits,
    ) -> Result<Self> {
        let start = now();
        let mut warning = limits.first_warning;
        let error = loop {
            match Listener::bind(address).await {
                Ok(listener) => {
                    return Ok(Lobby { listener, admission, strangers: Arc::default() });
                }
                // The path of a Unix socket is too long.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(Error::config(format!("can't listen at {address}")).because(error));
                }
                Err(error) if elapsed(start) >= limits.gather => break error,
                Err(error) => {
                    if elapsed(start) >= warning {
                        tracing::warn!("still trying to listen at {address}: {error}");
                        warning = elapsed(start) + limits.warning;
                    }
                    sleep(BIND_PAUSE).await;
                }
            }
        };
        Err(Error::lost(format!("can't listen at {address}"))
            .because(error)
            .hint("Check that the address is that of this process, and that it is free."))
    }

    /// Accepts connections in one of these `roles`, until `seat` returns true.
    ///
    /// If too many handshakes are open, a new connection ends the oldest of them. Otherwise silent
    /// strangers could keep all others out, each for the whole deadline. The handshake of a process
    /// of the run takes few milliseconds, and a process that was turned away dials again.
    ///
    /// # Errors
    /// Those of `seat`; and of kind [`Config`](crate::ErrorKind::Config) for an authenticated
    /// process of another version.
    pub(super) async fn receive(
        &self,
        identity: &Arc<Identity>,
        roles: &'static [Role],
        mut seat: impl FnMut(Arrival) -> Result<bool>,
    ) -> Result<()> {
        let mut handshakes: JoinSet<Option<Proven>> = JoinSet::new();
        let mut pending: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let Ok(connection) = accepted else {
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    };
                    pending.retain(|handshake| !handshake.is_finished());
                    if pending.len() >= self.admission.pending
                        && let Some(oldest) = pending.pop_front()
                    {
                        oldest.abort();
                    }
                    let (identity, strangers) = (identity.clone(), self.strangers.clone());
                    let deadline = self.admission.deadline;
                    let work = handshake(connection, identity, roles, deadline, strangers);
                    pending.push_back(handshakes.spawn(work));
                }
                Some(ended) = handshakes.join_next() => {
                    let proven = ended.unwrap_or_else(|_| {
                        self.strangers.evicted.fetch_add(1, Ordering::Relaxed);
                        None
                    });
                    let Some(Proven { connection, role, hello }) = proven else { continue };
                    let hello = Hello::from_bytes(&hello)?;
                    // A socket that fails here would fail later.
                    let Ok(socket) = connection.into_socket() else { continue };
                    if seat(Arrival { socket, role, hello })? {
                        return Ok(());
                    }
                }
            }
        }
    }
}

impl Drop for Lobby {
    fn drop(&mut self) {
        let count = self.strangers.total();
        if count > 0 {
            tracing::warn!(
                "turned away {count} connections that did not prove the shared secret in time"
            );
        }
    }
}

/// Performs one handshake, and counts a connection that is turned away.
async fn handshake(
    mut connection: Connection,
    identity: Arc<Identity>,
    roles: &'static [Role],
    deadline: Duration,
    strangers: Arc<Strangers>,
) -> Option<Proven> {
    let work = async {
        match &mut connection {
            Connection::Tcp(stream) => receive(stream, &identity, roles).await,
            Connection::Unix(stream) => receive(stream, &identity, roles).await,
        }
    };
    match timeout(deadline, work).await {
        Ok(Ok((role, hello))) => {
            faults::point("cluster.proven");
            Some(Proven { connection, role, hello })
        }
        Ok(Err(refusal)) => {
            strangers.count(&refusal);
            None
        }
        Err(_) => {
            strangers.late.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}
