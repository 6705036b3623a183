//! Error codes of librdkafka by their meaning: transient, denied, unknown topic, lost or damaged
//! records.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::error::{Advice, Error};

/// Returns how much a code explains: 0 for no answer, 1 for a broken connection, 3 for refused
/// access, and 2 for all others.
pub(super) fn relevance(code: Code) -> u8 {
    match code {
        Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::MessageTimedOut => 0,
        Code::BrokerTransportFailure | Code::NetworkException | Code::Resolve => 1,
        _ if denial(code).is_some() => 3,
        _ => 2,
    }
}

/// Returns the reason and a hint if the code means that access is denied.
pub(super) fn denial(code: Code) -> Option<(&'static str, &'static str)> {
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

/// Returns an error for `attempt` of the kind, and with the hint, that fit the code.
pub(super) fn error_for(attempt: &str, code: Option<Code>) -> Error {
    match code.map(|code| (code, denial(code))) {
        Some((Code::SSL, Some((why, hint)))) => {
            Error::connect(format!("{attempt}: {why}")).hint(hint)
        }
        Some((_, Some((why, hint)))) => Error::config(format!("{attempt}: {why}")).hint(hint),
        Some((code, None)) if records_lost(code) => {
            Error::data(format!("{attempt}: its records are gone, or the topic was recreated"))
                .hint("Restore the topic, or begin anew.")
                .advise(Advice::BeginAnew)
        }
        Some((code, None)) if is_unknown_code(code) => {
            Error::connect(format!("{attempt}: no broker is its leader now"))
                .hint("Check that the topic exists and its brokers are running.")
        }
        _ => Error::connect(attempt)
            .hint("Check the brokers' names and ports, and KAFKA_SECURITY_PROTOCOL."),
    }
}

/// Returns true for a code that means that records no longer exist.
fn records_lost(code: Code) -> bool {
    matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation)
}

/// Returns true for an error that means that records no longer exist.
pub(super) fn is_lost(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(records_lost)
}

/// Returns true for a code that means that the broker does not have the topic or partition.
pub(super) fn is_unknown_code(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
    )
}

/// Returns true for an error of an unknown topic or partition.
///
/// The error may be transient: librdkafka reports it when a partition has no leader, and a
/// restarted broker reports it for topics that it hasn't learned about. A metadata request
/// distinguishes the cases.
pub(super) fn is_unknown_topic(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_unknown_code)
}

/// Returns true for an error after which a reader continues. The client reconnects by itself, and
/// rejected credentials may become valid again.
///
/// Every other error is final, because the client skips records that it can't read.
pub(super) fn is_transient(error: &KafkaError) -> bool {
    if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return false;
    }
    error.rdkafka_error_code().is_some_and(transient)
}

fn transient(code: Code) -> bool {
    match code {
        // No answer, or a broken connection.
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
        // The client looks for a group coordinator although no group is joined here.
        Code::WaitingForCoordinator
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator => true,
        // A broker is overloaded, or has dropped the fetch session.
        Code::ThrottlingQuotaExceeded
        | Code::FetchSessionIdNotFound
        | Code::InvalidFetchSessionEpoch => true,
        _ => is_unknown_code(code) || denial(code).is_some(),
    }
}

/// Returns true for a code of a damaged record: a wrong checksum, format or compression.
pub(super) fn is_damaged(code: Code) -> bool {
    matches!(
        code,
        Code::BadMessage
            | Code::BadCompression
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            // The client accepts up to a gigabyte; a damaged length may be larger.
            | Code::MessageSizeTooLarge
            | Code::InvalidRecord
            | Code::NotImplemented
            | Code::UnsupportedCompressionType
            | Code::Underflow
            | Code::Inconsistent
    )
}
