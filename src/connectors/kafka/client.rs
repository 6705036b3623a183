//! Talking with brokers: what clients say when things go wrong, which kind of trouble it is, and
//! what a topic is now.

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
                    own == code || telling(own) < 2 && telling(own) <= telling(code)
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
        said.as_ref().and_then(|(code, _)| denied(*code)).map(|(why, _)| why)
    }
}

/// How much a code says of the cause: that nobody answers says nothing, and above 2 the broker lets
/// nobody in.
pub(super) fn telling(code: Code) -> u8 {
    match code {
        Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::MessageTimedOut => 0,
        Code::BrokerTransportFailure | Code::NetworkException | Code::Resolve => 1,
        _ if denied(code).is_some() => 3,
        _ => 2,
    }
}

/// Why nobody is let in, and what may help.
fn denied(code: Code) -> Option<(&'static str, &'static str)> {
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => Some((
            "the broker does not accept the credentials",
            "Check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD, or the file KAFKA_PROPERTIES.",
        )),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::ClusterAuthorizationFailed => Some((
            "it is not allowed",
            "Let the user read the topic, or write to it and use the group and the transactional id <application>/<topic>.",
        )),
        Code::SSL => Some((
            "the TLS connection is refused",
            "Name the brokers as their certificates do, and check KAFKA_SSL_CA_LOCATION.",
        )),
        _ => None,
    }
}

fn explain(attempt: &str, code: Option<Code>) -> Error {
    match code.map(|code| (code, denied(code))) {
        Some((Code::SSL, Some((why, hint)))) => {
            Error::connect(format!("{attempt}: {why}")).hint(hint)
        }
        Some((_, Some((why, hint)))) => Error::config(format!("{attempt}: {why}")).hint(hint),
        Some((code, None)) if lost(code) => {
            Error::data(format!("{attempt}: its records are gone, or the topic was made anew"))
                .hint("Restore the topic, or begin anew with another state.")
        }
        Some((code, None)) if nowhere(code) => {
            Error::connect(format!("{attempt}: no broker leads it now"))
                .hint("See whether the topic is there, and its brokers are.")
        }
        _ => Error::connect(attempt)
            .hint("Check the brokers' names and ports, and KAFKA_SECURITY_PROTOCOL."),
    }
}

/// Whether a code says that records which were there are not there any more.
fn lost(code: Code) -> bool {
    matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation)
}

/// Returns true for an error that says that records are not there any more.
pub(super) fn gone(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(lost)
}

/// Whether a code says that there is no such topic or partition.
pub(super) fn nowhere(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
    )
}

/// Whether an error says that there is no such topic or partition. That may pass: librdkafka says
/// so where there is no leader, and brokers that have just come back of what they have not heard of
/// yet. Who asks for the partitions knows.
pub(super) fn unknown(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(nowhere)
}

/// Whether a reader goes on after `error`: the client connects again by itself, and credentials
/// that were right before may become right again. What is not listed here stops it, for the client
/// passes over records that it can't read.
pub(super) fn passing(error: &KafkaError) -> bool {
    if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return false;
    }
    error.rdkafka_error_code().is_some_and(passes)
}

fn passes(code: Code) -> bool {
    match code {
        // Nobody answers, or the connection broke.
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::NetworkException
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::BrokerDestroy
        | Code::DestroyBroker
        | Code::UnknownBroker
        | Code::CriticalSystemResource
        | Code::Interrupted => true,
        // Another broker leads the partition now, or soon will.
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::KafkaStorageError
        | Code::OffsetNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::ReassignmentInProgress
        | Code::RebootstrapRequired
        | Code::NodeUpdate
        | Code::WaitCache
        | Code::InProgress
        | Code::PreviousInProgress
        | Code::Retry => true,
        // The client asks for a coordinator of groups, though no group is joined here.
        Code::WaitingForCoordinator
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator => true,
        // A broker has too much to do, or has forgotten the conversation.
        Code::ThrottlingQuotaExceeded
        | Code::FetchSessionIdNotFound
        | Code::InvalidFetchSessionEpoch => true,
        _ => nowhere(code) || denied(code).is_some(),
    }
}

/// Returns true for a code of reading that says that a record is damaged: its sum, its form or its
/// packing is wrong.
fn damaged(code: Code) -> bool {
    matches!(
        code,
        Code::BadMessage
            | Code::BadCompression
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            // The client asks for up to a gigabyte, and a length may say more.
            | Code::MessageSizeTooLarge
            | Code::InvalidRecord
            | Code::NotImplemented
            | Code::UnsupportedCompressionType
            | Code::Underflow
            | Code::Inconsistent
    )
}

impl Context {
    /// The error of a reader of `name` whose record at `offset`, or one behind it, can't be read.
    pub(super) fn unreadable(&self, name: &str, offset: u64, error: &KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(code) if damaged(code) => {
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
        if said.as_ref().is_none_or(|(before, _)| telling(*before) <= telling(code)) {
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
            || last.rdkafka_error_code().is_some_and(|code| telling(code) > 2)
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
            Some(code) if nowhere(code) && unknown > 0 => return Ok(None),
            Some(code) => {
                unknown += u32::from(nowhere(code));
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
            if ends.as_ref().is_err_and(unknown) {
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
