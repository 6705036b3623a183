//! Requests to brokers: retries, the errors that a client reports beside its answers, and the
//! partitions and offsets of a topic.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use crate::error::{Error, Result};

use super::codes::{denial, explain, is_damaged, is_unknown_topic, relevance, unknown_topic};
use super::token::Tokens;

/// How long one question may take, and how often it is asked: together less than a person waits for
/// an error.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

/// How many requests a producer has on their way to a broker. With more, a partition that was just
/// made may refuse the first, for nobody leads it yet, and take the next: a broker that knows
/// nothing of a producer takes any sequence number first. Then the first, sent again, counts as a
/// duplicate, and is acknowledged and lost.
pub(super) const IN_FLIGHT: &str = "1";

/// What a client says beside its answers.
pub(super) struct Context {
    name: String,
    tokens: Tokens,
    /// The most telling trouble so far.
    said: Mutex<Option<(Code, String)>>,
    /// The first record that was not taken, and why.
    undelivered: Mutex<Option<KafkaError>>,
}

impl Context {
    pub(super) fn new(name: &str, tokens: Tokens) -> Self {
        Context {
            name: name.to_string(),
            tokens,
            said: Mutex::default(),
            undelivered: Mutex::default(),
        }
    }

    /// What was not delivered since this was last asked.
    pub(super) fn undelivered(&self) -> Option<KafkaError> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The same, which is still there when it is next asked.
    pub(super) fn refused(&self) -> Option<KafkaError> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An error for `attempt`, which failed with `error`, or with what was said before.
    pub(super) fn error(&self, attempt: &str, error: &KafkaError) -> Error {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = error.rdkafka_error_code();
        let (code, why) = match said {
            Some((code, why))
                if own.is_none_or(|own| {
                    own == code || relevance(own) < 2 && relevance(own) <= relevance(code)
                }) =>
            {
                (Some(code), why)
            }
            _ => (own, error.to_string()),
        };
        explain(attempt, code).because(why)
    }

    /// Forgets what was said: it is over.
    pub(super) fn forget(&self) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why asking again is of no use, if it is of none.
    pub(super) fn hopeless(&self) -> Option<&'static str> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.as_ref().and_then(|(code, _)| denial(*code)).map(|(why, _)| why)
    }
}

impl Context {
    /// The error of a reader of `name` whose record at `offset`, or one behind it, can't be read.
    pub(super) fn unreadable(&self, name: &str, offset: u64, error: &KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(code) if is_damaged(code) => {
                let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let why = said
                    .filter(|(said, _)| *said == code)
                    .map_or_else(|| error.to_string(), |(_, why)| why);
                Error::data(format!("can't read on in {name} from offset {offset}: a record is damaged"))
                    .because(why)
                    .hint("Let another replica lead the partition, or restore its files; else begin anew with another state.")
            }
            _ => self.error(&format!("can't read on in {name} from offset {offset}"), error),
        }
    }
}

impl ClientContext for Context {
    /// Called only where tokens are used.
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(client = self.name, facility, "{message}");
            }
            // What matters of it comes as an error too.
            _ => tracing::debug!(client = self.name, facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code().filter(|code| *code != Code::PartitionEOF)
        else {
            return;
        };
        tracing::debug!(client = self.name, %code, "{reason}");
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_ref().is_none_or(|(before, _)| relevance(*before) <= relevance(code)) {
            *said = Some((code, reason.to_string()));
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
        if let Err((error, _)) = delivered {
            let mut undelivered = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
            undelivered.get_or_insert_with(|| error.clone());
        }
    }
}

/// Asks a few times, until there is an answer or no hope. Between, the client is served, which
/// fetches tokens and says why.
pub(super) fn ask<T>(
    consumer: &BaseConsumer<Context>,
    attempt: &str,
    mut question: impl FnMut(Duration) -> Result<T, KafkaError>,
) -> Result<T> {
    let serve = |patience| {
        // No partition is assigned yet: these are troubles, and the context keeps them.
        let mut event = consumer.poll(patience);
        while event.is_some() {
            event = consumer.poll(Duration::ZERO);
        }
    };
    let mut last = KafkaError::NoMessageReceived;
    for _ in 0..ROUNDS {
        serve(Duration::ZERO);
        match question(PATIENCE) {
            Ok(answer) => {
                consumer.context().forget();
                return Ok(answer);
            }
            Err(error) => last = error,
        }
        serve(Duration::from_millis(500));
        if consumer.context().hopeless().is_some()
            || last.rdkafka_error_code().is_some_and(|code| relevance(code) > 2)
        {
            break;
        }
    }
    Err(consumer.context().error(attempt, &last))
}

/// The partitions that `topic` has now, ascending; `None` if there is no such topic.
pub(super) fn partitions(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    name: &str,
) -> Result<Option<Vec<u32>>> {
    let mut unknown = 0;
    ask(consumer, &format!("can't ask for {name}"), |patience| {
        let metadata = consumer.fetch_metadata(Some(topic), patience)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.and_then(|found| found.error()).map(Code::from) {
            // Once may be too early for one that was just made.
            Some(code) if unknown_topic(code) && unknown > 0 => return Ok(None),
            Some(code) => {
                unknown += u32::from(unknown_topic(code));
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

/// The offset of a partition's first record, and that after its last.
pub(super) fn ends(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    name: &str,
    partition: u32,
) -> Result<(u64, u64)> {
    let (low, high) = ask(
        consumer,
        &format!("can't ask for the ends of {name}, partition {partition}"),
        |patience| {
            let ends = consumer.fetch_watermarks(topic, partition as i32, patience);
            if ends.as_ref().is_err_and(is_unknown_topic) {
                // What is known of the topic is old: for the next time. That failed once, and is
                // said already.
                let _ = consumer.fetch_metadata(Some(topic), patience);
            }
            ends
        },
    )?;
    Ok((low.max(0) as u64, high.max(0) as u64))
}

/// A client that looks at a topic from time to time, and what it saw.
pub(super) struct Scout {
    pub(super) consumer: BaseConsumer<Context>,
    pub(super) partitions: Vec<u32>,
    pub(super) ends: BTreeMap<u32, (u64, u64)>,
    /// How often it has looked.
    pub(super) looks: u32,
    /// Whether the last look was in vain.
    pub(super) blind: bool,
    /// A client that reads again what was read.
    pub(super) again: Option<BaseConsumer<Context>>,
}
