//! What every request passes before it is answered: who asks, how often, how much and how slowly; and what is kept of it after.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;
use tokio::sync::OwnedSemaphorePermit;

use crate::connect::log::Refusal;

use super::fault::{Dialect, Fault};
use super::{Access, App};

/// Clients whose quotas are remembered; those that ask for nothing are forgotten first.
const CLIENTS: usize = 10_000;

/// The other end of a connection.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Answers a request, or says why not.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let began = (app.config.clock)();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "other".to_string(), |path| path.as_str().to_string());
    let dialect = Dialect::of(request.uri().path());
    let (response, bytes) = match admit(&app, peer, request).await {
        Ok((request, bytes, room)) => (answered(dialect, next.run(request), room).await, bytes),
        Err(fault) => (dialect.refuse(&fault), 0),
    };
    let (status, took) = (response.status().as_u16(), (app.config.clock)().saturating_sub(began));
    app.metrics.request(&method, &route, status, took);
    if let Some(access) = &app.config.access {
        access(&Access { peer, method: method.as_str(), route: &route, status, bytes, took });
    }
    response
}

/// Runs a request to its end, also when its client is gone: the log goes on with its bytes, which take their room until then.
async fn answered(dialect: Dialect, run: impl Future<Output = Response> + Send + 'static, room: Option<Room>) -> Response {
    let run = tokio::spawn(async move {
        let _room = room;
        run.await
    });
    run.await.unwrap_or_else(|ended| dialect.refuse(&Fault::Log(Refusal::Failed(ended.to_string()), String::new())))
}

/// Room for the bytes of a body, given back when it is dropped.
type Room = OwnedSemaphorePermit;

/// Lets a request in, its body read to the end; it has room for that.
async fn admit(app: &App, peer: SocketAddr, request: Request) -> Result<(Request, u64, Option<Room>), Fault> {
    let (parts, body) = request.into_parts();
    if matches!(parts.uri.path(), "/health" | "/ready") {
        return Ok((Request::from_parts(parts, Body::empty()), 0, None));
    }
    let client = app.clients.identify(&parts.headers, peer.ip()).ok_or(Fault::Stranger)?;
    if !app.clients.within_quota(client, (app.config.clock)()) {
        return Err(Fault::Quota);
    }
    if app.is_stopping() && parts.uri.path() != "/metrics" {
        return Err(Fault::Log(Refusal::Busy("the gateway is stopping".to_string()), String::new()));
    }
    let limit = app.config.body_limit;
    // Without a length it may become as long as is allowed; where no body is announced, it is none.
    let length = body.size_hint().upper().map_or(limit, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if length > limit {
        return Err(Fault::TooLarge);
    }
    let room = u32::try_from(length.min(app.config.bodies)).unwrap_or(u32::MAX);
    let full = |_| Fault::Log(Refusal::Busy("too many bytes are on their way".to_string()), String::new());
    let mut room = app.bodies.clone().try_acquire_many_owned(room).map_err(full)?;
    let read = tokio::time::timeout(app.config.body_time, to_bytes(body, limit)).await;
    let body = match read {
        Ok(Ok(body)) => body,
        // What a chunked body is too long by is told only by the kind of its end.
        Ok(Err(e)) if std::error::Error::source(&e).is_some_and(|e| e.to_string().contains("length limit")) => {
            return Err(Fault::TooLarge);
        }
        Ok(Err(_)) => return Err(Fault::Aborted),
        Err(_) => return Err(Fault::Slow),
    };
    drop(room.split(room.num_permits().saturating_sub(body.len())));
    let bytes = body.len() as u64;
    Ok((Request::from_parts(parts, Body::from(body)), bytes, Some(room)))
}

/// Who may ask, and how often.
pub(super) struct Clients {
    tokens: Vec<String>,
    /// Requests a second, each client.
    rate: Option<u32>,
    quotas: Mutex<BTreeMap<Client, Quota>>,
}

/// Whose quota it is: a token's, by number, or an address's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    Token(usize),
    Address(IpAddr),
}

struct Quota {
    left: f64,
    at: Duration,
}

impl Clients {
    pub(super) fn new(tokens: Vec<String>, rate: Option<u32>) -> Self {
        Clients { tokens, rate, quotas: Mutex::default() }
    }

    /// Who asks; `None` if nobody who may.
    pub(super) fn identify(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Client> {
        if self.tokens.is_empty() {
            return Some(Client::Address(peer));
        }
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, given) = given.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        // All are compared, each in constant time: how long it takes says nothing about any of them.
        let same = |token: &String| bool::from(token.as_bytes().ct_eq(given.trim().as_bytes()));
        let found: Vec<bool> = self.tokens.iter().map(same).collect();
        found.iter().position(|same| *same).map(Client::Token)
    }

    /// Whether a client may ask now: as many times at once as in a second, and then as often as its rate.
    pub(super) fn within_quota(&self, client: Client, now: Duration) -> bool {
        let Some(rate) = self.rate.map(f64::from) else { return true };
        let mut quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        if quotas.len() >= CLIENTS && !quotas.contains_key(&client) {
            quotas.retain(|_, quota| quota.at + Duration::from_secs(1) > now);
            // So many clients a second are no clients.
            if quotas.len() >= CLIENTS {
                return false;
            }
        }
        let quota = quotas.entry(client).or_insert(Quota { left: rate, at: now });
        quota.left = (quota.left + now.saturating_sub(quota.at).as_secs_f64() * rate).min(rate);
        quota.at = now;
        let within = quota.left >= 1.0;
        quota.left -= if within { 1.0 } else { 0.0 };
        within
    }
}
