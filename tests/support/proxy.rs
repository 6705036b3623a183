//! A way to a real server that fails when told, as networks do.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

/// What becomes of what is sent.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Weather {
    Clear,
    /// A piece of 512 bytes every two milliseconds, each way.
    Slow,
    /// Connections are made and stay, and nothing passes.
    Silent,
    /// Connections end as soon as they are made, and those that there are, at once.
    Closed,
}

/// Passes connections on to a server until it is dropped.
pub(crate) struct Proxy {
    address: String,
    world: Arc<World>,
}

struct World {
    server: String,
    weather: Mutex<Weather>,
    /// Connections made before the last cut are to end.
    cuts: AtomicU64,
    /// Bytes of replies until one connection is reset; none will be while it is negative.
    until_reset: AtomicI64,
    accepted: AtomicUsize,
    resets: AtomicUsize,
    over: AtomicBool,
}

/// How long a thread looks away.
const BLINK: Duration = Duration::from_millis(2);

impl Proxy {
    /// A way to `server`, at a port of its own.
    pub(crate) fn to(server: &str) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), server)
    }

    /// A way from `listener` to `server`.
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
                    Err(_) => thread::park_timeout(BLINK),
                }
            }
        });
        Proxy { address, world }
    }

    /// Where it listens, as `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Changes what becomes of what is sent from now on.
    pub(crate) fn set(&self, weather: Weather) {
        *self.world.weather.lock().unwrap() = weather;
    }

    /// Ends all connections that there are.
    pub(crate) fn cut(&self) {
        self.world.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Resets the connection that brings the byte number `bytes` of the replies from now on, in the
    /// middle of that reply.
    pub(crate) fn reset_after(&self, bytes: i64) {
        self.world.until_reset.store(bytes, Ordering::SeqCst);
    }

    /// How many connections were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.world.accepted.load(Ordering::SeqCst)
    }

    /// How many connections were reset.
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

/// A connection of a client, and ours to the server for it. Who lets go of it last closes both.
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
            stream.set_read_timeout(Some(BLINK)).unwrap();
            stream.set_write_timeout(Some(BLINK)).unwrap();
        }
        let line =
            Arc::new(Line { client, server, over: AtomicBool::new(false), born, world: self });
        for reply in [false, true] {
            let line = line.clone();
            thread::spawn(move || {
                while line.holds() && line.pass(reply).is_some() {}
                line.over.store(true, Ordering::SeqCst);
            });
        }
    }
}

impl Line {
    fn holds(&self) -> bool {
        !self.over.load(Ordering::SeqCst) && self.world.cuts.load(Ordering::SeqCst) == self.born
    }

    /// Passes on what there is; none at the end of the connection.
    fn pass(&self, reply: bool) -> Option<()> {
        let (mut from, to) =
            if reply { (&self.server, &self.client) } else { (&self.client, &self.server) };
        let weather = *self.world.weather.lock().unwrap();
        let mut buffer = [0; 8192];
        let room = match weather {
            Weather::Closed => return None,
            Weather::Silent => {
                thread::park_timeout(BLINK);
                return Some(());
            }
            Weather::Slow => {
                thread::park_timeout(BLINK);
                &mut buffer[..512]
            }
            Weather::Clear => &mut buffer[..],
        };
        let there = match from.read(room) {
            Ok(0) => return None,
            Ok(there) => there,
            Err(error) => return waits(&error).then_some(()),
        };
        let left = if reply {
            self.world.until_reset.fetch_sub(there as i64, Ordering::SeqCst)
        } else {
            -1
        };
        if (0..there as i64).contains(&left) {
            self.write(to, &room[..left as usize])?;
            // What is closed without lingering is reset.
            TcpSocket::from_std_stream(to.try_clone().unwrap()).set_zero_linger().unwrap();
            self.world.resets.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        self.write(to, &room[..there])
    }

    fn write(&self, mut to: &TcpStream, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if waits(&error) && self.holds() => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
