//! [`Pulsed`]: a socket for timely, with signs of life between the bytes.
//!
//! Timely sends nothing while there is no progress, and waits without a limit. A cable between two
//! machines may be cut although both reach process 0. So each connection has its own pulse: bytes
//! travel in chunks with their length in front, and an empty chunk is a sign of life.

use std::io::{self, BufReader, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};

use timely::communication::allocator::zero_copy::stream::Stream;

use super::limits::Limits;
use super::socket::Socket;
use crate::sync::{Condvar, lock, spawn};

/// Bytes that are read together.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes of the length of a chunk.
const LENGTH_BYTES: usize = 4;

/// The end of a connection that writes, for the thread of timely and for the pulse.
struct Writer {
    state: Mutex<WriterState>,
    changed: Condvar,
}

struct WriterState {
    socket: Socket,
    /// True once nothing more may be written.
    is_closed: bool,
    /// True if bytes were written since the last look of the pulse.
    has_written: bool,
}

/// The end of a connection that reads.
struct Reader {
    socket: BufReader<Socket>,
    /// The bytes of the chunk that are not read.
    left: usize,
}

/// A socket for timely, with a sign of life whenever it sends nothing else.
///
/// Its clones share the end that writes. A clone that reads has a buffer of its own, so only one
/// clone may read. Timely reads and writes each connection by one thread.
pub(super) struct Pulsed {
    /// Ends the pulse with the last clone.
    writer: Arc<Open>,
    reader: Reader,
}

/// The part that all clones share.
struct Open(Arc<Writer>);

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.0.state).is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Pulsed {
    /// Starts the pulse of the connection to `process`.
    pub(super) fn start(process: usize, socket: Socket, limits: Limits) -> io::Result<Self> {
        socket.set_read_deadline(limits.silence)?;
        socket.set_write_deadline(limits.silence)?;
        let state =
            WriterState { socket: socket.try_clone()?, is_closed: false, has_written: false };
        let writer = Arc::new(Writer { state: Mutex::new(state), changed: Condvar::default() });
        let own = writer.clone();
        spawn(format!("cluster:pulse-{process}"), move || own.pulse(limits))?;
        let open = Arc::new(Open(writer));
        Ok(Pulsed { writer: open, reader: Reader::new(socket) })
    }
}

impl Writer {
    /// Writes a sign of life whenever nothing was written for a while.
    fn pulse(&self, limits: Limits) {
        let mut state = lock(&self.state);
        while !state.is_closed {
            if !state.has_written && state.write_chunk(&[]).is_err() {
                // The thread that reads notices that the other process is gone.
                state.is_closed = true;
                return state.socket.close();
            }
            state.has_written = false;
            state = self.changed.wait_timeout(&self.state, state, limits.beat);
        }
    }
}

impl WriterState {
    /// Writes a chunk with its length.
    fn write_chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?.to_be_bytes();
        // One packet, not two.
        let parts = [IoSlice::new(&length), IoSlice::new(bytes)];
        let written = self.socket.write_vectored(&parts)?;
        if written < LENGTH_BYTES {
            self.socket.write_all(&length[written..])?;
        }
        self.socket.write_all(&bytes[written.saturating_sub(LENGTH_BYTES)..])
    }
}

impl Reader {
    fn new(socket: Socket) -> Self {
        Reader { socket: BufReader::with_capacity(BUFFER_BYTES, socket), left: 0 }
    }

    /// Reads the length of the next chunk that has bytes; returns `false` at the end of the stream.
    fn next_chunk(&mut self) -> io::Result<bool> {
        while self.left == 0 {
            let mut length = [0; LENGTH_BYTES];
            let first = self.socket.read(&mut length)?;
            if first == 0 {
                return Ok(false);
            }
            self.socket.read_exact(&mut length[first..])?;
            self.left = u32::from_be_bytes(length) as usize;
        }
        Ok(true)
    }
}

impl Read for Pulsed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || !self.reader.next_chunk()? {
            return Ok(0);
        }
        let most = buffer.len().min(self.reader.left);
        let read = self.reader.socket.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.reader.left -= read;
        Ok(read)
    }
}

impl Write for Pulsed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(u32::MAX as usize)];
        if !bytes.is_empty() {
            let mut state = lock(&self.writer.0.state);
            if state.is_closed {
                return Err(ErrorKind::BrokenPipe.into());
            }
            state.write_chunk(bytes)?;
            state.has_written = true;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Pulsed {
    fn try_clone(&self) -> io::Result<Self> {
        let socket = self.reader.socket.get_ref().try_clone()?;
        Ok(Pulsed { writer: self.writer.clone(), reader: Reader::new(socket) })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.reader.socket.get_ref().set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let mut state = lock(&self.writer.0.state);
        if how != Shutdown::Read {
            state.is_closed = true;
            self.writer.0.changed.notify_all();
        }
        state.socket.shutdown(how)
    }
}
