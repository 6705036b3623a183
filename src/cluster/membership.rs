//! [`Membership`]: the place of a process among the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::address::Address;
use super::handshake::{Identity, Session};
use super::hello::Hello;
use super::key::{Key, Random};
use super::limits::Limits;
use super::lobby::{Admission, Lobby};
use crate::error::{Error, Result};

/// The place of a process among the others. It is the same in all processes, except for the number
/// of the process in `hello`.
#[derive(Clone)]
pub(crate) struct Membership {
    /// The facts that all processes compare.
    pub(crate) hello: Hello,
    /// The address of each process.
    pub(crate) addresses: Vec<Address>,
    /// The address at which this process listens, if the others reach it by a proxy.
    pub(crate) listen: Option<Address>,
    /// The shared secret.
    pub(crate) key: Key,
    /// The source of random numbers.
    pub(crate) random: Random,
    /// The time limits.
    pub(crate) limits: Limits,
    /// Becomes true once this process is connected to the others.
    pub(crate) is_connected: Arc<AtomicBool>,
}

impl Membership {
    /// Checks the numbers, and begins a life of this process.
    pub(super) fn begin(mut self) -> Result<Self> {
        let (process, processes) = (self.hello.process, self.hello.processes);
        if process >= processes {
            let message = format!("a run of {processes} processes has no process {process}");
            return Err(Error::config(message).hint("Count the processes from 0."));
        }
        if self.addresses.len() != processes {
            let count = self.addresses.len();
            let message = format!("{processes} processes need as many addresses, not {count}");
            return Err(Error::config(message));
        }
        self.hello = self.hello.alive(&self.random)?;
        Ok(self)
    }

    /// Returns the parts of a handshake in this session.
    pub(super) fn identity(&self, session: Session) -> Result<Identity> {
        let (key, random) = (self.key.clone(), self.random.clone());
        Ok(Identity { key, random, hello: self.hello.to_bytes()?, session })
    }

    /// Marks the end of the wait for other processes.
    pub(super) fn connected(&self) {
        self.is_connected.store(true, Ordering::Release);
    }

    /// Listens for other processes. It must be called in a runtime of tokio.
    pub(super) async fn lobby(&self) -> Result<Lobby> {
        let address = self.listen.as_ref().unwrap_or(&self.addresses[self.hello.process]);
        let Limits { handshake, pending, .. } = self.limits;
        Lobby::open(address, Admission { deadline: handshake, pending }, self.limits).await
    }

    /// Returns the processes that have not connected to this one, with the refused strangers.
    pub(super) fn missing(&self, missing: impl Iterator<Item = usize>, lobby: &Lobby) -> String {
        let names: Vec<String> = missing
            .map(|process| format!("process {process} ({})", self.addresses[process]))
            .collect();
        let mut text = names.join(", ");
        let strangers = lobby.strangers.total();
        if strangers > 0 {
            text += &format!("; {strangers} connections without the shared secret were refused");
        }
        text
    }

    /// Returns the error for processes that have not connected to this one in time.
    pub(super) fn not_come(&self, missing: impl Iterator<Item = usize>, lobby: &Lobby) -> Error {
        let (deadline, names) = (self.limits.gather, self.missing(missing, lobby));
        Error::lost(format!("not connected within {deadline:?}: {names}")).hint(
            "Check that each of them runs, that it can reach this process, and that all processes have the same shared secret.",
        )
    }
}
