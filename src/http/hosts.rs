//! The names of a server, checked against `Host` and `Origin`.
//!
//! Without tokens, only these two headers distinguish a program on this network from a page of
//! another site. A browser sends simple requests of a page to any address, with the page's site in
//! `Origin`. If the name of that site resolves to this server, the browser sends any request, with
//! that name in `Host` (DNS rebinding).

use std::net::{IpAddr, SocketAddr};

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Uri, header};

use super::{Refusal, ServerConfig};

/// The names of a server.
pub(super) struct Hosts {
    listens: SocketAddr,
    /// Names besides its address and `localhost`, with a port or for any port.
    more: Vec<String>,
    /// The port of a URL without one.
    default_port: u16,
}

impl Hosts {
    pub(super) fn new(listens: SocketAddr, config: &ServerConfig) -> Self {
        let default_port = if config.identity.is_some() { 443 } else { 80 };
        Hosts { listens, more: config.hosts.clone(), default_port }
    }

    /// Accepts a request that names one host. If `anyone` may send requests, the host must be this
    /// server, and so must the origin, if there is one.
    pub(super) fn check(&self, parts: &Parts, anyone: bool) -> Result<(), Refusal> {
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let (host, None) = (hosts.next(), hosts.next()) else {
            return Err(Refusal::BadHost("a request must have one Host, not several"));
        };
        let host = host.ok_or(Refusal::BadHost("a request must have a Host"))?;
        let host = authority(host).ok_or(Refusal::BadHost("Host is not the name of a host"))?;
        if !anyone {
            return Ok(());
        }
        // A request to a proxy names its host twice.
        for host in [Some(&host), parts.uri.authority()].into_iter().flatten() {
            if !self.contains(host, self.default_port) {
                return Err(Refusal::UnknownHost(host.to_string()));
            }
        }
        let foreign = |origin: &HeaderValue| !self.is_origin(origin);
        match parts.headers.get_all(header::ORIGIN).iter().any(foreign) {
            true => Err(Refusal::ForeignOrigin),
            false => Ok(()),
        }
    }

    fn is_origin(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        let Some(origin) = origin else { return false };
        let port = match origin.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return false,
        };
        origin.authority().is_some_and(|host| self.contains(host, port))
    }

    fn contains(&self, host: &Authority, default_port: u16) -> bool {
        let name = host.host();
        let same = |more: &String| {
            more.eq_ignore_ascii_case(name) || more.eq_ignore_ascii_case(host.as_str())
        };
        if self.more.iter().any(same) {
            return true;
        }
        // The name of a site is no IP address, so rebinding can't use one. A server on all
        // addresses is reachable under each of them, and through forwarded ports.
        let all = self.listens.ip().is_unspecified();
        let known = match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => all || address == self.listens.ip(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        };
        known && (all || host.port_u16().unwrap_or(default_port) == self.listens.port())
    }
}

/// The host in a header, if it contains no user name.
fn authority(host: &HeaderValue) -> Option<Authority> {
    let host = Authority::try_from(host.as_bytes()).ok()?;
    (!host.as_str().contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn contains(listens: &str, host: &str) -> bool {
        let mut config = ServerConfig::new(Arc::new(|| Duration::ZERO));
        config.hosts = vec!["door".into(), "other:9000".into()];
        Hosts::new(listens.parse().unwrap(), &config).contains(&host.parse().unwrap(), 80)
    }

    #[test]
    fn a_server_has_its_address_and_its_configured_names() {
        let names = ["127.0.0.1:8082", "localhost:8082", "LOCALHOST:8082", "door", "Door:1"];
        for host in names.into_iter().chain(["other:9000"]) {
            assert!(contains("127.0.0.1:8082", host), "{host}");
        }
        let others = ["127.0.0.1", "127.0.0.1:8083", "localhost", "127.0.0.2:8082", "[::1]:8082"];
        for host in others.into_iter().chain(["evil.example:8082", "other"]) {
            assert!(!contains("127.0.0.1:8082", host), "{host}");
        }
        assert!(contains("[::1]:8082", "[::1]:8082"));
        assert!(contains("127.0.0.1:80", "127.0.0.1") && contains("127.0.0.1:80", "localhost"));
        for host in ["10.1.2.3:8082", "10.1.2.3", "[2001:db8::1]:9000", "localhost:9000", "door"] {
            assert!(contains("0.0.0.0:8082", host), "{host}");
        }
        assert!(!contains("0.0.0.0:8082", "evil.example:8082"));
        assert!(!contains("0.0.0.0:8082", "127.0.0.1.evil.example"));
    }
}
