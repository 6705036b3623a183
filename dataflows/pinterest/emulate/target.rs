//! The target of the records: a gateway, by one of its protocols, or a log, directly.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, header};
use watershed::gateway::{NewRecord, Refusal, close};
use watershed::program::{Appending, Context, plainly};
use watershed::{Error, Result};

use super::Style;

/// Most attempts to send a record.
const ATTEMPTS_MAX: u32 = 6;
/// Pause after the first failure; it doubles with each further one.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest time until the first response of a gateway.
const REACH_TIMEOUT: Duration = Duration::from_secs(12);
/// Longest time to close a log.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest pause that a gateway may request.
const RETRY_AFTER_MAX_WAIT: Duration = Duration::from_secs(30);

/// A target for records.
pub(super) enum Target {
    Http(Http),
    Log(Appending),
}

/// A gateway.
pub(super) struct Http {
    client: Client,
    style: Style,
    /// The names of the topics and of the streams, by the kind of record.
    topics: Vec<String>,
    streams: Vec<String>,
    base: String,
    token: Option<String>,
}

/// The reason why a record was not taken, and the pause before it may be sent again.
struct Failure {
    why: String,
    again: Option<Duration>,
}

impl Target {
    /// Opens the target that `url` names.
    pub(super) fn open(url: &str, style: Style, context: &Context<'_>) -> Result<Self> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Ok(Target::Log(context.append_to(url)?));
        }
        let (variable, token) = context.gateway_token()?;
        let parsed = Url::parse(url)
            .map_err(|e| Error::usage(format!("can't post to {}", plainly(url))).because(e))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Error::usage(
                "can't take a password as an argument: everyone on this machine could read it",
            )
            .hint(format!("Put the token of the gateway into {variable}.")));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(Error::usage(format!("can't post to {}: it has a ? or a #", plainly(url)))
                .hint("Give the gateway as http://host:port, with a stage behind if it has one."));
        }
        let base = url.trim_end_matches('/').to_string();
        let client = Client::builder()
            .timeout(Duration::from_secs(60))
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            .build();
        let client = client.map_err(|e| Error::internal("can't make requests").because(e))?;
        if token.is_some() && parsed.scheme() == "http" && !near(&parsed) {
            tracing::warn!(
                "the token goes to {base} without encryption, so others on the network can read and \
                 use it; give an https:// URL"
            );
        }
        let (topics, streams) = (context.topics(), context.streams());
        Ok(Target::Http(Http { client, style, topics, streams, base, token }))
    }

    /// Waits until a gateway sends any response: while it can't be reached, it may be starting.
    pub(super) async fn reach(&self) -> Result<()> {
        let Target::Http(http) = self else { return Ok(()) };
        let failed = |why: &str| {
            Error::connect(format!("can't reach {}: {why}", http.base)).hint(
                "Check host and port, and that a gateway listens there: `pinterest gateway` \
                    is one.",
            )
        };
        let said = async {
            let mut pause = RETRY_PAUSE;
            for _ in 1..ATTEMPTS_MAX {
                if http.client.get(&http.base).send().await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            http.client.get(&http.base).send().await.map(|_| ()).map_err(|e| failed(&chain(&e)))
        };
        let late = |_| failed(&format!("no answer within {} seconds", REACH_TIMEOUT.as_secs()));
        tokio::time::timeout(REACH_TIMEOUT, said).await.map_err(late)?
    }

    /// Sends a record of a row until it is acknowledged, or another attempt is useless.
    pub(super) async fn post(&self, kind: usize, row: u64, line: Bytes) -> Result<(), String> {
        let mut pause = RETRY_PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            match self.attempt(kind, row, &line).await {
                Ok(()) => return Ok(()),
                Err(Failure { again: Some(asked), .. }) => {
                    tokio::time::sleep(asked.max(pause).min(RETRY_AFTER_MAX_WAIT)).await
                }
                Err(Failure { why, again: None }) => return Err(why),
            }
            pause *= 2;
        }
        self.attempt(kind, row, &line).await.map_err(|failure| failure.why)
    }

    async fn attempt(&self, kind: usize, row: u64, line: &Bytes) -> Result<(), Failure> {
        match self {
            Target::Http(http) => http.attempt(kind, row, line).await,
            Target::Log(Appending { log, topics, keyed }) => {
                let key = keyed.then(|| row.to_string().into());
                let entry = NewRecord { key, value: Some(line.clone()), ..NewRecord::default() };
                let placed = log
                    .append(&topics[kind], vec![entry])
                    .await
                    .and_then(|places| places.into_iter().collect::<Result<Vec<_>, _>>());
                placed.map(|_| ()).map_err(|refusal| Failure {
                    again: matches!(refusal, Refusal::Busy(_)).then_some(Duration::ZERO),
                    why: refusal.to_string(),
                })
            }
        }
    }

    /// Waits until the log is broken: it can accept no more records.
    pub(super) async fn broken(&self) -> Error {
        match self {
            Target::Http(_) => std::future::pending().await,
            Target::Log(Appending { log, .. }) => log.broken().await,
        }
    }

    /// Closes a log, so that all acknowledged records can be read.
    pub(super) async fn close(&self) -> Result<()> {
        let Target::Log(Appending { log, .. }) = self else { return Ok(()) };
        close(&**log, CLOSE_TIMEOUT).await
    }
}

impl Http {
    fn request(&self, kind: usize, row: u64, line: &Bytes) -> RequestBuilder {
        let Http { client, style, topics, streams, base, token } = self;
        let (method, path, media, parts) = match style {
            Style::RestProxy => {
                let around = ["{\"records\":[{\"value\":".to_string(), "}]}".to_string()];
                (
                    Method::POST,
                    format!("topics/{}", topics[kind]),
                    "application/vnd.kafka.json.v2+json",
                    around,
                )
            }
            Style::KinesisProxy => {
                let stream = &streams[kind];
                let around = [
                    format!("{{\"StreamName\":\"{stream}\",\"Data\":"),
                    format!(",\"PartitionKey\":\"{row}\"}}"),
                ];
                (Method::PUT, format!("streams/{stream}/record"), "application/json", around)
            }
        };
        let body = [parts[0].as_bytes(), line, parts[1].as_bytes()].concat();
        let request = client
            .request(method, format!("{base}/{path}"))
            .header(header::CONTENT_TYPE, media)
            .body(body);
        token.iter().fold(request, RequestBuilder::bearer_auth)
    }

    async fn attempt(&self, kind: usize, row: u64, line: &Bytes) -> Result<(), Failure> {
        // A gateway that can't be reached may be starting.
        let lost = |e: reqwest::Error| Failure { why: chain(&e), again: Some(Duration::ZERO) };
        let response = self.request(kind, row, line).send().await.map_err(lost)?;
        let status = response.status();
        let after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|after| after.to_str().ok()?.parse().ok());
        let body = response.text().await.map_err(lost)?;
        // The REST Proxy responds with 200, and with an error for the record in the body.
        let named = body.contains("\"error_code\":5");
        if status.is_success() && !named {
            return Ok(());
        }
        let busy =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
                || named;
        let again = after.map(Duration::from_secs).or(busy.then_some(Duration::ZERO));
        let short: String = body.chars().take(300).collect();
        Err(Failure { why: format!("{status} {short}"), again })
    }
}

/// Returns true for a URL of this machine.
fn near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Returns the texts of an error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
