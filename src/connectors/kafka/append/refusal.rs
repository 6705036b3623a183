//! Kafka's errors, as refusals of requests.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;

use crate::connect::append::Refusal;

use super::super::codes::{relevance, unknown_topic};
use super::super::limit::too_large;
use super::Shared;

impl Shared {
    /// The refusal that an error means for a request to `topic`.
    pub(super) fn refusal(&self, topic: &str, error: &KafkaError) -> Refusal {
        tracing::debug!(log = self.name, topic, %error, "refused");
        let senders = self.senders.all();
        if let Some((_, why)) = senders.iter().find_map(|sender| sender.client().fatal_error()) {
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
            code if unknown_topic(code) && matches!(error, KafkaError::AdminOp(_)) => {
                Refusal::NoTopic
            }
            // It exists: brokers and clients learn of a new topic at different times.
            code if unknown_topic(code) => Refusal::Busy("the topic is being made".to_string()),
            Code::TopicAlreadyExists => Refusal::Exists,
            code if too_large(code) => {
                Refusal::Invalid("a record is larger than Kafka takes".to_string())
            }
            Code::InvalidRecord
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::PolicyViolation => Refusal::Invalid(why),
            _ if relevance(code) > 2 => Refusal::Denied(why),
            // Without access there is no response at all.
            _ if relevance(code) < 2 => match senders
                .iter()
                .find_map(|sender| sender.client().context().0.hopeless())
            {
                Some(why) => Refusal::Denied(format!("Kafka does not let this gateway in: {why}")),
                None => Refusal::Busy("Kafka does not answer".to_string()),
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
