//! Addresses of processes, and the connections to them.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use timely::communication::allocator::zero_copy::stream::Stream;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::socket::Socket;
use crate::error::{Error, Result};

/// The address of a process.
///
/// Its text is `host:port`, or `unix:/path` for a socket in a folder that only the user of the
/// processes can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host and its port. The name is resolved at each attempt, because it may be new.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Parses one address.
    ///
    /// # Errors
    /// Of kind [`Config`](crate::ErrorKind::Config) for a text in neither form.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::config(format!("can't use {text:?} as the address of a process"))
                .hint("Write host:port, or unix:/path.")
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return path.is_absolute().then_some(Address::Unix(path)).ok_or_else(wrong);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let is_host = !host.is_empty() && !host.contains(['/', '{', '}', ' ']);
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        (is_host && is_port).then(|| Address::Tcp(text.to_owned())).ok_or_else(wrong)
    }

    /// Parses the addresses of `processes` processes: a list with commas, or one pattern, whose
    /// `{}` is replaced by the number of the process.
    ///
    /// # Errors
    /// Of kind [`Config`](crate::ErrorKind::Config) for another number of addresses, or for two
    /// that are equal.
    pub(crate) fn several(text: &str, processes: usize) -> Result<Vec<Self>> {
        let texts: Vec<String> = match text.contains("{}") && !text.contains(',') {
            true => (0..processes).map(|number| text.replace("{}", &number.to_string())).collect(),
            false => text.split(',').map(|text| text.trim().to_owned()).collect(),
        };
        let addresses = texts.iter().map(|text| Self::parse(text)).collect::<Result<Vec<_>>>()?;
        if addresses.len() != processes {
            let count = addresses.len();
            let message = format!("{processes} processes need as many addresses, not {count}");
            return Err(Error::config(message).hint(
                "Give each process its address, or a pattern such as name-{}.service:2101.",
            ));
        }
        let twice = (1..processes).find(|at| addresses[..*at].contains(&addresses[*at]));
        match twice {
            Some(at) => {
                Err(Error::config(format!("two processes have the address {}", addresses[at])))
            }
            None => Ok(addresses),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connection before its handshake.
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    /// Connects to the process at `address`.
    pub(super) async fn open(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => Ok(Connection::Tcp(TcpStream::connect(address).await?)),
            Address::Unix(path) => Ok(Connection::Unix(UnixStream::connect(path).await?)),
        }
    }

    /// Returns the socket after the handshake, for threads that block.
    pub(super) fn into_socket(self) -> io::Result<Socket> {
        let socket = match self {
            Connection::Tcp(stream) => {
                // Messages of the progress are small, and each one counts.
                stream.set_nodelay(true)?;
                Socket::Tcp(stream.into_std()?)
            }
            Connection::Unix(stream) => Socket::Unix(stream.into_std()?),
        };
        socket.set_nonblocking(false)?;
        Ok(socket)
    }
}

/// A place at which a process accepts connections.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens at `address`. It must be called in a runtime of tokio.
    ///
    /// A name may resolve to an address that is not of this machine, as behind a translation of
    /// addresses. Then the process listens at all addresses of its machine.
    pub(super) async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(text) => match TcpListener::bind(text).await {
                Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => {
                    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
                    let everywhere = (std::net::Ipv4Addr::UNSPECIFIED, port.unwrap_or(0));
                    TcpListener::bind(everywhere).await.map(Listener::Tcp)
                }
                bound => bound.map(Listener::Tcp),
            },
            Address::Unix(path) => {
                // A process that was killed leaves its socket.
                if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
                    std::fs::remove_file(path)?;
                }
                Ok(Listener::Unix(UnixListener::bind(path)?, path.clone()))
            }
        }
    }

    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> io::Result<Connection> {
        match self {
            Listener::Tcp(listener) => Ok(Connection::Tcp(listener.accept().await?.0)),
            Listener::Unix(listener, _) => Ok(Connection::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // The folder is removed with the run anyway.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_pattern_gives_each_process_its_address() {
        let hosts = Address::several("pins-{}.pins:2101", 2).unwrap();
        let texts: Vec<String> = hosts.iter().map(Address::to_string).collect();
        assert_eq!(texts, ["pins-0.pins:2101", "pins-1.pins:2101"]);
        assert_eq!(Address::several("pins-0.pins:2101, pins-1.pins:2101", 2).unwrap(), hosts);
        let path = Address::several("unix:/run/pins/{}", 2).unwrap();
        assert_eq!(path[1], Address::Unix("/run/pins/1".into()));
    }

    #[test]
    fn wrong_addresses_are_errors_of_the_configuration() {
        for (text, processes) in [
            ("", 1),
            ("a", 1),
            (":2101", 1),
            ("a:0", 1),
            ("a:70000", 1),
            ("unix:relative", 1),
            ("a:1,b:2", 3),
            ("a:1,a:1", 2),
            ("a-{}:1,b-{}:1", 2),
        ] {
            let error = Address::several(text, processes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
        }
    }
}
