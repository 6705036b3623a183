//! The settings of a cluster: its brokers, and the properties of a connection. Only librdkafka
//! receives the secrets among them.

use std::collections::BTreeMap;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::{ClientConfig, ClientContext};

use crate::error::{Error, Result};

use super::client::Context;
use super::token::Tokens;

/// Environment variables that set a property.
const VARIABLES: [&str; 8] = [
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SSL_CA_LOCATION",
    "KAFKA_SSL_CERTIFICATE_LOCATION",
    "KAFKA_SSL_KEY_LOCATION",
    "KAFKA_SSL_KEY_PASSWORD",
];
/// Prefixes of the properties that may be set. The connector sets all others, because its
/// guarantees depend on them.
const ALLOWED: [&str; 11] = [
    "security.protocol",
    "sasl.",
    "ssl.",
    "enable.ssl.certificate.verification",
    "socket.",
    "broker.address.",
    "client.",
    "connections.max.idle.ms",
    "compression.",
    "linger.ms",
    "message.max.bytes",
];
/// The size limit of a file of properties, so that a invalid name can't fill the memory.
const PROPERTIES_MAX_BYTES: u64 = 1 << 20;

/// The settings of a cluster.
pub(super) struct Settings {
    pub(super) brokers: String,
    pub(super) prefix: String,
    properties: BTreeMap<String, String>,
    pub(super) tokens: Tokens,
}

/// Returns the properties of the environment.
pub(super) fn environment() -> Result<Vec<(String, String)>> {
    let mut properties = Vec::new();
    if let Ok(path) = std::env::var("KAFKA_PROPERTIES") {
        let invalid = |why: String| {
            Error::config(format!(
                "can't read the properties in {path}, which KAFKA_PROPERTIES names: {why}"
            ))
        };
        let length = std::fs::metadata(&path).map_err(|e| invalid(e.to_string()))?.len();
        if length > PROPERTIES_MAX_BYTES {
            return Err(invalid(format!(
                "it has {length} bytes; the limit is {PROPERTIES_MAX_BYTES}"
            )));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| invalid(e.to_string()))?;
        properties =
            parse(&text).map_err(|line| invalid(format!("line {line} is not name=value")))?;
    }
    for name in VARIABLES {
        if let Ok(value) = std::env::var(name) {
            properties.push((
                name.trim_start_matches("KAFKA_").to_ascii_lowercase().replace('_', "."),
                value,
            ));
        }
    }
    Ok(properties)
}

/// Parses lines `name=value`. The error is the number of the first line that has no `=`.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = text
        .lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', '!']));
    lines
        .map(|(at, line)| {
            let (name, value) = line.split_once('=').ok_or(at + 1)?;
            Ok((name.trim().to_string(), value.trim().to_string()))
        })
        .collect()
}

impl Settings {
    pub(super) fn new(url: &str, mut properties: BTreeMap<String, String>) -> Result<Self> {
        // Check this before an error repeats the URL: it might contain a password.
        if url.contains('@') || url.contains('?') {
            return Err(Error::config(
                "can't open a kafka:// URL with @ or ?: secrets and settings don't belong there",
            )
            .hint(
                "Give kafka://host:port, and the rest by KAFKA_SASL_USERNAME, \
                 KAFKA_SASL_PASSWORD or the file KAFKA_PROPERTIES.",
            ));
        }
        let invalid = |why: &str| {
            Error::config(format!("can't open {url}: {why}"))
                .hint("Give kafka://host:port, and further brokers separated by commas.")
        };
        let rest = url
            .strip_prefix("kafka://")
            .ok_or_else(|| invalid("it does not begin with kafka://"))?;
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let mut brokers = Vec::new();
        for broker in hosts.split(',') {
            let (host, port) = match broker.rsplit_once(':') {
                Some((host, port))
                    if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) =>
                {
                    (host, port)
                }
                Some(_) => {
                    return Err(invalid(
                        "an IPv6 address must be in brackets, followed by its port",
                    ));
                }
                None => (broker, "9092"),
            };
            let legal = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
            if host.is_empty() || !host.chars().all(legal) {
                return Err(invalid("the name of a broker is missing or not valid"));
            }
            if !port.parse::<u16>().is_ok_and(|port| port > 0) {
                return Err(invalid("a port is not a number from 1 to 65535"));
            }
            brokers.push(format!("{host}:{port}"));
        }
        if let Some(name) =
            properties.keys().find(|name| !ALLOWED.iter().any(|allowed| name.starts_with(allowed)))
        {
            return Err(Error::config(format!(
                "can't set the property {name} of Kafka: it is reserved for the connector"
            ))
            .hint(
                "Set properties of security, sockets and compression only: the guarantees \
                 depend on the others.",
            ));
        }
        let brokers = brokers.join(",");
        let tokens = Tokens::take(&mut properties, &brokers)?;
        Ok(Settings { brokers, prefix: prefix.to_string(), properties, tokens })
    }

    /// Returns a client of the cluster; `name` appears in its errors.
    pub(super) fn client<T: FromClientConfigAndContext<Context>>(
        &self,
        name: &str,
        own: &[(&str, &str)],
    ) -> Result<T> {
        self.client_in(name, own, |context| context)
    }

    /// As [`Settings::client`], with a context that wraps the usual one.
    pub(super) fn client_in<C: ClientContext, T: FromClientConfigAndContext<C>>(
        &self,
        name: &str,
        own: &[(&str, &str)],
        around: impl FnOnce(Context) -> C,
    ) -> Result<T> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "watershed");
        config.set("socket.connection.setup.timeout.ms", "10000");
        config.extend(self.properties.iter().map(|(name, value)| (name.clone(), value.clone())));
        config.extend(own.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())));
        config.create_with_context(around(Context::new(name, self.tokens.clone()))).map_err(
            |error| {
                let why = match error {
                    // Name the property but not its value, which may be a secret.
                    rdkafka::error::KafkaError::ClientConfig(_, _, property, _) => {
                        format!("the property {property} is not understood")
                    }
                    rdkafka::error::KafkaError::ClientCreation(why) => why,
                    other => other.to_string(),
                };
                Error::config(format!("can't create a client for {name}: {why}"))
            },
        )
    }
}
