//! Appends to Kafka. A record is acknowledged once the brokers have confirmed it, and refused if
//! they don't confirm it in time.

mod refusal;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connect::append::{
    Answer, Append, Appended, NewRecord, PartitionInfo, Position, Refusal,
};
use crate::error::{Error, Result};

use super::Kafka;
use super::client::Context;
use super::codes::is_unknown_code;
use super::producers::{Delivery, Producers, SEND_TIMEOUT};
use crate::sync::{lock, own_runtime};

/// Time that the brokers have for a request about topics.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that the brokers have for such a request after a record has timed out.
const REQUEST_TIMEOUT_AFTER_RECORD: Duration = Duration::from_secs(3);
/// Attempts to find a created topic, and the pause between them.
const FIND_ATTEMPTS: u32 = 50;
const FIND_INTERVAL: Duration = Duration::from_millis(100);
/// Most partitions of a created topic. Without a limit, a client could overload the brokers.
const MAX_PARTITIONS: u32 = 1000;

/// Appends to the topics of a cluster; made by [`Kafka::appender`].
///
/// The key selects the partition as in Java's clients; records without a key go to all partitions
/// in turn. A record that is not confirmed in time may still have been appended. Topics are created
/// and deleted with the rights of the user; with tokens that is refused.
///
/// Brokers limit the size of batches, not of records. The batches of a topic follow its limit; a
/// refused batch is sent again in smaller ones. Only a record that is refused alone is too large.
///
/// ```
/// use watershed::connect::append::Append;
/// use watershed::connectors::kafka::Kafka;
///
/// // Nothing is connected yet, so this needs no broker.
/// let appender = Kafka::with("kafka://127.0.0.1:9092/demo.", [])?.appender()?;
/// assert_eq!(appender.describe(), "kafka 127.0.0.1:9092 below demo.");
/// # Ok::<(), watershed::Error>(())
/// ```
pub struct KafkaAppender {
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// The state that all requests share.
struct Shared {
    kafka: Kafka,
    name: String,
    producers: Producers,
    /// The number of partitions of each topic, by its name in the cluster.
    known: Mutex<BTreeMap<String, u32>>,
    /// The result of the last refresh of `known`; held while another one runs.
    refreshing: tokio::sync::Mutex<Result<(), Refusal>>,
    /// The number of refreshes so far.
    refreshes: AtomicU64,
    closed: AtomicBool,
    broken: watch::Sender<Option<String>>,
}

impl KafkaAppender {
    pub(super) fn new(kafka: &Kafka) -> Result<Self> {
        let name = format!("kafka {}", kafka.settings.brokers);
        let runtime = own_runtime("kafka", 1)?;
        let producers = Producers::new(kafka, &name, runtime.handle())?;
        let shared = Shared {
            kafka: kafka.clone(),
            name,
            producers,
            known: Mutex::default(),
            refreshing: tokio::sync::Mutex::new(Ok(())),
            refreshes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            broken: watch::channel(None).0,
        };
        Ok(KafkaAppender { shared: Arc::new(shared), runtime })
    }

    /// Runs a request to its end, even if its client disconnects.
    fn complete<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Answer<'static, T> {
        let worked = self.runtime.spawn(work);
        async move { worked.await.unwrap_or_else(|e| Err(Refusal::Failed(e.to_string()))) }.boxed()
    }
}

impl Append for KafkaAppender {
    fn describe(&self) -> String {
        let prefix = &self.shared.kafka.settings.prefix;
        if prefix.is_empty() {
            self.shared.name.clone()
        } else {
            format!("{} below {prefix}", self.shared.name)
        }
    }

    fn topics(&self) -> Answer<'_, Vec<String>> {
        let shared = self.shared.clone();
        self.complete(async move {
            shared.clone().refresh().await?;
            let below = |name: &String| {
                name.strip_prefix(&shared.kafka.settings.prefix).map(str::to_string)
            };
            Ok(lock(&shared.known).keys().filter_map(below).collect())
        })
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<PartitionInfo>> {
        let (shared, topic) = (self.shared.clone(), self.shared.full(topic));
        self.complete(async move {
            shared.clone().refresh().await?;
            let count = lock(&shared.known).get(&topic).copied();
            count.map(PartitionInfo::even).ok_or(Refusal::NoTopic)
        })
    }

    fn append<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<NewRecord>,
    ) -> Answer<'a, Vec<Result<Appended, Refusal>>> {
        async move {
            let (shared, topic) = (&self.shared, self.shared.full(topic));
            if shared.closed.load(Ordering::Relaxed) {
                return Err(Refusal::Busy("the log is closed".to_string()));
            }
            let known = lock(&shared.known).get(&topic).copied();
            let fits = |count: u32| {
                records
                    .iter()
                    .all(|record| record.partition.is_none_or(|partition| partition < count))
            };
            if !known.is_some_and(fits) {
                // It may have been created in the meantime.
                self.complete(shared.clone().refresh()).await?;
                let count = lock(&shared.known).get(&topic).copied().ok_or(Refusal::NoTopic)?;
                if !fits(count) {
                    return Err(Refusal::NoPartition);
                }
            }
            let failed = |error: Error| Refusal::Failed(error.to_string());
            let deliveries = shared.producers.send(&topic, &records).await.map_err(failed)?;
            let may_be_gone = |code: Code| is_unknown_code(code) || code == Code::MessageTimedOut;
            let unsure = deliveries.iter().any(
                |delivery| matches!(delivery, Delivery::Failed { code, .. } if may_be_gone(*code)),
            );
            // A request that has timed out once doesn't wait that long again.
            let (refreshing, name) = (shared.clone(), topic.clone());
            let gone = async move {
                Ok(timeout(REQUEST_TIMEOUT_AFTER_RECORD, refreshing.is_gone(name))
                    .await
                    .unwrap_or(false))
            };
            let gone = unsure && self.complete(gone).await?;
            let result = |delivery: Delivery| match delivery {
                Delivery::Confirmed { partition, offset } => Ok(Appended {
                    partition: partition as u32,
                    position: u64::try_from(offset).map_or(Position::Unknown, Position::Offset),
                }),
                Delivery::Failed { code, .. } if gone && may_be_gone(code) => Err(Refusal::NoTopic),
                Delivery::Failed { code, .. } => {
                    Err(shared.refusal(&topic, &KafkaError::MessageProduction(code)))
                }
                Delivery::Overtaken => {
                    Err(Refusal::Busy("the topic accepts smaller batches than before".to_string()))
                }
                Delivery::ClientEnded => {
                    Err(Refusal::Failed("Kafka's client has ended".to_string()))
                }
            };
            Ok(deliveries.into_iter().map(result).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()> {
        let (shared, topic) = (self.shared.clone(), topic.to_string());
        self.complete(async move {
            let topic = shared
                .kafka
                .topic(&topic)
                .map_err(|error| Refusal::Invalid(error.to_string()))?
                .topic;
            if !(1..=MAX_PARTITIONS).contains(&partitions) {
                return Err(Refusal::Invalid(format!(
                    "a topic can have 1 to {MAX_PARTITIONS} partitions"
                )));
            }
            let name = topic.clone();
            shared
                .clone()
                .administer(move |admin, options| {
                    // The brokers decide the number of replicas.
                    let topic =
                        NewTopic::new(&name, partitions as i32, TopicReplication::Fixed(-1));
                    let created =
                        futures::executor::block_on(admin.create_topics([&topic], options))?;
                    Ok(created.into_iter().find_map(|topic| topic.err().map(|(_, code)| code)))
                })
                .await?;
            // The brokers reply before all of them have the new topic.
            for _ in 0..FIND_ATTEMPTS {
                shared.clone().refresh().await?;
                if lock(&shared.known).contains_key(&topic) {
                    return Ok(());
                }
                tokio::time::sleep(FIND_INTERVAL).await;
            }
            Err(Refusal::Busy("the topic is being created".to_string()))
        })
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        let (shared, topic) = (self.shared.clone(), self.shared.full(topic));
        self.complete(async move {
            shared.clone().refresh().await?;
            if !lock(&shared.known).contains_key(&topic) {
                return Err(Refusal::NoTopic);
            }
            let name = topic.clone();
            shared
                .clone()
                .administer(move |admin, options| {
                    let deleted =
                        futures::executor::block_on(admin.delete_topics(&[&name], options))?;
                    Ok(deleted.into_iter().find_map(|topic| topic.err().map(|(_, code)| code)))
                })
                .await?;
            shared.forget(&topic);
            Ok(())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        let shared = self.shared.clone();
        shared.closed.store(true, Ordering::Relaxed);
        self.complete(async move {
            let flush = move || {
                let flushed = shared
                    .producers
                    .all()
                    .into_iter()
                    .try_for_each(|producer| producer.flush(SEND_TIMEOUT));
                flushed.map_err(|error| shared.refusal("", &error))
            };
            tokio::task::spawn_blocking(flush).await.map_err(|e| Refusal::Failed(e.to_string()))?
        })
    }

    fn broken(&self) -> BoxFuture<'_, Error> {
        let (mut broken, name) = (self.shared.broken.subscribe(), self.shared.name.clone());
        async move {
            let Ok(why) =
                broken.wait_for(Option::is_some).await.map(|why| why.clone().unwrap_or_default())
            else {
                return futures::future::pending().await;
            };
            Error::connect(format!("can't append to {name} any more: {why}"))
                .hint("Acknowledged records are stored; start again.")
        }
        .boxed()
    }
}

impl Shared {
    /// Returns the name of a topic in the cluster.
    fn full(&self, topic: &str) -> String {
        format!("{}{topic}", self.kafka.settings.prefix)
    }

    /// Refreshes the known topics. A call that arrives during a refresh waits for it, and returns
    /// the result of the next one, which began after the call.
    async fn refresh(self: Arc<Self>) -> Result<(), Refusal> {
        let before = self.refreshes.load(Ordering::Relaxed);
        let mut refreshing = self.refreshing.lock().await;
        if self.refreshes.load(Ordering::Relaxed) > before + 1 {
            return refreshing.clone();
        }
        let shared = self.clone();
        // Request all topics: a request for one may create it. Each producer sends the request,
        // because each has partitions of its own.
        let request = move || {
            let found = shared.producers.all().into_iter().map(|producer| {
                let found = producer.client().fetch_metadata(None, REQUEST_TIMEOUT)?;
                producer.client().context().0.clear();
                Ok(found)
            });
            let found: KafkaResult<Vec<_>> = found.collect();
            let first = found
                .map(|found| found.into_iter().next())
                .map_err(|error| shared.refusal("", &error))?;
            first.ok_or_else(|| Refusal::Failed("there is no producer".to_string()))
        };
        let requested = tokio::task::spawn_blocking(request)
            .await
            .map_err(|e| Refusal::Failed(e.to_string()))
            .flatten();
        self.refreshes.fetch_add(1, Ordering::Relaxed);
        *refreshing = requested.map(|found| {
            // Internal topics of the brokers take no records.
            let topics = found
                .topics()
                .iter()
                .filter(|topic| topic.error().is_none() && !topic.name().starts_with("__"));
            let count = |topic: &rdkafka::metadata::MetadataTopic| {
                (topic.name().to_string(), topic.partitions().len() as u32)
            };
            *lock(&self.known) = topics.map(count).filter(|(_, count)| *count > 0).collect();
        });
        refreshing.clone()
    }

    /// Returns true if a topic is gone. Two refreshes are made, because a broker that has just
    /// restarted may not have all topics yet.
    async fn is_gone(self: Arc<Self>, topic: String) -> bool {
        let there = |shared: &Shared| lock(&shared.known).contains_key(&topic);
        for pause in [FIND_INTERVAL, Duration::ZERO] {
            if self.clone().refresh().await.is_err() || there(&self) {
                return false;
            }
            tokio::time::sleep(pause).await;
        }
        self.forget(&topic);
        true
    }

    fn forget(&self, topic: &str) {
        lock(&self.known).remove(topic);
        self.producers.forget(topic);
    }

    /// Creates or deletes topics.
    async fn administer(
        self: Arc<Self>,
        change: impl FnOnce(&AdminClient<Context>, &AdminOptions) -> KafkaResult<Option<Code>>
        + Send
        + 'static,
    ) -> Result<(), Refusal> {
        if self.kafka.settings.tokens.are_used() {
            // The admin client never serves its token requests, so it would wait for ever.
            return Err(Refusal::Denied(
                "topics can't be created or deleted with tokens: use another tool".to_string(),
            ));
        }
        let changed = tokio::task::spawn_blocking(move || {
            let client = self.kafka.settings.client::<AdminClient<Context>>(&self.name, &[]);
            let client = client.map_err(|error| Refusal::Failed(error.to_string()))?;
            let options = AdminOptions::new()
                .request_timeout(Some(REQUEST_TIMEOUT))
                .operation_timeout(Some(REQUEST_TIMEOUT));
            match change(&client, &options) {
                Ok(None) => Ok(()),
                Ok(Some(code)) => Err(self.refusal("", &KafkaError::AdminOp(code))),
                Err(error) => Err(self.refusal("", &error)),
            }
        });
        changed.await.map_err(|e| Refusal::Failed(e.to_string())).flatten()
    }
}
