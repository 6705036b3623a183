//! A bounded HTTP/1.1 server: limits, tokens, TLS and deadlines in front of any axum [`Router`].
//!
//! The server protects the application behind it, and does not depend on its subject. An
//! application is a [`Router`] and a [`Policy`]. The policy classifies paths, formats the responses
//! to refused requests, and counts requests.
//!
//! A request passes these steps, in this order:
//!
//! 1. **Lobby** (`lobby`): an accepted connection waits here. Public paths are answered from here,
//!    so health checks work while other clients hold every slot.
//! 2. **Host** (`hosts`): without tokens, `Host` and `Origin` must name this server. That stops
//!    pages of other sites, which a browser on this machine could otherwise send here.
//! 3. **Client** (`clients`): a bearer token, if the server has any, and the client's request rate.
//! 4. **Slot** (`shares`): a connection gets one of a fixed number of slots, of which an address
//!    holds at most its share.
//! 5. **Body** (`body`): bytes take room as they arrive, within a limit, a timeout and a least
//!    rate (`deadline`).
//!
//! A shutdown refuses new requests, answers those in progress, and then closes all connections.

mod admission;
mod body;
mod clients;
mod deadline;
mod hosts;
mod lobby;
mod serve;
mod shares;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::error::{Error, Result};

pub use tls::Identity;

use admission::Guard;

/// Clients that a server admits, and the resources it spends on them.
#[derive(Clone)]
pub struct ServerConfig {
    /// Bearer tokens. Each request must carry one of them. Without tokens the server admits every
    /// client that can reach the address.
    pub tokens: Vec<String>,
    /// The certificate for TLS. Without one the server speaks plain HTTP.
    pub identity: Option<Identity>,
    /// Names of the server besides `localhost` and its address, with a port or for any port. A
    /// request without a token must name one of them as its host.
    pub hosts: Vec<String>,
    /// Requests a second of one token, or without tokens of one address; `None` for no limit.
    pub requests_per_second: Option<u32>,
    /// Limits of connections, bodies and times.
    pub limits: Limits,
    /// Returns the time since any fixed moment.
    pub clock: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl ServerConfig {
    /// Admits every client, within the default limits.
    pub fn new(clock: Arc<dyn Fn() -> Duration + Send + Sync>) -> Self {
        ServerConfig {
            tokens: Vec::new(),
            identity: None,
            hosts: Vec::new(),
            requests_per_second: None,
            limits: Limits::default(),
            clock,
        }
    }
}

/// Limits of a server. The defaults suit a small machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are served at a time; more wait.
    pub connections: usize,
    /// Connections at a time that wait for a slot or have sent no request yet. A new one evicts
    /// the oldest of them.
    pub waiting_connections: usize,
    /// Percent of the slots and of the body bytes that one address may hold. All clients behind a
    /// proxy share its address.
    pub address_share_percent: u8,
    /// Age at which a connection is closed after its next response.
    pub connection_lifetime: Duration,
    /// Most bytes of one body.
    pub body_max_bytes: usize,
    /// Most bytes of all bodies that are being read or whose response is not complete.
    pub bodies_max_bytes: usize,
    /// Time within which the head of a request must arrive, and the next one on a connection.
    pub head_timeout: Duration,
    /// Time within which a body must arrive.
    pub body_timeout: Duration,
    /// Longest time without progress while a body or a response is incomplete.
    pub stall_timeout: Duration,
    /// Least rate of a body and of a response, once `stall_timeout` has passed.
    pub min_bytes_per_second: u32,
    /// Time that a shutdown leaves for responses in progress.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 512,
            waiting_connections: 128,
            address_share_percent: 75,
            connection_lifetime: Duration::from_secs(600),
            body_max_bytes: 2 << 20,
            bodies_max_bytes: 64 << 20,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(10),
            min_bytes_per_second: 1 << 10,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// A request whose response is ready, without its body.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The client's address.
    pub peer: SocketAddr,
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The path, with the names of its parameters in place of their values.
    pub route: &'a str,
    /// The status of the response.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes: u64,
    /// Time from the head of the request to the response.
    pub took: Duration,
}

/// The decisions that the application makes for the server.
pub(crate) trait Policy: Send + Sync + 'static {
    /// Returns the checks for a request for `path`.
    fn checks(&self, path: &str) -> Checks;

    /// Returns true as soon as new requests must be refused.
    fn is_stopping(&self) -> bool;

    /// Returns the response to a refused request for `path`. The server adds its headers.
    fn refuse(&self, path: &str, refusal: Refusal) -> Response;

    /// Counts or logs a request whose response is ready.
    fn answered(&self, access: &Access<'_>);
}

/// The checks that a request must pass. Only a request that needs all of them may have a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// None: the path is public and cheap, such as a health check.
    Public,
    /// Host and client only, so that monitoring works under full load.
    Client,
    /// Every check and limit.
    All,
}

/// The reason why the server refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `Host` is missing, malformed or not unique.
    BadHost(&'static str),
    /// The request names another host than this server.
    UnknownHost(String),
    /// A page of another host sends the request.
    ForeignOrigin,
    /// The token is missing or wrong.
    Unauthorized,
    /// The client exceeds its request rate.
    RateLimited,
    /// The server shuts down.
    Stopping,
    /// No slot became free in time.
    NoSlot,
    /// All room for bodies is taken.
    NoBodyRoom,
    /// The body exceeds its limit.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The connection broke before the end of the body.
    BodyAborted,
    /// The application ended without a response, for this cause.
    Failed(String),
}

impl Refusal {
    /// Adds the headers that HTTP requires.
    fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        match self {
            Refusal::RateLimited | Refusal::Stopping | Refusal::NoSlot | Refusal::NoBodyRoom => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Refusal::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of the body is still to arrive, so the connection can't be used again.
            Refusal::BodyTooLarge | Refusal::BodyTimeout | Refusal::BodyAborted => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }
}

/// A server that listens. Requests wait until [`Server::serve`] is called.
pub(crate) struct Server {
    guard: Arc<Guard>,
    listener: tokio::net::TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`; port 0 selects a free one. Call it within a tokio runtime.
    ///
    /// # Errors
    /// When a token is blank, or the address is in use or does not belong to this machine.
    pub(crate) fn bind(
        address: SocketAddr,
        config: ServerConfig,
        policy: Arc<dyn Policy>,
    ) -> Result<Self> {
        if config.tokens.iter().any(|token| token.trim().is_empty()) {
            return Err(Error::config("can't recognize clients by a blank token")
                .hint("Give tokens of letters and digits."));
        }
        let failed =
            |e: std::io::Error| Error::connect(format!("can't listen on {address}")).because(e);
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let guard = Arc::new(Guard::new(address, config, policy));
        Ok(Server { guard, listener, address })
    }

    /// The address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `stop` resolves, then completes the responses in progress.
    pub(crate) async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let router = admission::layer(router, self.guard.clone());
        serve::serve(self.listener, router, &self.guard.config, stop).await;
    }
}
