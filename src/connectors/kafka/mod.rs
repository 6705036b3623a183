//! Reads and writes the topics of a Kafka cluster.
//!
//! - **A partition** is a partition of the topic. The runtime assigns partitions: readers join no
//!   consumer group.
//! - **A position** is an offset. Only committed records are read. Offsets without a record are
//!   passed over: markers of transactions, aborted records, compacted records.
//! - **A commit** of the sink is one Kafka transaction. It contains the rows, and the number of the
//!   commit as the offset of partition 0 in the group `<application>/<topic>`. So both become
//!   visible together, once. Read such a topic with `isolation.level=read_committed`. A commit ends
//!   when these readers see its rows. An open transaction of another producer hides them: then a
//!   commit ends with a warning after 10 s, and they are visible once that transaction has ended.
//! - **Guaranteed**: every reading returns the same records at the same offsets, or an error. A
//!   range that retention has deleted, and a topic that was recreated, are refused. So a topic must
//!   keep the records that a state was built from.
//!
//! Details of writing:
//!
//! - Before the commit, the rows are in the manifest if they are few, and otherwise in the run's
//!   state.
//! - The transactional id `<application>/<topic>` fences an earlier run.
//! - Brokers delete the offset of the group after `offsets.retention.minutes` without a commit. A
//!   run whose other sinks commit renews the offset every hour. If it is deleted nevertheless, the
//!   sink counts and compares the rows of the topic to find the last commit.
//! - The key of a table's record is the JSON object of the key columns, its value the object of all
//!   columns; a deleted row is a tombstone. Give such a topic `cleanup.policy=compact`. The rows of
//!   a stream have no key. A row has the time of its writing, and no headers.
//!
//! Readers pass on keys, values, timestamps and headers. Each open partition has a connection of
//! its own, with a queue; all queues of a topic together hold about 64 MiB.
//!
//! A gateway appends to all topics of the cluster ([`Kafka::appender`]), with `acks=all` and
//! idempotence. It acknowledges a record once the brokers have confirmed it.
//!
//! Secrets come from the environment or from a file ([`Kafka::open`]), and are never part of a URL,
//! a name or a log.

mod append;
mod client;
mod codes;
mod lag;
mod limit;
#[cfg(feature = "msk")]
mod msk;
mod ownership;
mod producers;
mod recreation;
mod rows;
mod scan;
mod settings;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod token;
mod transactions;

use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};

pub use append::KafkaAppender;
use client::Discovery;
use lag::LagGroup;
use recreation::Fingerprints;
use settings::Settings;

/// A Kafka cluster.
///
/// ```
/// use watershed::connect::Source;
/// use watershed::connectors::kafka::Kafka;
///
/// // Nothing is connected yet, so this needs no broker.
/// let kafka = Kafka::with("kafka://127.0.0.1:9092/demo.", [])?;
/// let pins = kafka.topic("pin")?;
/// assert_eq!(Source::describe(&pins), "kafka topic demo.pin at 127.0.0.1:9092");
/// # Ok::<(), watershed::Error>(())
/// ```
#[derive(Clone)]
pub struct Kafka {
    settings: Arc<Settings>,
}

impl Kafka {
    /// Returns the cluster at `kafka://host:port[,host:port…][/prefix]`. The name of each topic
    /// begins with the prefix. Nothing is connected yet.
    ///
    /// The environment provides the properties of librdkafka. `KAFKA_PROPERTIES` names a file with
    /// lines `name=value`. These variables take precedence over the file:
    /// `KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_MECHANISM`, `KAFKA_SASL_USERNAME`,
    /// `KAFKA_SASL_PASSWORD`, `KAFKA_SSL_CA_LOCATION`, `KAFKA_SSL_CERTIFICATE_LOCATION`,
    /// `KAFKA_SSL_KEY_LOCATION` and `KAFKA_SSL_KEY_PASSWORD`.
    ///
    /// With the mechanism `OAUTHBEARER`, the property `sasl.oauthbearer.token.endpoint.url` is a
    /// `file://` URL. The token in the file is read again before it expires. With `AWS_MSK_IAM`
    /// (feature `msk`), tokens are signed with the credentials of the AWS environment.
    ///
    /// ```no_run
    /// use watershed::connectors::kafka::Kafka;
    ///
    /// // KAFKA_SASL_PASSWORD and the other variables are set by the shell or the container.
    /// let pins = Kafka::open("kafka://b-1:9092,b-2:9092/demo.")?.topic("pin")?;
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// For a URL or a property that is not understood, or that might contain a secret in the wrong
    /// place.
    pub fn open(url: &str) -> Result<Self> {
        Self::with(url, settings::environment()?)
    }

    /// Returns the cluster with the given properties of librdkafka. The environment is ignored.
    ///
    /// ```
    /// use watershed::connectors::kafka::Kafka;
    ///
    /// let properties = [("security.protocol", "ssl"), ("ssl.ca.location", "/etc/ca.pem")];
    /// let properties = properties.map(|(name, value)| (name.to_string(), value.to_string()));
    /// let kafka = Kafka::with("kafka://b-1:9094", properties)?;
    ///
    /// // The connector itself sets the properties that its guarantees depend on.
    /// let refused = [("isolation.level".to_string(), "read_uncommitted".to_string())];
    /// assert!(Kafka::with("kafka://b-1:9094", refused).is_err());
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Kafka::open`].
    pub fn with(url: &str, properties: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        Ok(Kafka { settings: Arc::new(Settings::new(url, properties.into_iter().collect())?) })
    }

    /// Returns an appender for all topics below the prefix, for a gateway. Nothing is
    /// connected yet.
    ///
    /// ```
    /// use watershed::connect::append::Append;
    /// use watershed::connectors::kafka::Kafka;
    ///
    /// let appender = Kafka::with("kafka://127.0.0.1:9092", [])?.appender()?;
    /// assert_eq!(appender.describe(), "kafka 127.0.0.1:9092");
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// For a property that is not understood.
    pub fn appender(&self) -> Result<KafkaAppender> {
        KafkaAppender::new(self)
    }

    /// Returns one topic, to read or to write. The topic must exist when a run starts: the
    /// connector creates none.
    ///
    /// ```
    /// use watershed::connect::Sink;
    /// use watershed::connectors::kafka::Kafka;
    ///
    /// let kafka = Kafka::with("kafka://127.0.0.1:9092", [])?;
    /// assert_eq!(Sink::describe(&kafka.topic("pin")?), "kafka topic pin at 127.0.0.1:9092");
    /// assert!(kafka.topic("no spaces").is_err());
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// For a name that Kafka does not allow.
    pub fn topic(&self, topic: &str) -> Result<KafkaTopic> {
        let topic = format!("{}{topic}", self.settings.prefix);
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if topic.is_empty()
            || topic.len() > 249
            || [".", ".."].contains(&&*topic)
            || !topic.chars().all(legal)
        {
            return Err(Error::config(format!(
                "can't open topic {topic:?} at {}: this is not a valid name",
                self.settings.brokers
            ))
            .hint("Use letters, digits, points, dashes and underscores, at most 249."));
        }
        Ok(KafkaTopic {
            settings: self.settings.clone(),
            topic,
            discovery: Arc::default(),
            fingerprints: Arc::default(),
            lag_group: None,
        })
    }
}

/// A topic of a [`Kafka`] cluster: a [`Source`](crate::connect::Source) and a
/// [`Sink`](crate::connect::Sink). Made by [`Kafka::topic`]; its example needs no broker.
///
/// ```no_run
/// # use watershed::prelude::*;
/// use watershed::connect::Source;
/// use watershed::connectors::kafka::Kafka;
///
/// let pins = Kafka::open("kafka://127.0.0.1:9092")?.topic("pin")?;
/// for partition in pins.partitions()? {
///     println!("partition {partition} has the offsets {:?}", pins.span(partition)?);
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct KafkaTopic {
    settings: Arc<Settings>,
    topic: String,
    discovery: Arc<Mutex<Option<Discovery>>>,
    fingerprints: Arc<Fingerprints>,
    lag_group: Option<LagGroup>,
}

impl KafkaTopic {
    /// Commits offsets to the consumer group `group` after each commit of a run, so that tools show
    /// the lag of this topic. The connector never reads these offsets.
    ///
    /// ```no_run
    /// use watershed::connectors::kafka::Kafka;
    /// use watershed::prelude::*;
    ///
    /// fn topology(builder: &StreamsBuilder<'_>) {
    ///     let pins = builder.stream("pin", Consumed::<String, i64>::with(Utf8, Json));
    ///     pins.group_by_key().count().to("pins", Produced::columns(["id", "count"]));
    /// }
    ///
    /// let kafka = Kafka::open("kafka://127.0.0.1:9092")?;
    /// Streams::new(Topology::new("pins", topology))
    ///     .source("pin", kafka.topic("pin")?.watched_as("pins-lag"))
    ///     .sink("pins", kafka.topic("pins")?)
    ///     .run(Config::default())?;
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn watched_as(self, group: &str) -> Self {
        KafkaTopic { lag_group: Some(LagGroup::new(group)), ..self }
    }

    fn name(&self) -> String {
        format!("kafka topic {} at {}", self.topic, self.settings.brokers)
    }
}
