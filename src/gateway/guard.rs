//! What every request passes before it is answered: who asks, how often, how much and how slowly;
//! and what is kept of it after.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use subtle::ConstantTimeEq;

use crate::connect::log::Refusal;

use super::fault::{Dialect, Fault};
use super::patience::{Patience, Waiting};
use super::slots::{Held, Visit, neighbourhood};
use super::{Access, App};

/// Clients whose quotas are remembered; those that ask for nothing are forgotten first.
const CLIENTS: usize = 10_000;

/// The other end of a connection, and the connection itself.
#[derive(Clone)]
pub(super) struct Peer(pub(super) SocketAddr, pub(super) Arc<Visit>);

/// Answers a request, or says why not.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    Extension(Peer(peer, visit)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = (app.config.clock)();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_string(), |path| path.as_str().to_string());
    let dialect = Dialect::of(request.uri().path());
    // It may go on when its connection is gone, and then it keeps nothing of that.
    request.extensions_mut().remove::<Peer>();
    let (mut response, bytes) = match admit(&app, peer, &visit, request).await {
        Ok((request, bytes, room)) => (answered(dialect, next.run(request), room).await, bytes),
        Err(fault) => (dialect.refuse(&fault), 0),
    };
    let now = (app.config.clock)();
    if now.saturating_sub(visit.began) >= app.config.life {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let (status, took) = (response.status().as_u16(), now.saturating_sub(began));
    app.metrics.request(&method, &route, status, took);
    if let Some(access) = &app.config.access {
        access(&Access { peer, method: method.as_str(), route: &route, status, bytes, took });
    }
    response
}

/// Runs a request to its end, also when its client is gone: the log goes on with its bytes, which
/// take their room until then.
async fn answered(
    dialect: Dialect,
    run: impl Future<Output = Response> + Send + 'static,
    room: Option<Held>,
) -> Response {
    let run = tokio::spawn(async move {
        let _room = room;
        run.await
    });
    run.await.unwrap_or_else(|ended| {
        dialect.refuse(&Fault::Log(Refusal::Failed(ended.to_string()), String::new()))
    })
}

/// Lets a request in, its body read to the end; it has room for that.
async fn admit(
    app: &App,
    peer: SocketAddr,
    visit: &Visit,
    request: Request,
) -> Result<(Request, u64, Option<Held>), Fault> {
    let (parts, body) = request.into_parts();
    if matches!(parts.uri.path(), "/health" | "/ready") {
        return Ok((Request::from_parts(parts, Body::empty()), 0, None));
    }
    app.names.admit(&parts, app.config.tokens.is_empty())?;
    let client = app.clients.identify(&parts.headers, peer.ip()).ok_or(Fault::Stranger)?;
    // Whoever watches is answered whatever the others do.
    if parts.uri.path() == "/metrics" {
        return Ok((Request::from_parts(parts, Body::empty()), 0, None));
    }
    let busy = |why: &str| Fault::Log(Refusal::Busy(why.to_string()), String::new());
    if app.is_stopping() {
        return Err(busy("the gateway is stopping"));
    }
    if !visit.is_served(&app.slots, app.config.head_time).await {
        return Err(busy("too many connections are served"));
    }
    if !app.clients.within_quota(client, (app.config.clock)()) {
        return Err(Fault::Quota);
    }
    if body.size_hint().lower() > app.config.body_limit as u64 {
        return Err(Fault::TooLarge);
    }
    let mut room = app.bodies.none(visit.who()).ok_or_else(|| busy("the gateway is stopping"))?;
    let read = tokio::time::timeout(app.config.body_time, read(app, body, &mut room)).await;
    let body = read.map_err(|_| Fault::Slow)??;
    let bytes = body.len() as u64;
    Ok((Request::from_parts(parts, Body::from(body)), bytes, Some(room)))
}

/// Reads a body to its end. It takes room as its bytes come: none for those that are only
/// announced.
async fn read(app: &App, body: Body, room: &mut Held) -> Result<Bytes, Fault> {
    let mut frames = pin!(body.into_data_stream());
    let (mut waiting, mut came) = (None::<Waiting>, 0);
    // Most bodies come at once and are not copied. Of many small parts each would keep more than
    // its bytes.
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    loop {
        let frame = match frames.next().now_or_never() {
            Some(frame) => frame,
            None => {
                let waiting = waiting.get_or_insert_with(|| Patience::of(&app.config).begin());
                waiting.went(std::mem::take(&mut came));
                tokio::select! {
                    frame = frames.next() => frame,
                    () = waiting.over() => return Err(Fault::Slow),
                }
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Fault::Aborted)?;
        if first.len() + all.len() + frame.len() > app.config.body_limit {
            return Err(Fault::TooLarge);
        }
        if !app.bodies.add(room, frame.len()) {
            return Err(Fault::Log(
                Refusal::Busy("too many bytes are on their way".to_string()),
                String::new(),
            ));
        }
        came += frame.len();
        if first.is_empty() && all.is_empty() {
            first = frame;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&frame);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
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
            return Some(Client::Address(neighbourhood(peer)));
        }
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, given) = given.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        // All are compared, each in constant time: how long it takes says nothing about any of
        // them.
        let same = |token: &String| bool::from(token.as_bytes().ct_eq(given.trim().as_bytes()));
        let found: Vec<bool> = self.tokens.iter().map(same).collect();
        found.iter().position(|same| *same).map(Client::Token)
    }

    /// Whether a client may ask now: as many times at once as in a second, and then as often as its
    /// rate.
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
