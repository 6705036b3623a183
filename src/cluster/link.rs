//! One connection between two processes: a thread that reads, and a thread that writes.
//!
//! The writer sends a beat whenever nothing else was sent for a while. So bytes come as long as the
//! process lives, and a reader that gets none for longer reports it as lost. A process that is
//! stopped, or a machine that is cut off, is noticed in this way; a process that ends closes its
//! connections, which is noticed at once.

use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::marker::PhantomData;
use std::net::Shutdown;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use serde::Serialize;
use timely::communication::allocator::zero_copy::stream::Stream;

use super::frame::{self, Frame, Tag};
use super::limits::Limits;
use super::socket::Socket;
use crate::error::{Error, Result};
use crate::sync::{Receiver, Sender};

/// Bytes that are read or written together.
const BUFFER_BYTES: usize = 64 << 10;

/// A request to the thread that writes.
pub(super) enum Post {
    /// Write the bytes of a frame.
    Frame(Vec<u8>),
    /// End the stream.
    Close,
}

/// Sends messages to another process.
///
/// It never blocks: a queue without a limit stands between it and the connection. The runtime
/// limits the bytes on their way.
pub(crate) struct Outbox<M> {
    process: usize,
    posts: Sender<Post>,
    message: PhantomData<fn(&M)>,
}

impl<M> Clone for Outbox<M> {
    fn clone(&self) -> Self {
        Outbox { process: self.process, posts: self.posts.clone(), message: PhantomData }
    }
}

impl<M: Serialize> Outbox<M> {
    pub(super) fn new(process: usize, posts: Sender<Post>) -> Self {
        Outbox { process, posts, message: PhantomData }
    }

    /// Sends a message. Messages of one outbox and its clones arrive in their order.
    ///
    /// # Errors
    /// Of kind [`Lost`](crate::ErrorKind::Lost) if the process is gone, and of kind
    /// [`Internal`](crate::ErrorKind::Internal) for a message of more than 256 MiB.
    pub(crate) fn send(&self, message: &M) -> Result<()> {
        let bytes = frame::encoded(Tag::Message, message)?;
        self.posts.send(Post::Frame(bytes)).map_err(|_| gone(self.process))
    }
}

/// Returns the error for a process whose connection has ended.
pub(super) fn gone(process: usize) -> Error {
    Error::lost(format!("process {process} is gone"))
}

/// Reads frames until the end of the stream, and hands each to `receive`.
///
/// # Errors
/// Of kind [`Lost`](crate::ErrorKind::Lost) for each end but that by a [`Tag::End`].
pub(super) fn read_all(
    process: usize,
    socket: Socket,
    limits: &Limits,
    mut receive: impl FnMut(Frame) -> io::Result<()>,
) -> Result<()> {
    let mut socket = BufReader::with_capacity(BUFFER_BYTES, socket);
    // Process 0 sends the first beat when all processes have come.
    let mut longest = limits.gather + limits.silence;
    let mut is_over = socket.get_ref().set_read_deadline(longest).map(|()| false);
    while let Ok(false) = is_over {
        is_over = frame::read(&mut socket).and_then(|frame| match frame {
            Some(Frame { tag: Tag::End, .. }) => Ok(true),
            Some(Frame { tag: Tag::Beat, .. }) => Ok(false),
            Some(frame) => receive(frame).map(|()| false),
            None => Err(ErrorKind::UnexpectedEof.into()),
        });
        if longest != limits.silence && is_over.is_ok() {
            longest = limits.silence;
            let set = socket.get_ref().set_read_deadline(longest);
            is_over = set.and(is_over);
        }
    }
    is_over.map(drop).map_err(|error| lost(process, error, longest))
}

fn lost(process: usize, error: io::Error, longest: Duration) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            gone(process)
        }
        ErrorKind::TimedOut => {
            Error::lost(format!("process {process} has not answered for {longest:?}"))
                .hint("It may be stopped, or its machine may be cut off.")
        }
        _ => Error::lost(format!("can't read from process {process}")).because(error),
    }
}

/// Writes the posted frames, and a beat whenever none was posted for a while.
///
/// # Errors
/// Those of the socket, also when the other process does not read.
pub(super) fn write_all(
    mut socket: Socket,
    limits: &Limits,
    posts: &Receiver<Post>,
) -> io::Result<()> {
    socket.set_write_deadline(limits.silence)?;
    socket.write_all(&frame::empty(Tag::Beat))?;
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, socket);
    loop {
        let next = posts.recv_timeout(limits.beat).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Post::Frame(frame::empty(Tag::Beat)),
            RecvTimeoutError::Disconnected => Post::Close,
        });
        // Write together all frames that are there.
        for post in std::iter::once(next).chain(posts.try_iter()) {
            match post {
                Post::Frame(bytes) => writer.write_all(&bytes)?,
                Post::Close => {
                    writer.flush()?;
                    return writer.get_ref().shutdown(Shutdown::Write);
                }
            }
        }
        writer.flush()?;
    }
}
