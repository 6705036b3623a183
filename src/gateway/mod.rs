//! The gateway: appends records that are posted over HTTP to a log, an [`Append`].
//!
//! It speaks the Confluent REST Proxy v2 and the methods of API Gateway before Kinesis.
//!
//! ```text
//! GET  /topics                                    names of the topics
//! POST /topics/{topic}[/partitions/{partition}]   up to 10000 records, in JSON or in base64
//! GET  /streams                                   names of the streams
//! GET POST DELETE /streams/{stream}               describe, create, delete a stream
//! PUT  /streams/{stream}/record                   one record
//! PUT  /streams/{stream}/records                  up to 500
//! GET  /metrics  /health  /ready
//! ```
//!
//! All paths exist below a stage too, `/{stage}/topics/…`, as in API Gateway. A stream and a topic
//! of the same name are the same; [`Config::streams`] and [`Config::topics`] rename them.
//!
//! - **Acknowledged means durable**: a response of 200 is sent after the log's sync. After an error
//!   or without a response, the record may be stored or not. A client that sends it again may store
//!   it twice.
//! - **Values are kept as they were sent**, with their blanks and order of keys. Only line ends
//!   between tokens become blanks. The gateway does not validate records.
//! - **Everything has a limit**: see [`Limits`]. Beyond a limit the response is 503 or 429, or
//!   Kinesis' own code, with `Retry-After`. `/health`, `/ready` and `/metrics` still work then.
//! - **Pages of other sites are refused**, because a browser on this network may load them: without
//!   tokens, `Host` and `Origin` must name the gateway. Streams are created only by a body in JSON,
//!   only under names that the gateway owns, and only up to a limit.
//! - **A shutdown** refuses new requests, answers those in progress, and closes the log, so that
//!   readers see every record.

mod app;
mod kinesis;
mod metrics;
mod records;
mod refusal;
mod rest;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Router, middleware};
use futures::FutureExt;

use crate::error::{Error, Result};
use crate::http::{Policy, Server};
use crate::sync::own_runtime;

pub use crate::connect::append::{
    Answer, Append, Appended, NewRecord, PartitionInfo, Position, Refusal,
};
pub use crate::http::{Access, Identity, Limits, ServerConfig};

use app::App;
use refusal::{Protocol, RequestRefusal};

/// The topics of a gateway, and the server in front of them.
pub struct Config {
    /// Streams whose topic in the log has another name: from stream to topic.
    pub streams: BTreeMap<String, String>,
    /// REST Proxy topics that have another name in the log: from the name for clients to that one.
    pub topics: BTreeMap<String, String>,
    /// Returns true for the name of a topic in the log that may be created and deleted. Without it,
    /// any topic may.
    pub owns: Option<Arc<dyn Fn(&str) -> bool + Send + Sync>>,
    /// Number of owned topics at which no more are created.
    pub topics_limit: usize,
    /// Most partitions of a created topic.
    pub partitions_limit: u32,
    /// Time that a shutdown waits until the log is closed.
    pub close_timeout: Duration,
    /// Called for each request when its response is ready.
    pub access_log: Option<Arc<dyn Fn(&Access<'_>) + Send + Sync>>,
    /// Clients, certificate and limits.
    pub server: ServerConfig,
}

impl Config {
    /// Admits every client, within the default limits. `clock` returns the time since any fixed
    /// moment.
    pub fn new(clock: Arc<dyn Fn() -> Duration + Send + Sync>) -> Self {
        Config {
            streams: BTreeMap::new(),
            topics: BTreeMap::new(),
            owns: None,
            topics_limit: 100,
            partitions_limit: 100,
            close_timeout: Duration::from_secs(15),
            access_log: None,
            server: ServerConfig::new(clock),
        }
    }
}

/// A gateway that listens.
pub struct Gateway {
    app: Arc<App>,
    server: Server,
    runtime: tokio::runtime::Runtime,
}

impl Gateway {
    /// Listens on `address`; port 0 selects a free one. Requests wait until
    /// [`run`](Gateway::run).
    ///
    /// # Errors
    /// When a token is blank, or the address is in use or does not belong to this machine.
    pub fn bind(address: SocketAddr, log: Arc<dyn Append>, config: Config) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = own_runtime("gateway", threads)?;
        let app = Arc::new(App::new(log, config));
        let server = {
            let _entered = runtime.enter();
            Server::bind(address, app.config.server.clone(), app.clone())?
        };
        Ok(Gateway { app, server, runtime })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until `stop` resolves, then closes the log. Returns the number of acknowledged
    /// records.
    ///
    /// # Errors
    /// When the log breaks or can't be closed. Acknowledged records are safe all the same.
    pub fn run(self, stop: impl Future<Output = ()>) -> Result<u64> {
        let Gateway { app, server, runtime } = self;
        let broken = runtime.block_on(async {
            let mut broken = None;
            let stopped = async {
                broken = tokio::select! {
                    () = stop => None,
                    error = app.log.broken() => Some(error),
                };
                app.stop();
            };
            server.serve(router(app.clone()), stopped).await;
            broken
        });
        let closed = match broken {
            Some(error) => Err(error),
            None => runtime.block_on(close(&*app.log, app.config.close_timeout)),
        };
        // Connections that did not end in time end here, before the log does.
        drop(runtime);
        closed.map(|()| app.metrics.records())
    }
}

/// Closes a log. Gives up after `timeout`, because a full disk may stay full.
///
/// # Errors
/// When it can't be closed, or not in time. Acknowledged records are safe all the same.
pub async fn close(log: &dyn Append, timeout: Duration) -> Result<()> {
    match tokio::time::timeout(timeout, log.close()).await {
        Ok(closed) => closed.map_err(|refusal| match log.broken().now_or_never() {
            Some(error) => error,
            None => Error::connect(format!("can't close {}: {refusal}", log.describe())),
        }),
        Err(_) => {
            let seconds = timeout.as_secs_f64();
            let failed = format!("can't close {} within {seconds} s", log.describe());
            Err(match log.unseen() {
                0 => Error::connect(failed)
                    .hint("Acknowledged records are safe. Check why the log does not respond."),
                _ => Error::connect(format!("{failed}: acknowledged records are in the journal"))
                    .hint("Check the disk, and start again: then the journal is added to the log."),
            })
        }
    }
}

fn router(app: Arc<App>) -> Router {
    let refuse = |request: &Request, refusal: RequestRefusal| {
        Protocol::of(request.uri().path()).refuse(&refusal)
    };
    let routes = Router::new()
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
    routes
        .clone()
        .nest("/{stage}", routes)
        .route("/metrics", get(metrics_text))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .fallback(
            move |request: Request| async move { refuse(&request, RequestRefusal::UnknownPath) },
        )
        .method_not_allowed_fallback(move |request: Request| async move {
            refuse(&request, RequestRefusal::Method)
        })
        .layer(middleware::from_fn(refuse_empty_stage))
        .with_state(app)
}

/// Refuses a stage without a name, which would be a second path to each route.
async fn refuse_empty_stage(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("//") {
        Protocol::of(path).refuse(&RequestRefusal::UnknownPath)
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
