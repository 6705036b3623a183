//! Topics of a Kafka cluster, to read and to write.
//!
//! - **A partition** is a partition of the topic. Partitions are assigned by the runtime: no group
//!   is joined.
//! - **A position** is an offset. Offsets that no record has (markers of transactions, what a
//!   transaction took back, what was compacted away) are passed over; only what is committed is
//!   read.
//! - **A commit** of the sink is one Kafka transaction, in which the commit's number is the offset
//!   of partition 0 in the group `<application>/<topic>`: rows and number become visible together,
//!   once. Until then the rows are in the manifest, if they are few, or in the run's state. An
//!   earlier run is fenced by the transactional id `<application>/<topic>`. Read such a topic with
//!   `isolation.level=read_committed`. Brokers forget the offset of such a group when
//!   `offsets.retention.minutes` have passed without a commit: a run that makes commits elsewhere
//!   renews it every hour, and where it is gone all the same the rows in the topic are counted and
//!   compared, and tell which commit was the last.
//! - **Guaranteed**: the same records at the same offsets at every reading, or an error: a range
//!   that retention or compaction took, and a topic that was made anew, are refused. So a topic
//!   must keep what a state was built from. A table's key is the JSON object of its key columns and
//!   its value that of all columns, a row that is gone is a tombstone: give the topic
//!   `cleanup.policy=compact`. A stream's rows have no key.
//!
//! Keys, values, timestamps and headers are read; a row that is written has no headers, and the
//! time at which it is written.
//!
//! - **A gateway** appends to all topics of the cluster ([`Kafka::log`]), with `acks=all` and
//!   idempotence, and acknowledges what the brokers say that they have.
//!
//! Each open partition is a connection of its own, with a queue of a share of 64 MiB. Secrets come
//! from the environment or from a file, and are never part of a URL, a name or a log:
//! [`Kafka::open`] says which.

mod append;
mod claim;
mod client;
mod codes;
mod limit;
#[cfg(feature = "msk")]
mod msk;
mod rows;
mod scan;
mod sending;
mod settings;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod token;
mod trail;
mod watch;
mod writing;

use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};

pub use append::KafkaAppender;
use client::Scout;
use settings::Settings;
use trail::Trails;
use watch::Watch;

/// A Kafka cluster.
#[derive(Clone)]
pub struct Kafka {
    settings: Arc<Settings>,
}

impl Kafka {
    /// Names the cluster at `kafka://host:port[,host:port…][/prefix]`; a prefix is put before the
    /// name of each topic. Nothing is connected yet.
    ///
    /// How to connect is said by the environment: `KAFKA_PROPERTIES` is a file of lines
    /// `name=value` with properties of librdkafka, and `KAFKA_SECURITY_PROTOCOL`,
    /// `KAFKA_SASL_MECHANISM`, `KAFKA_SASL_USERNAME`, `KAFKA_SASL_PASSWORD`,
    /// `KAFKA_SSL_CA_LOCATION`, `KAFKA_SSL_CERTIFICATE_LOCATION`, `KAFKA_SSL_KEY_LOCATION` and
    /// `KAFKA_SSL_KEY_PASSWORD` are stronger than the file. With the mechanism `OAUTHBEARER` the
    /// property `sasl.oauthbearer.token.endpoint.url` is a `file://` URL, whose token is read anew
    /// before it runs out; with `AWS_MSK_IAM` (feature `msk`) tokens are signed with what the AWS
    /// environment gives.
    ///
    /// # Errors
    /// For a URL or a property that can't be understood, or that might hold a secret in the wrong
    /// place.
    pub fn open(url: &str) -> Result<Self> {
        Self::with(url, settings::environment()?)
    }

    /// The same with properties as given, and none from the environment.
    ///
    /// # Errors
    /// As [`Kafka::open`].
    pub fn with(url: &str, properties: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        Ok(Kafka { settings: Arc::new(Settings::new(url, properties.into_iter().collect())?) })
    }

    /// All its topics below the prefix, to append to.
    ///
    /// # Errors
    /// For a property that can't be understood.
    pub fn appender(&self) -> Result<KafkaAppender> {
        KafkaAppender::new(self)
    }

    /// One topic of it, to read or to write.
    ///
    /// # Errors
    /// For a name that no topic can have.
    pub fn topic(&self, topic: &str) -> Result<KafkaTopic> {
        let topic = format!("{}{topic}", self.settings.prefix);
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if topic.is_empty()
            || topic.len() > 249
            || [".", ".."].contains(&&*topic)
            || !topic.chars().all(legal)
        {
            return Err(Error::config(format!(
                "can't find topic {topic:?} in {}: it is no name of a topic",
                self.settings.brokers
            ))
            .hint(
                "Name a topic with letters, digits, points, dashes and underscores, 249 at most.",
            ));
        }
        Ok(KafkaTopic {
            settings: self.settings.clone(),
            topic,
            scout: Arc::default(),
            trails: Arc::default(),
            watched: None,
        })
    }
}

/// A topic of a [`Kafka`]: a [`Source`](crate::connect::Source) and a
/// [`Sink`](crate::connect::Sink).
#[derive(Clone)]
pub struct KafkaTopic {
    settings: Arc<Settings>,
    topic: String,
    scout: Arc<Mutex<Option<Scout>>>,
    trails: Arc<Trails>,
    watched: Option<Watch>,
}

impl KafkaTopic {
    /// Says after each commit how far this topic is read, as the offsets of consumer group `group`,
    /// so that tools show its lag. Nothing is ever read from there.
    #[must_use]
    pub fn watched_as(self, group: &str) -> Self {
        KafkaTopic { watched: Some(Watch::new(group)), ..self }
    }

    fn name(&self) -> String {
        format!("kafka topic {} at {}", self.topic, self.settings.brokers)
    }
}
