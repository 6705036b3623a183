//! Parsers of values on the command line. Each error message completes "invalid value: …".

#[cfg(feature = "gateway")]
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

const UNITS: &str = "a whole number and ms, s, m, h or d, such as 200ms";

/// Parses a duration such as `200ms`, `1s`, `10m`, `2h` or `7d`, for `value_parser` of clap.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(watershed::program::duration("200ms"), Ok(Duration::from_millis(200)));
/// assert!(watershed::program::duration("200").is_err());
/// ```
///
/// # Errors
/// When the text is no whole number with one of these units.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| UNITS.to_string())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        "d" => Ok(Duration::from_secs(number.saturating_mul(24 * 3600))),
        _ => Err(UNITS.into()),
    }
}

/// Parses a duration that is greater than zero.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("greater than zero, such as 10m".into()),
        time => Ok(time),
    }
}

/// Parses a prefix of topics, which becomes a part of names of folders.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
        return Err("letters, digits, '.', '_' and '-', not beginning with '.'".into());
    }
    Ok(text.to_string())
}

/// Parses the place of tables. An empty one would create them in the root folder.
pub(super) fn lake(text: &str) -> Result<String, String> {
    if text.is_empty() || text.ends_with("://") {
        return Err("a folder, or s3://bucket/prefix".into());
    }
    Ok(text.to_string())
}

/// Parses an address to listen on: an IP address or a name with a port, or only `:` and a port,
/// which means all addresses of this machine.
#[cfg(feature = "gateway")]
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let named = || if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_string() };
    let found = named().to_socket_addrs().map_err(|_| {
        "give an address such as 127.0.0.1:8082, localhost:8082 or :8082".to_string()
    })?;
    // A name may have several addresses. Prefer IPv4, as most clients do.
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| "this name has no address".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_part_of_a_name() {
        for good in ["demo", "0a1b", "anna.b", "a_b-c"] {
            assert_eq!(prefix(good), Ok(good.to_string()));
        }
        for bad in ["", ".", "..", "a/b", "ü", "a b"] {
            assert!(prefix(bad).is_err(), "{bad:?}");
        }
    }
}
