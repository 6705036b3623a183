//! A TCP proxy to a real server that fails on request, as networks do.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

/// The state of the network between client and server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weather {
    Clear,
    /// 512 bytes every two milliseconds, in each direction.
    Slow,
    /// Connections are accepted and stay open; no data passes.
    Silent,
    /// New and existing connections end at once.
    Closed,
}

/// Forwards connections to a server until it is dropped.
pub(crate) struct Proxy {
    address: String,
    world: Arc<World>,
}

struct World {
    server: String,
    weather: Mutex<Weather>,
    /// The number of cuts. A cut ends every connection that was made before it.
    cuts: AtomicU64,
    /// Bytes of replies until one connection is reset; negative for no reset.
    until_reset: AtomicI64,
    accepted: AtomicUsize,
    resets: AtomicUsize,
    over: AtomicBool,
}

/// How long a thread blocks before it checks the state again.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

impl Proxy {
    /// Forwards to `server`, from a free port.
    pub(crate) fn to(server: &str) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), server)
    }

    /// Forwards to `server`, from `listener`.
    pub(crate) fn at(listener: TcpListener, server: &str) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let world = Arc::new(World {
            server: server.to_string(),
            weather: Mutex::new(Weather::Clear),
            cuts: AtomicU64::new(0),
            until_reset: AtomicI64::new(-1),
            accepted: AtomicUsize::new(0),
            resets: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let shared = world.clone();
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            while !shared.over.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((client, _)) => shared.clone().connect(client),
                    Err(_) => thread::park_timeout(POLL_INTERVAL),
                }
            }
        });
        Proxy { address, world }
    }

    /// The proxy's own address, as `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sets the state of the network.
    pub(crate) fn set(&self, weather: Weather) {
        *self.world.weather.lock().unwrap() = weather;
    }

    /// Ends all open connections.
    pub(crate) fn cut(&self) {
        self.world.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Resets a connection after `bytes` more bytes of replies, in the middle of a reply.
    pub(crate) fn reset_after(&self, bytes: i64) {
        self.world.until_reset.store(bytes, Ordering::SeqCst);
    }

    /// The number of accepted connections.
    pub(crate) fn accepted(&self) -> usize {
        self.world.accepted.load(Ordering::SeqCst)
    }

    /// The number of reset connections.
    pub(crate) fn resets(&self) -> usize {
        self.world.resets.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.world.over.store(true, Ordering::SeqCst);
        self.cut();
    }
}

/// A client's connection and its counterpart to the server. Dropping the last handle closes both.
struct Line {
    client: TcpStream,
    server: TcpStream,
    over: AtomicBool,
    born: u64,
    world: Arc<World>,
}

impl World {
    fn connect(self: Arc<Self>, client: TcpStream) {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        let born = self.cuts.load(Ordering::SeqCst);
        let Ok(server) = TcpStream::connect(&self.server) else { return };
        for stream in [&client, &server] {
            stream.set_nonblocking(false).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(POLL_INTERVAL)).unwrap();
            stream.set_write_timeout(Some(POLL_INTERVAL)).unwrap();
        }
        let line =
            Arc::new(Line { client, server, over: AtomicBool::new(false), born, world: self });
        for reply in [false, true] {
            let line = line.clone();
            thread::spawn(move || {
                while line.is_open() {
                    match line.pass(reply) {
                        Passed::On => {}
                        Passed::End => return,
                        Passed::Broken => line.over.store(true, Ordering::SeqCst),
                    }
                }
            });
        }
    }
}

/// The state of one direction of a connection.
enum Passed {
    On,
    /// This direction has ended. The other one may go on.
    End,
    Broken,
}

impl Line {
    fn is_open(&self) -> bool {
        !self.over.load(Ordering::SeqCst) && self.world.cuts.load(Ordering::SeqCst) == self.born
    }

    /// Forwards the bytes that are available, or the end of this direction.
    fn pass(&self, reply: bool) -> Passed {
        let (mut from, to) =
            if reply { (&self.server, &self.client) } else { (&self.client, &self.server) };
        let weather = *self.world.weather.lock().unwrap();
        let mut buffer = [0; 8192];
        let room = match weather {
            Weather::Closed => return Passed::Broken,
            Weather::Silent => {
                thread::park_timeout(POLL_INTERVAL);
                return Passed::On;
            }
            Weather::Slow => {
                thread::park_timeout(POLL_INTERVAL);
                &mut buffer[..512]
            }
            Weather::Clear => &mut buffer[..],
        };
        let there = match from.read(room) {
            Ok(0) => {
                // The receiver may be gone.
                let _ = to.shutdown(Shutdown::Write);
                return Passed::End;
            }
            Ok(there) => there,
            Err(error) if waits(&error) => return Passed::On,
            Err(_) => return Passed::Broken,
        };
        let left = if reply {
            self.world.until_reset.fetch_sub(there as i64, Ordering::SeqCst)
        } else {
            -1
        };
        if (0..there as i64).contains(&left) {
            if !self.write(to, &room[..left as usize]) {
                return Passed::Broken;
            }
            // A close with a linger time of zero sends a reset.
            TcpSocket::from_std_stream(to.try_clone().unwrap()).set_zero_linger().unwrap();
            self.world.resets.fetch_add(1, Ordering::SeqCst);
            return Passed::Broken;
        }
        if self.write(to, &room[..there]) { Passed::On } else { Passed::Broken }
    }

    /// Writes all bytes. Returns false if the connection has ended.
    fn write(&self, mut to: &TcpStream, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if waits(&error) && self.is_open() => {}
                Err(_) => return false,
            }
        }
        true
    }
}

fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
