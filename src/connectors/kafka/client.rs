//! Requests to brokers: retries, errors that a client reports separately, partitions and offsets of
//! a topic.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use crate::error::{Advice, Error, Result};
use crate::sync::lock;

use super::codes::{denial, error_for, is_damaged, is_unknown_code, is_unknown_topic, relevance};
use super::token::Tokens;

/// The time limit of one request, and the number of attempts. The total must not try the timeout
/// of a person who waits for an error.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 5;
/// The time limit of one step of a transaction.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of requests that a producer has in flight to a broker.
///
/// With more than one, a record can be lost on a new partition. The broker may refuse the first
/// request, because no leader is elected yet, and accept the second, because it accepts any first
/// sequence number of a new producer. The retry of the first then counts as a duplicate: it is
/// acknowledged but not stored.
pub(super) const MAX_IN_FLIGHT: &str = "1";

/// An error that a client reports by callback.
#[derive(Clone)]
struct Reported {
    code: Code,
    reason: String,
}

/// The context of a client: it keeps the errors that librdkafka reports by callback.
pub(super) struct Context {
    name: String,
    tokens: Tokens,
    /// The most relevant error so far.
    reported: Mutex<Option<Reported>>,
    /// The error of the first record that was not delivered. A purge is replaced by its cause.
    delivery_error: Mutex<Option<KafkaError>>,
    /// By partition, the greatest offset of a delivered record.
    delivered: Mutex<BTreeMap<i32, i64>>,
}

impl Context {
    pub(super) fn new(name: &str, tokens: Tokens) -> Self {
        Context {
            name: name.to_string(),
            tokens,
            reported: Mutex::default(),
            delivery_error: Mutex::default(),
            delivered: Mutex::default(),
        }
    }

    /// Returns the error of the first record that was not delivered, and clears it.
    pub(super) fn take_delivery_error(&self) -> Option<KafkaError> {
        lock(&self.delivery_error).take()
    }

    /// Returns the error of the first record that was not delivered.
    pub(super) fn delivery_error(&self) -> Option<KafkaError> {
        lock(&self.delivery_error).clone()
    }

    /// Returns the greatest offset of a delivered record by partition, and clears it.
    pub(super) fn take_delivered(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut lock(&self.delivered))
    }

    /// Returns an error for `attempt`, which failed with `error`. A reported error that explains
    /// more is named as the cause instead.
    pub(super) fn error(&self, attempt: &str, error: &KafkaError) -> Error {
        let own = error.rdkafka_error_code();
        let (code, why) = match lock(&self.reported).clone() {
            Some(Reported { code, reason })
                if own.is_none_or(|own| {
                    own == code || relevance(own) < 2 && relevance(own) <= relevance(code)
                }) =>
            {
                (Some(code), reason)
            }
            _ => (own, error.to_string()),
        };
        error_for(attempt, code).because(why)
    }

    /// Clears the reported error, after a request has succeeded.
    pub(super) fn clear(&self) {
        *lock(&self.reported) = None;
    }

    /// Returns the reason if access is denied: then a retry is pointless.
    pub(super) fn denial_reason(&self) -> Option<&'static str> {
        let reported = lock(&self.reported);
        reported.as_ref().and_then(|reported| denial(reported.code)).map(|(why, _)| why)
    }
}

impl Context {
    /// Returns the error of a reader of `name` that can't read the record at `offset`, or a later
    /// one.
    pub(super) fn unreadable(&self, name: &str, offset: u64, error: &KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(code) if is_damaged(code) => {
                let why = lock(&self.reported)
                    .clone()
                    .filter(|reported| reported.code == code)
                    .map_or_else(|| error.to_string(), |reported| reported.reason);
                Error::data(format!(
                    "can't read {name} from offset {offset} on: a record is damaged"
                ))
                .because(why)
                .hint(
                    "Let another replica lead the partition, or restore its files, or begin anew.",
                )
                .advise(Advice::BeginAnew)
            }
            _ => self.error(&format!("can't read {name} from offset {offset} on"), error),
        }
    }
}

impl ClientContext for Context {
    /// librdkafka calls the refresh only if the mechanism uses tokens.
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(client = self.name, facility, "{message}");
            }
            // Important messages also arrive as errors.
            _ => tracing::debug!(client = self.name, facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code().filter(|code| *code != Code::PartitionEOF)
        else {
            return;
        };
        tracing::debug!(client = self.name, %code, "{reason}");
        let mut reported = lock(&self.reported);
        if reported.as_ref().is_none_or(|before| relevance(before.code) <= relevance(code)) {
            *reported = Some(Reported { code, reason: reason.to_string() });
        }
    }

    fn generate_oauth_token(
        &self,
        _: Option<&str>,
    ) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        self.tokens.token()
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        match delivered {
            Ok(record) => {
                let mut delivered = lock(&self.delivered);
                let last = delivered.entry(record.partition()).or_insert(record.offset());
                *last = record.offset().max(*last);
            }
            Err((error, _)) => {
                keep_cause(&mut lock(&self.delivery_error), error);
            }
        }
    }
}

/// Keeps the first error that is a cause. The client purges the other records of a transaction
/// before it reports the record that has failed.
fn keep_cause(kept: &mut Option<KafkaError>, error: &KafkaError) {
    let is_purge = |error: &KafkaError| {
        matches!(error.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight))
    };
    if kept.as_ref().is_none_or(is_purge) {
        *kept = Some(error.clone());
    }
}

/// Retries a request until it succeeds or retrying is pointless. Polls the client in between, which
/// refreshes tokens and collects errors.
pub(super) fn retry<T>(
    consumer: &BaseConsumer<Context>,
    attempt: &str,
    mut request: impl FnMut(Duration) -> Result<T, KafkaError>,
) -> Result<T> {
    let serve = |timeout| {
        // No partition is assigned yet, so that each event is an error. The context keeps it.
        let mut event = consumer.poll(timeout);
        while event.is_some() {
            event = consumer.poll(Duration::ZERO);
        }
    };
    let mut last = KafkaError::NoMessageReceived;
    for _ in 0..ATTEMPTS {
        serve(Duration::ZERO);
        match request(REQUEST_TIMEOUT) {
            Ok(answer) => {
                consumer.context().clear();
                return Ok(answer);
            }
            Err(error) => last = error,
        }
        serve(Duration::from_millis(500));
        if consumer.context().denial_reason().is_some()
            || last.rdkafka_error_code().is_some_and(|code| relevance(code) > 2)
        {
            break;
        }
    }
    Err(consumer.context().error(attempt, &last))
}

/// Returns the partitions of `topic`, ascending; `None` if the topic does not exist.
pub(super) fn partitions(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    name: &str,
) -> Result<Option<Vec<u32>>> {
    let mut unknown = 0;
    retry(consumer, &format!("can't request the partitions of {name}"), |timeout| {
        let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.and_then(|found| found.error()).map(Code::from) {
            // The first such error may be too early: the topic may be new.
            Some(code) if is_unknown_code(code) && unknown > 0 => return Ok(None),
            Some(code) => {
                unknown += u32::from(is_unknown_code(code));
                return Err(KafkaError::MetadataFetch(code));
            }
            None => {}
        }
        let mut partitions: Vec<u32> = found
            .iter()
            .flat_map(|found| found.partitions())
            .filter_map(|partition| u32::try_from(partition.id()).ok())
            .collect();
        partitions.sort_unstable();
        Ok(Some(partitions).filter(|partitions| !partitions.is_empty()))
    })
}

/// Returns the offset of a partition's first record, and the offset after its last one.
pub(super) fn watermarks(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    name: &str,
    partition: u32,
) -> Result<Range<u64>> {
    let (low, high) = retry(
        consumer,
        &format!("can't request the offsets of {name}, partition {partition}"),
        |timeout| {
            let watermarks = consumer.fetch_watermarks(topic, partition as i32, timeout);
            if watermarks.as_ref().is_err_and(is_unknown_topic) {
                // The client's metadata are out of date: refresh them for the next attempt. An
                // error of the refresh says no more than this one.
                let _ = consumer.fetch_metadata(Some(topic), timeout);
            }
            watermarks
        },
    )?;
    Ok(low.max(0) as u64..high.max(0) as u64)
}

/// The state of partition discovery: a client, and the topic as it was at the last refresh.
pub(super) struct Discovery {
    pub(super) consumer: BaseConsumer<Context>,
    pub(super) partitions: Vec<u32>,
    /// The range of offsets of each partition.
    pub(super) watermarks: BTreeMap<u32, Range<u64>>,
    /// The number of refreshes so far.
    pub(super) refreshes: u32,
    /// True if no broker replied to the last refresh.
    pub(super) unreachable: bool,
    /// The client that reads records verifier to verify the topic.
    pub(super) verifier: Option<BaseConsumer<Context>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_is_no_cause_of_an_error() {
        let mut kept = None;
        let purged = KafkaError::MessageProduction(Code::PurgeQueue);
        keep_cause(&mut kept, &purged);
        assert_eq!(kept, Some(purged.clone()));
        let large = KafkaError::MessageProduction(Code::MessageSizeTooLarge);
        for later in [&large, &purged, &KafkaError::MessageProduction(Code::RequestTimedOut)] {
            keep_cause(&mut kept, later);
            assert_eq!(kept.as_ref(), Some(&large));
        }
    }
}
