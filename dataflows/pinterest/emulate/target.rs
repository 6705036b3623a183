//! The place that records are sent to: a gateway, in one of its protocols, or the log behind one.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, header};
use watershed::gateway::{NewRecord, Refusal, close};
use watershed::program::{Appending, Context, plainly};
use watershed::{Error, Result};

use super::Style;

/// How often a record is sent, at most.
const TRIES: u32 = 6;
/// How long to wait after the first failure; twice as long after each other.
const PAUSE: Duration = Duration::from_millis(200);
/// How long it may take until a gateway has said anything at all.
const REACHED: Duration = Duration::from_secs(12);
/// How long a log may take to close.
const CLOSED: Duration = Duration::from_secs(60);
/// The longest wait that a gateway may ask for.
const LONGEST: Duration = Duration::from_secs(30);

/// A place for records.
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
    /// Opens the place that `url` names.
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
                "the token goes to {base} without encryption: whoever sees it on its way may send; give an https:// URL"
            );
        }
        let (topics, streams) = (context.topics(), context.streams());
        Ok(Target::Http(Http { client, style, topics, streams, base, token }))
    }

    /// Waits until a gateway says anything at all: one that is not there may be starting.
    pub(super) async fn reach(&self) -> Result<()> {
        let Target::Http(http) = self else { return Ok(()) };
        let failed = |why: &str| {
            Error::connect(format!("can't reach {}: {why}", http.base))
                .hint("Check host and port, and that a gateway listens there: `pinterest gateway` is one.")
        };
        let said = async {
            let mut pause = PAUSE;
            for _ in 1..TRIES {
                if http.client.get(&http.base).send().await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            http.client.get(&http.base).send().await.map(|_| ()).map_err(|e| failed(&chain(&e)))
        };
        let late = |_| failed(&format!("no answer within {} seconds", REACHED.as_secs()));
        tokio::time::timeout(REACHED, said).await.map_err(late)?
    }

    /// Sends a record of a row until it is taken, or there is no hope.
    pub(super) async fn post(&self, kind: usize, row: u64, line: Bytes) -> Result<(), String> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.attempt(kind, row, &line).await {
                Ok(()) => return Ok(()),
                Err(Failure { again: Some(asked), .. }) => {
                    tokio::time::sleep(asked.max(pause).min(LONGEST)).await
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

    /// Ends when the log can take no more.
    pub(super) async fn broken(&self) -> Error {
        match self {
            Target::Http(_) => std::future::pending().await,
            Target::Log(Appending { log, .. }) => log.broken().await,
        }
    }

    /// Waits until all that was taken can be read.
    pub(super) async fn close(&self) -> Result<()> {
        let Target::Log(Appending { log, .. }) = self else { return Ok(()) };
        close(&**log, CLOSED).await
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
        // A gateway that is not there may be starting.
        let lost = |e: reqwest::Error| Failure { why: chain(&e), again: Some(Duration::ZERO) };
        let response = self.request(kind, row, line).send().await.map_err(lost)?;
        let status = response.status();
        let after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|after| after.to_str().ok()?.parse().ok());
        let body = response.text().await.map_err(lost)?;
        // The REST Proxy says 200 and names the error of the record.
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

/// True for a URL of this machine.
fn near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
