//! Under which name a gateway is asked, and by which page: where there are no tokens, only that
//! tells a browser's other pages.
//!
//! A page of another site may have its visitors' browsers send simple requests, and ask all it
//! likes once the name of its site has become the gateway's address. The first names that page in
//! `Origin`, the second in `Host`.

use std::net::{IpAddr, SocketAddr};

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Uri, header};

use super::Config;
use super::fault::Fault;

/// The names that a gateway has.
pub(super) struct Names {
    listens: SocketAddr,
    /// Besides its address and `localhost`, with a port or with any.
    more: Vec<String>,
    /// The port of a URL that names none.
    port: u16,
}

impl Names {
    pub(super) fn new(listens: SocketAddr, config: &Config) -> Self {
        let port = if config.identity.is_some() { 443 } else { 80 };
        Names { listens, more: config.hosts.clone(), port }
    }

    /// Lets pass what names one host. `anyone` may ask, so it must be this one, and no page of
    /// another.
    pub(super) fn admit(&self, parts: &Parts, anyone: bool) -> Result<(), Fault> {
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let (host, None) = (hosts.next(), hosts.next()) else {
            return Err(Fault::Malformed("a request has one Host, not more".to_string()));
        };
        let host = host.ok_or_else(|| Fault::Malformed("a request has a Host".to_string()))?;
        let host = authority(host)
            .ok_or_else(|| Fault::Malformed("Host is no name of a host".to_string()))?;
        if !anyone {
            return Ok(());
        }
        // A request to a proxy names its host twice.
        for host in [Some(&host), parts.uri.authority()].into_iter().flatten() {
            if !self.has(host, self.port) {
                return Err(Fault::Foreign(format!("this gateway is not called {host}")));
            }
        }
        let foreign = |origin: &&HeaderValue| !self.is_of(origin);
        match parts.headers.get_all(header::ORIGIN).iter().find(foreign) {
            Some(_) => Err(Fault::Foreign("a page of another host may not ask".to_string())),
            None => Ok(()),
        }
    }

    fn is_of(&self, origin: &HeaderValue) -> bool {
        let Some(origin) = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok())
        else {
            return false;
        };
        let port = match origin.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return false,
        };
        origin.authority().is_some_and(|host| self.has(host, port))
    }

    fn has(&self, host: &Authority, port: u16) -> bool {
        let name = host.host();
        let same = |more: &String| {
            more.eq_ignore_ascii_case(name) || more.eq_ignore_ascii_case(host.as_str())
        };
        if self.more.iter().any(same) {
            return true;
        }
        // No site is called as an address is: whoever listens on all may be reached under any, and
        // by way of another port.
        let all = self.listens.ip().is_unspecified();
        let known = match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => all || address == self.listens.ip(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        };
        known && (all || host.port_u16().unwrap_or(port) == self.listens.port())
    }
}

/// The host that is named, without a user.
fn authority(host: &HeaderValue) -> Option<Authority> {
    let host = Authority::try_from(host.as_bytes()).ok()?;
    (!host.as_str().contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn has(listens: &str, host: &str) -> bool {
        let mut config = Config::new(Arc::new(|| Duration::ZERO));
        config.hosts = vec!["door".into(), "other:9000".into()];
        Names::new(listens.parse().unwrap(), &config).has(&host.parse().unwrap(), 80)
    }

    #[test]
    fn a_gateway_is_called_as_it_listens_or_as_it_is_told() {
        for host in
            ["127.0.0.1:8082", "localhost:8082", "LOCALHOST:8082", "door", "Door:1", "other:9000"]
        {
            assert!(has("127.0.0.1:8082", host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:8083",
            "localhost",
            "127.0.0.2:8082",
            "[::1]:8082",
            "evil.example:8082",
            "other",
        ] {
            assert!(!has("127.0.0.1:8082", host), "{host}");
        }
        assert!(
            has("[::1]:8082", "[::1]:8082")
                && has("127.0.0.1:80", "127.0.0.1")
                && has("127.0.0.1:80", "localhost")
        );
        for host in ["10.1.2.3:8082", "10.1.2.3", "[2001:db8::1]:9000", "localhost:9000", "door"] {
            assert!(has("0.0.0.0:8082", host), "{host}");
        }
        assert!(
            !has("0.0.0.0:8082", "evil.example:8082")
                && !has("0.0.0.0:8082", "127.0.0.1.evil.example")
        );
    }
}
