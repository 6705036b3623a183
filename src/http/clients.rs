//! Clients: recognized by token or address, each with a token bucket that limits its requests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use super::shares::network_of;
use crate::sync::lock;

/// Most clients whose request rate is tracked. Idle ones are removed first.
const MAX_CLIENTS: usize = 10_000;

/// The clients of a server.
pub(super) struct Clients {
    tokens: Vec<String>,
    /// Requests a second of each client.
    rate: Option<u32>,
    buckets: Mutex<BTreeMap<Client, Bucket>>,
}

/// A client: the number of its token or, without tokens, its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    Token(usize),
    Address(IpAddr),
}

/// Requests that a client may send at `at`; more are added with time.
struct Bucket {
    left: f64,
    at: Duration,
}

impl Clients {
    pub(super) fn new(tokens: Vec<String>, rate: Option<u32>) -> Self {
        Clients { tokens, rate, buckets: Mutex::default() }
    }

    /// Identifies the client of a request; `None` if it is not admitted.
    pub(super) fn identify(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Client> {
        if self.tokens.is_empty() {
            return Some(Client::Address(network_of(peer)));
        }
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, given) = given.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        // Compare with all tokens, each in constant time, so that the time reveals nothing.
        let given = given.trim().as_bytes();
        let same = |token: &String| bool::from(token.as_bytes().ct_eq(given));
        let found: Vec<bool> = self.tokens.iter().map(same).collect();
        found.iter().position(|same| *same).map(Client::Token)
    }

    /// Takes a request from the client's bucket; false if the bucket is empty. A bucket holds the
    /// requests of one second and refills at the same rate.
    pub(super) fn is_within_rate(&self, client: Client, now: Duration) -> bool {
        let Some(rate) = self.rate.map(f64::from) else { return true };
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= MAX_CLIENTS && !buckets.contains_key(&client) {
            buckets.retain(|_, bucket| bucket.at + Duration::from_secs(1) > now);
            // That many clients within a second are an attack.
            if buckets.len() >= MAX_CLIENTS {
                return false;
            }
        }
        let bucket = buckets.entry(client).or_insert(Bucket { left: rate, at: now });
        let elapsed = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + elapsed * rate).min(rate);
        bucket.at = now;
        let within = bucket.left >= 1.0;
        bucket.left -= if within { 1.0 } else { 0.0 };
        within
    }
}
