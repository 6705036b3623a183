//! The handshake: both ends of a connection prove that they hold the shared secret.
//!
//! ```text
//! dialler  → acceptor   MAGIC · role · nonce D
//! acceptor → dialler    MAGIC · nonce A
//! dialler  → acceptor   hello D · HMAC("dialler"  · role · session · D · A · hello D)
//! acceptor → dialler    hello A · HMAC("acceptor" · role · session · D · A · hello D · hello A)
//! ```
//!
//! - *Replayed* bytes fail, because each end draws a new nonce for each connection.
//! - *Reflected* bytes fail, because a code names its end.
//! - The acceptor sends a code only after it has verified that of the dialler. So a stranger can't
//!   let it make codes.
//! - Connections of the mesh have the generation and the session of the run in their codes. So a
//!   process of an earlier life is refused, although it holds the secret.
//! - No text is parsed before its code is verified, and its length is limited to a few kilobytes.
//!
//! The bytes after a handshake are neither encrypted nor authenticated: processes of several
//! machines need a private network.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::hello::Hello;
use super::key::{CODE_BYTES, Code, Key, Random};
use crate::error::{Error, Result};
use crate::faults;

/// The first bytes of each end.
const MAGIC: [u8; 8] = *b"wtrshed\x01";
const DIALLER: &[u8] = b"watershed dialler";
const ACCEPTOR: &[u8] = b"watershed acceptor";

/// The use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Batches of records, from process 0.
    Bulk = 1,
    /// Reports to process 0, and failures in both directions.
    Talk = 2,
    /// The connection of timely between two processes.
    Mesh = 3,
}

/// The life of a run: the generation of its state, and a random number of process 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) generation: u64,
    pub(super) number: Code,
}

/// The reason why a connection was turned away.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The first bytes are those of another protocol, or an unexpected role.
    Malformed,
    /// The code is not that of the shared secret and the session.
    Unproven,
    /// The connection has ended.
    Broken(io::Error),
    /// This process can't take part in a handshake.
    Unable(Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Broken(error)
    }
}

/// The parts of a handshake that belong to one process.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) key: Key,
    pub(super) random: Random,
    /// The bytes of the [`Hello`] of this process.
    pub(super) hello: Vec<u8>,
    /// The default before the session is known.
    pub(super) session: Session,
}

/// The code of one end, from the parts of the handshake.
struct Transcript<'a> {
    role: u8,
    session: Session,
    dialler_nonce: &'a Code,
    acceptor_nonce: &'a Code,
    dialler_hello: &'a [u8],
}

impl Transcript<'_> {
    /// Calls `use_parts` with the parts of the code of the end that has this `label`.
    fn with<T>(&self, label: &[u8], more: &[u8], use_parts: impl FnOnce(&[&[u8]]) -> T) -> T {
        let is_any = faults::bug("old_session");
        let session = if is_any { Session::default() } else { self.session };
        let generation = session.generation.to_be_bytes();
        let length = (self.dialler_hello.len() as u64).to_be_bytes();
        use_parts(&[
            label,
            &[self.role],
            &generation,
            &session.number,
            self.dialler_nonce,
            self.acceptor_nonce,
            &length,
            self.dialler_hello,
            more,
        ])
    }
}

/// Performs the handshake as the end that has connected, and returns the bytes of the other's
/// [`Hello`].
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
    role: Role,
) -> Result<Vec<u8>, Refusal> {
    let nonce = (identity.random)().map_err(Refusal::Unable)?;
    stream.write_all(&[&MAGIC[..], &[role as u8], &nonce].concat()).await?;
    stream.flush().await?;
    expect_magic(stream).await?;
    let mut theirs = [0; CODE_BYTES];
    stream.read_exact(&mut theirs).await?;
    let transcript = Transcript {
        role: role as u8,
        session: identity.session,
        dialler_nonce: &nonce,
        acceptor_nonce: &theirs,
        dialler_hello: &identity.hello,
    };
    let code = transcript.with(DIALLER, &[], |parts| identity.key.code(parts));
    send_proof(stream, &identity.hello, &code).await?;
    let (hello, code) = read_proof(stream).await?;
    let is_proven = transcript.with(ACCEPTOR, &hello, |parts| identity.key.verifies(parts, &code));
    is_proven.then_some(hello).ok_or(Refusal::Unproven)
}

/// Performs the handshake as the end that has accepted the connection, and returns its role and the
/// bytes of the other's [`Hello`].
pub(super) async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
    roles: &[Role],
) -> Result<(Role, Vec<u8>), Refusal> {
    expect_magic(stream).await?;
    let role = stream.read_u8().await?;
    let expected = roles.iter().find(|expected| **expected as u8 == role);
    let role = *expected.ok_or(Refusal::Malformed)?;
    let mut theirs = [0; CODE_BYTES];
    stream.read_exact(&mut theirs).await?;
    let nonce = (identity.random)().map_err(Refusal::Unable)?;
    stream.write_all(&[&MAGIC[..], &nonce].concat()).await?;
    stream.flush().await?;
    let (hello, code) = read_proof(stream).await?;
    let transcript = Transcript {
        role: role as u8,
        session: identity.session,
        dialler_nonce: &theirs,
        acceptor_nonce: &nonce,
        dialler_hello: &hello,
    };
    let is_proven = transcript.with(DIALLER, &[], |parts| identity.key.verifies(parts, &code));
    if !is_proven {
        return Err(Refusal::Unproven);
    }
    let code = transcript.with(ACCEPTOR, &identity.hello, |parts| identity.key.code(parts));
    send_proof(stream, &identity.hello, &code).await?;
    Ok((role, hello))
}

async fn expect_magic<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(), Refusal> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    (magic == MAGIC).then_some(()).ok_or(Refusal::Malformed)
}

async fn send_proof<S: AsyncWrite + Unpin>(
    stream: &mut S,
    hello: &[u8],
    code: &Code,
) -> io::Result<()> {
    let length = u16::try_from(hello.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], hello, code].concat()).await?;
    stream.flush().await
}

async fn read_proof<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Vec<u8>, Code), Refusal> {
    let length = usize::from(stream.read_u16().await?);
    if length > Hello::LONGEST_BYTES {
        return Err(Refusal::Malformed);
    }
    let (mut hello, mut code) = (vec![0; length], [0; CODE_BYTES]);
    stream.read_exact(&mut hello).await?;
    stream.read_exact(&mut code).await?;
    Ok((hello, code))
}
