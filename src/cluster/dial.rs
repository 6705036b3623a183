//! Connections to other processes, which may start later.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::address::{Address, Connection};
use super::handshake::{Identity, Refusal, Role, greet};
use super::hello::Hello;
use super::limits::Limits;
use super::socket::Socket;
use crate::error::{Error, Result};
use crate::sync::{elapsed, now};

/// Time after the first attempt; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Connects to the process at `address`, and tries again until it succeeds. The caller sets the
/// deadline: `last` holds the reason of the last failure then. A long wait is logged.
///
/// # Errors
/// Of kind [`Config`](crate::ErrorKind::Config) for an authenticated process of another version,
/// and that of the source of random numbers.
pub(super) async fn dial(
    address: &Address,
    identity: &Identity,
    role: Role,
    limits: Limits,
    last: &mut String,
) -> Result<(Socket, Hello)> {
    let start = now();
    let (mut pause, mut warning) = (FIRST_PAUSE, limits.first_warning);
    loop {
        match timeout(limits.handshake, attempt(address, identity, role)).await {
            Ok(Ok((socket, hello))) => return Ok((socket, Hello::from_bytes(&hello)?)),
            Ok(Err(Refusal::Unable(error))) => return Err(error),
            Ok(Err(Refusal::Broken(error)))
                if error.kind() == std::io::ErrorKind::UnexpectedEof =>
            {
                *last = "it closes connections of this process".into();
            }
            Ok(Err(Refusal::Broken(error))) => *last = error.to_string(),
            Ok(Err(Refusal::Malformed)) => *last = "another program listens there".into(),
            Ok(Err(Refusal::Unproven)) => *last = "it has another shared secret".into(),
            // An earlier reason is more exact.
            Err(_) if last.is_empty() => *last = "it does not answer".into(),
            Err(_) => {}
        }
        if elapsed(start) >= warning {
            tracing::warn!("still waiting for the process at {address}: {last}");
            warning = elapsed(start) + limits.warning;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Connects once.
pub(super) async fn attempt(
    address: &Address,
    identity: &Identity,
    role: Role,
) -> Result<(Socket, Vec<u8>), Refusal> {
    let mut connection = Connection::open(address).await?;
    let hello = match &mut connection {
        Connection::Tcp(stream) => greet(stream, identity, role).await?,
        Connection::Unix(stream) => greet(stream, identity, role).await?,
    };
    Ok((connection.into_socket()?, hello))
}

/// Returns the error for a process that has not come within `deadline`.
pub(super) fn not_reached(
    process: usize,
    address: &Address,
    deadline: Duration,
    last: &str,
) -> Error {
    let message = format!("can't reach process {process} at {address} within {deadline:?}: {last}");
    Error::lost(message).hint(
        "Check that it runs, that its address is right, and that all processes have the same \
            shared secret.",
    )
}
