//! The front door: records that come by HTTP, as the Confluent REST Proxy and API Gateway before
//! Kinesis take them, into a [`Log`].
//!
//! ```text
//! GET  /topics                                    names of the topics
//! POST /topics/{topic}[/partitions/{partition}]   up to 10000 records of REST Proxy v2, in JSON or in base64
//! GET  /streams                                   names of the streams
//! GET POST DELETE /streams/{stream}               describe, create, delete it
//! PUT  /streams/{stream}/record                   one record
//! PUT  /streams/{stream}/records                  up to 500
//! GET  /metrics  /health  /ready
//! ```
//!
//! All of these are also below a stage, `/{stage}/topics/…`, as API Gateway has them. A stream is
//! the topic of the same name, unless [`Config::streams`] says of which; [`Config::topics`] does so
//! for topics that the log calls otherwise.
//!
//! - **Nothing is acknowledged that isn't durable**: an answer of 200 is given by the log, after
//!   its sync. A client that gets none, or an error, can't know: it sends again, and the record may
//!   be there twice.
//! - **A value is kept as it was written**, blanks and order of keys and all; only line ends
//!   between its tokens become blanks. Whether it is a good record is not asked here.
//! - **Everything has a limit**: connections, heads and bodies in bytes and time, answers in time,
//!   bodies on their way together, requests a second; and of connections and bodies no address has
//!   more than its share. What is too much at the moment gets 503 or 429 (of Kinesis its own code)
//!   and `Retry-After`. `/health`, `/ready` and `/metrics` are answered all the same.
//! - **Pages of other sites have no say**, for whom a browser on this machine or in this network
//!   asks: without tokens a request names the gateway as `Host`, and no other `Origin`. With tokens
//!   the token is the proof. In any case there is one `Host`, what is created is told in JSON, and
//!   only topics that the gateway owns are created and deleted, not too many.
//! - **A stop** refuses what is new, answers what was asked, and closes the log, so that readers
//!   see all of it.

mod fault;
mod folder;
mod guard;
mod kinesis;
mod metrics;
mod names;
mod patience;
mod records;
mod rest;
mod serve;
mod slots;
mod tls;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Router, middleware};
use futures::FutureExt;

use crate::error::{Error, Result};

pub use crate::connect::log::{Answer, Entry, Log, Part, Place, Position, Refusal};
pub use folder::{Folder, FolderOptions};
pub use tls::Identity;

use fault::{Dialect, Fault};
use guard::Clients;
use metrics::Metrics;
use names::Names;
use slots::Shares;

/// Whom a gateway serves, and how much of it.
pub struct Config {
    /// The streams that the log has as topics of another name: the topic of each stream.
    pub streams: BTreeMap<String, String>,
    /// The topics of the REST Proxy that the log has under another name, and that name.
    pub topics: BTreeMap<String, String>,
    /// One of these a request must bear; anyone may ask if there are none.
    pub tokens: Vec<String>,
    /// Speaks TLS as this one; plain HTTP if there is none.
    pub identity: Option<Identity>,
    /// Requests a second that a token, or without tokens an address, may make.
    pub rate: Option<u32>,
    /// Names of the gateway besides `localhost` and the address it listens on, with a port or for
    /// any. A request must have one of them as its host, unless there are tokens.
    pub hosts: Vec<String>,
    /// Decides by its name if a topic of the log may be created and deleted; without it any may.
    pub owns: Option<Arc<dyn Fn(&str) -> bool + Send + Sync>>,
    /// How many of these topics there may be for another to be created.
    pub topics_limit: usize,
    /// The partitions that a topic may be created with.
    pub partitions_limit: u32,
    /// Connections that are served at a time; more wait.
    pub connections: usize,
    /// Connections at a time that have asked for nothing yet, or for no more than how the gateway
    /// is, or wait until they are served. The oldest of them gives way to another.
    pub waiting: usize,
    /// Percent of the connections that are served, and of the bytes of bodies, that an address may
    /// have. All clients of a proxy share its address.
    pub share: u8,
    /// After which a connection is closed behind its next answer.
    pub life: Duration,
    /// Bytes of a body.
    pub body_limit: usize,
    /// Bytes of the bodies that are read, or not yet answered, together.
    pub bodies: usize,
    /// Within which the head of a request must come, and the next one on a connection.
    pub head_time: Duration,
    /// Within which a body must come.
    pub body_time: Duration,
    /// How long no byte of a body may come, and none of an answer be taken, while there are any.
    pub grace: Duration,
    /// Bytes a second that must come, or be taken, after that.
    pub least_rate: u32,
    /// How long a stop waits for answers to go out.
    pub stop_time: Duration,
    /// How long it then waits for the log to close.
    pub close_time: Duration,
    /// The time now, from any fixed moment on.
    pub clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Told of every request when it is answered.
    pub access: Option<Arc<dyn Fn(&Access<'_>) + Send + Sync>>,
}

impl Config {
    /// Serves anyone, with limits that a small machine bears.
    pub fn new(clock: Arc<dyn Fn() -> Duration + Send + Sync>) -> Self {
        Config {
            streams: BTreeMap::new(),
            topics: BTreeMap::new(),
            tokens: Vec::new(),
            identity: None,
            rate: None,
            hosts: Vec::new(),
            owns: None,
            topics_limit: 100,
            partitions_limit: 100,
            connections: 512,
            waiting: 128,
            share: 75,
            life: Duration::from_secs(600),
            body_limit: 2 << 20,
            bodies: 64 << 20,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            least_rate: 1 << 10,
            stop_time: Duration::from_secs(10),
            close_time: Duration::from_secs(15),
            clock,
            access: None,
        }
    }
}

/// A request that was answered; it tells nothing of what was sent.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Who asked.
    pub peer: SocketAddr,
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The path, with the names of its parameters instead of their values.
    pub route: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the body that was sent.
    pub bytes: u64,
    /// From the head of the request to the answer.
    pub took: Duration,
}

/// What all requests share.
struct App {
    log: Arc<dyn Log>,
    config: Config,
    clients: Clients,
    names: Names,
    slots: Shares,
    bodies: Shares,
    /// Held while a topic is created.
    creating: tokio::sync::Mutex<()>,
    metrics: Metrics,
    stopping: AtomicBool,
}

impl App {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The name of a topic of the log, if it may be created and deleted.
    fn own(&self, topic: &str) -> Result<String, Refusal> {
        match &self.config.owns {
            Some(owns) if !owns(topic) => Err(Refusal::Denied(
                "this gateway makes and deletes only what is its own".to_string(),
            )),
            _ => Ok(topic.to_string()),
        }
    }

    /// Appends to a topic of the log. What is refused altogether, for a reason that no record has
    /// of its own, is refused at once.
    async fn append(
        &self,
        topic: &str,
        entries: Vec<Entry>,
    ) -> Result<Vec<Result<Place, Refusal>>, Refusal> {
        let bytes: usize =
            entries.iter().map(|entry| entry.value.as_ref().map_or(0, |value| value.len())).sum();
        let places = self.log.append(topic, entries).await?;
        let refused = places.iter().filter(|place| place.is_err()).count();
        self.metrics.taken(topic, (places.len() - refused) as u64, bytes as u64, refused as u64);
        match places.first() {
            Some(Err(
                why @ (Refusal::NoTopic | Refusal::Busy(_) | Refusal::Full(_) | Refusal::Denied(_)),
            )) if places.iter().all(|place| place.as_ref().err() == Some(why)) => Err(why.clone()),
            _ => Ok(places),
        }
    }
}

/// What the log calls the topic of a name, by the names that differ.
fn inner(names: &BTreeMap<String, String>, name: &str) -> String {
    names.get(name).map_or(name, String::as_str).to_string()
}

/// The name of a topic of the log, by the names that differ.
fn outer(names: &BTreeMap<String, String>, topic: String) -> String {
    let named = names.iter().find(|(_, of)| **of == topic);
    named.map_or(topic, |(name, _)| name.clone())
}

/// A gateway that listens.
pub struct Gateway {
    app: Arc<App>,
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl Gateway {
    /// Listens on `address`; port 0 is any that is free. Requests are answered by
    /// [`run`](Gateway::run).
    ///
    /// # Errors
    /// When the address is taken or is none of this machine.
    pub fn bind(address: SocketAddr, log: Arc<dyn Log>, config: Config) -> Result<Self> {
        if config.tokens.iter().any(|token| token.trim().is_empty()) {
            return Err(Error::config("can't tell clients by a token that is blank")
                .hint("Give tokens of letters and digits."));
        }
        let failed =
            |e: std::io::Error| Error::connect(format!("can't listen on {address}")).because(e);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(failed)?
        };
        let app = Arc::new(App {
            clients: Clients::new(config.tokens.clone(), config.rate),
            names: Names::new(address, &config),
            slots: Shares::new(config.connections, config.share),
            bodies: Shares::new(config.bodies, config.share),
            creating: tokio::sync::Mutex::default(),
            metrics: Metrics::default(),
            stopping: AtomicBool::new(false),
            log,
            config,
        });
        Ok(Gateway { app, listener, address, runtime })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then closes the log; says how many records were acknowledged.
    ///
    /// # Errors
    /// When the log breaks, or can't be closed: what was acknowledged is safe all the same.
    pub fn run(self, stop: impl Future<Output = ()>) -> Result<u64> {
        let Gateway { app, listener, runtime, .. } = self;
        let broken = runtime.block_on(async {
            let (mut broken, ended) = (None, async {
                tokio::select! {
                    () = stop => None,
                    error = app.log.broken() => Some(error),
                }
            });
            let stopped = async {
                broken = ended.await;
                app.stopping.store(true, Ordering::Relaxed);
            };
            serve::serve(listener, router(app.clone()), &app.config, stopped).await;
            broken
        });
        let closed = match broken {
            Some(error) => Err(error),
            None => runtime.block_on(close(&*app.log, app.config.close_time)),
        };
        // Connections that were cut end before the log does.
        drop(runtime);
        closed.map(|()| app.metrics.records())
    }
}

/// Closes a log, or gives up after a time: a full disk may stay full.
///
/// # Errors
/// When it can't be closed, or not in time: what was acknowledged is safe all the same.
pub async fn close(log: &dyn Log, within: Duration) -> Result<()> {
    match tokio::time::timeout(within, log.close()).await {
        Ok(closed) => closed.map_err(|refusal| match log.broken().now_or_never() {
            Some(error) => error,
            None => Error::connect(format!("can't close {}: {refusal}", log.describe())),
        }),
        Err(_) => {
            let failed =
                format!("can't close {} within {} s", log.describe(), within.as_secs_f64());
            Err(match log.unseen() {
                0 => Error::connect(failed)
                    .hint("What was acknowledged is safe; see why it does not answer."),
                _ => Error::connect(format!("{failed}: what was acknowledged is in the journal"))
                    .hint(
                        "See to the disk, and start again: what is in the journal is then added.",
                    ),
            })
        }
    }
}

fn router(app: Arc<App>) -> Router {
    let ways = Router::new()
        .route("/topics", get(rest::topics))
        .route("/topics/{topic}", post(rest::produce))
        .route("/topics/{topic}/partitions/{partition}", post(rest::produce))
        .route("/streams", get(kinesis::list))
        .route(
            "/streams/{stream}",
            get(kinesis::describe).post(kinesis::create).delete(kinesis::delete),
        )
        .route("/streams/{stream}/record", put(kinesis::put))
        .route("/streams/{stream}/records", put(kinesis::put_many));
    ways.clone()
        .nest("/{stage}", ways)
        .route("/metrics", get(metrics_text))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .fallback(|request: axum::extract::Request| async move {
            Dialect::of(request.uri().path()).refuse(&Fault::Path)
        })
        .method_not_allowed_fallback(|request: axum::extract::Request| async move {
            Dialect::of(request.uri().path()).refuse(&Fault::Method)
        })
        .layer(middleware::from_fn(named))
        // The guard has read the body already, and it has our limit.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

/// Refuses a stage without a name, which would make a second way to each path.
async fn named(request: axum::extract::Request, next: middleware::Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("//") {
        Dialect::of(path).refuse(&Fault::Path)
    } else {
        next.run(request).await
    }
}

async fn metrics_text(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(app.log.unseen());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else {
        "ok\n".into_response()
    }
}
