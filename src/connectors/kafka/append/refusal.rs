//! Turns Kafka's errors into refusals of requests.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;

use crate::connect::append::Refusal;

use super::super::codes::{is_unknown_code, relevance};
use super::super::limit::too_large;
use super::Shared;

impl Shared {
    /// Returns the refusal of a request to `topic` that failed with `error`.
    pub(super) fn refusal(&self, topic: &str, error: &KafkaError) -> Refusal {
        tracing::debug!(log = self.name, topic, %error, "refused");
        let producers = self.producers.all();
        if let Some((_, why)) =
            producers.iter().find_map(|producer| producer.client().fatal_error())
        {
            self.broken.send_replace(Some(why.clone()));
            return Refusal::Failed(why);
        }
        let code = match error {
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        let Some(code) = code else { return Refusal::Failed(error.to_string()) };
        let why = code.to_string();
        match code {
            code if is_unknown_code(code) && matches!(error, KafkaError::AdminOp(_)) => {
                Refusal::NoTopic
            }
            // The topic exists: brokers and clients learn of a new topic at different times.
            code if is_unknown_code(code) => {
                Refusal::Busy("the topic is being created".to_string())
            }
            Code::TopicAlreadyExists => Refusal::Exists,
            code if too_large(code) => {
                Refusal::Invalid("a record is larger than the topic accepts".to_string())
            }
            Code::InvalidRecord
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::PolicyViolation => Refusal::Invalid(why),
            _ if relevance(code) > 2 => Refusal::Denied(why),
            // Without access the client reports a timeout, and the reason separately.
            _ if relevance(code) < 2 => match producers
                .iter()
                .find_map(|producer| producer.client().context().0.denial_reason())
            {
                Some(why) => {
                    Refusal::Denied(format!("Kafka refuses access to this gateway: {why}"))
                }
                None => Refusal::Busy("Kafka does not reply".to_string()),
            },
            Code::QueueFull
            | Code::MessageTimedOut
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NotController
            | Code::ThrottlingQuotaExceeded => Refusal::Busy(why),
            _ => Refusal::Failed(why),
        }
    }
}
