//! Admission of a request: all checks before the application handles it, and the report after it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};

use super::clients::Clients;
use super::hosts::Hosts;
use super::lobby::Connection;
use super::shares::{Permits, Shares};
use super::{Access, Checks, Policy, Refusal, ServerConfig, body};

/// The state that all requests share.
pub(super) struct Guard {
    pub(super) config: ServerConfig,
    policy: Arc<dyn Policy>,
    hosts: Hosts,
    clients: Clients,
    slots: Shares,
    bodies: Shares,
}

impl Guard {
    pub(super) fn new(listens: SocketAddr, config: ServerConfig, policy: Arc<dyn Policy>) -> Self {
        let limits = &config.limits;
        let percent = limits.address_share_percent;
        Guard {
            hosts: Hosts::new(listens, &config),
            clients: Clients::new(config.tokens.clone(), config.requests_per_second),
            slots: Shares::new(limits.connections, percent),
            bodies: Shares::new(limits.bodies_max_bytes, percent),
            policy,
            config,
        }
    }
}

/// The client's address, and its connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) connection: Arc<Connection>,
}

/// Puts the guard in front of `router`.
pub(super) fn layer(router: Router, guard: Arc<Guard>) -> Router {
    router
        // The guard has read the body already, within our own limit.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(guard, respond))
}

/// Passes an admitted request on, or refuses it.
async fn respond(
    State(guard): State<Arc<Guard>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = (guard.config.clock)();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "other".to_string(), |path| path.as_str().to_string());
    let path = request.uri().path().to_string();
    // The handler may outlive its connection and must not keep the connection's slot.
    request.extensions_mut().remove::<Peer>();
    let (responded, bytes) = match admit(&guard, &peer, request).await {
        Ok(Admitted { request, bytes, permits }) => {
            (complete(next.run(request), permits).await, bytes)
        }
        Err(refusal) => (Err(refusal), 0),
    };
    let mut response = responded.unwrap_or_else(|refusal| {
        let mut response = guard.policy.refuse(&path, refusal.clone());
        refusal.add_headers(&mut response);
        response
    });
    let now = (guard.config.clock)();
    if now.saturating_sub(peer.connection.began) >= guard.config.limits.connection_lifetime {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    guard.policy.answered(&Access {
        peer: peer.address,
        method: method.as_str(),
        route: &route,
        status: response.status().as_u16(),
        bytes,
        took: now.saturating_sub(began),
    });
    response
}

/// Runs a handler to its end, even if its client disconnects. The application may hold the bytes of
/// the body until then, so its permits are held too.
async fn complete(
    handler: impl Future<Output = Response> + Send + 'static,
    permits: Option<Permits>,
) -> Result<Response, Refusal> {
    let handler = tokio::spawn(async move {
        let _permits = permits;
        handler.await
    });
    handler.await.map_err(|ended| Refusal::Failed(ended.to_string()))
}

/// A request that passed its checks.
struct Admitted {
    request: Request,
    /// Bytes of its body.
    bytes: u64,
    /// Permits for the bytes of its body.
    permits: Option<Permits>,
}

impl Admitted {
    fn without_body(parts: axum::http::request::Parts) -> Self {
        Admitted { request: Request::from_parts(parts, Body::empty()), bytes: 0, permits: None }
    }
}

/// Applies the checks and reads the body to its end.
async fn admit(guard: &Guard, peer: &Peer, request: Request) -> Result<Admitted, Refusal> {
    let (parts, body) = request.into_parts();
    let checks = guard.policy.checks(parts.uri.path());
    if checks == Checks::Public {
        return Ok(Admitted::without_body(parts));
    }
    guard.hosts.check(&parts, guard.config.tokens.is_empty())?;
    let client = guard.clients.identify(&parts.headers, peer.address.ip());
    let client = client.ok_or(Refusal::Unauthorized)?;
    if checks == Checks::Client {
        return Ok(Admitted::without_body(parts));
    }
    if guard.policy.is_stopping() {
        return Err(Refusal::Stopping);
    }
    if !peer.connection.acquire_slot(&guard.slots, guard.config.limits.head_timeout).await {
        return Err(Refusal::NoSlot);
    }
    if !guard.clients.is_within_rate(client, (guard.config.clock)()) {
        return Err(Refusal::RateLimited);
    }
    let (body, permits) =
        body::read(&guard.config.limits, &guard.bodies, &peer.connection, body).await?;
    let bytes = body.len() as u64;
    Ok(Admitted {
        request: Request::from_parts(parts, Body::from(body)),
        bytes,
        permits: Some(permits),
    })
}
