//! Appending for a gateway: a record is acknowledged when the brokers have it, and refused in time
//! where they don't say so.

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
use super::codes::{relevance, unknown_topic};
use super::limit::too_large;
use super::sending::{PATIENCE, Report, Senders, lock};

/// How long the brokers have for a question, and for one after a record has waited in vain.
const ASKING: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(3);
/// How often it is looked for a topic that was made, and the pause between.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// The most partitions of a topic that is made here: who may post may otherwise ask for more than
/// brokers bear.
const PARTITIONS: u32 = 1000;

/// The topics of a cluster, to append to.
///
/// The key decides on the partition as Java's clients have it decide; without one they take turns.
/// A record that gets no answer in time may be there all the same. Topics are made and deleted with
/// the rights of the user; with tokens that is refused.
///
/// Brokers limit batches, not records: the limit of a topic is asked for, and a batch that is
/// refused is sent again in smaller ones. Only a record that is refused alone is too large.
pub struct KafkaAppender {
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// What all requests share.
struct Shared {
    kafka: Kafka,
    name: String,
    senders: Senders,
    /// How many partitions each topic has, by its name in the cluster.
    known: Mutex<BTreeMap<String, u32>>,
    /// How many looks at the topics are done, and what came of the last; who holds it looks.
    looking: tokio::sync::Mutex<Result<(), Refusal>>,
    looks: AtomicU64,
    closed: AtomicBool,
    broken: watch::Sender<Option<String>>,
}

impl KafkaAppender {
    pub(super) fn new(kafka: &Kafka) -> Result<Self> {
        let name = format!("kafka {}", kafka.settings.brokers);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        let runtime = runtime.map_err(|e| Error::no_thread("a thread for Kafka", e))?;
        let senders = Senders::new(kafka, &name, runtime.handle())?;
        let shared = Shared {
            kafka: kafka.clone(),
            name,
            senders,
            known: Mutex::default(),
            looking: tokio::sync::Mutex::new(Ok(())),
            looks: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            broken: watch::channel(None).0,
        };
        Ok(KafkaAppender { shared: Arc::new(shared), runtime })
    }

    /// Does it to its end, whether or not somebody waits for it.
    fn work<T: Send + 'static>(
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
        self.work(async move {
            shared.clone().look().await?;
            let below = |name: &String| {
                name.strip_prefix(&shared.kafka.settings.prefix).map(str::to_string)
            };
            Ok(lock(&shared.known).keys().filter_map(below).collect())
        })
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<PartitionInfo>> {
        let (shared, topic) = (self.shared.clone(), self.shared.full(topic));
        self.work(async move {
            shared.clone().look().await?;
            let count = lock(&shared.known).get(&topic).copied();
            count.map(PartitionInfo::even).ok_or(Refusal::NoTopic)
        })
    }

    fn append<'a>(
        &'a self,
        topic: &'a str,
        entries: Vec<NewRecord>,
    ) -> Answer<'a, Vec<Result<Appended, Refusal>>> {
        async move {
            let (shared, topic) = (&self.shared, self.shared.full(topic));
            if shared.closed.load(Ordering::Relaxed) {
                return Err(Refusal::Busy("the log is closed".to_string()));
            }
            let known = lock(&shared.known).get(&topic).copied();
            let fits = |count: u32| {
                entries
                    .iter()
                    .all(|entry| entry.partition.is_none_or(|partition| partition < count))
            };
            if !known.is_some_and(fits) {
                // It may be there by now.
                self.work(shared.clone().look()).await?;
                let count = lock(&shared.known).get(&topic).copied().ok_or(Refusal::NoTopic)?;
                if !fits(count) {
                    return Err(Refusal::NoPartition);
                }
            }
            let failed = |error: Error| Refusal::Failed(error.to_string());
            let reports = shared.senders.send(&topic, &entries).await.map_err(failed)?;
            let doubtful = |code: Code| unknown_topic(code) || code == Code::MessageTimedOut;
            let doubt = reports
                .iter()
                .any(|report| matches!(report, Report::Not(code, _) if doubtful(*code)));
            // A request that has waited for long does not wait as long again.
            let (looking, name) = (shared.clone(), topic.clone());
            let gone =
                async move { Ok(timeout(AFTER, looking.is_lost(name)).await.unwrap_or(false)) };
            let gone = doubt && self.work(gone).await?;
            let place = |report: Report| match report {
                Report::At(partition, offset) => Ok(Appended {
                    partition: partition as u32,
                    position: u64::try_from(offset).map_or(Position::Unknown, Position::Offset),
                }),
                Report::Not(code, _) if gone && doubtful(code) => Err(Refusal::NoTopic),
                Report::Not(code, _) => {
                    Err(shared.refusal(&topic, &KafkaError::MessageProduction(code)))
                }
                Report::Overtaken => {
                    Err(Refusal::Busy("the topic takes smaller batches than it did".to_string()))
                }
                Report::Lost => Err(Refusal::Failed("Kafka's client has ended".to_string())),
            };
            Ok(reports.into_iter().map(place).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()> {
        let (shared, topic) = (self.shared.clone(), topic.to_string());
        self.work(async move {
            let topic = shared
                .kafka
                .topic(&topic)
                .map_err(|error| Refusal::Invalid(error.to_string()))?
                .topic;
            if !(1..=PARTITIONS).contains(&partitions) {
                return Err(Refusal::Invalid(format!(
                    "a topic is made with 1 to {PARTITIONS} partitions"
                )));
            }
            let name = topic.clone();
            shared
                .clone()
                .administer(move |admin, options| {
                    // How many copies there are is the brokers' own to say.
                    let topic =
                        NewTopic::new(&name, partitions as i32, TopicReplication::Fixed(-1));
                    let created =
                        futures::executor::block_on(admin.create_topics([&topic], options))?;
                    Ok(created.into_iter().find_map(|topic| topic.err().map(|(_, code)| code)))
                })
                .await?;
            // The brokers answer before all of them know of it.
            for _ in 0..LOOKS {
                shared.clone().look().await?;
                if lock(&shared.known).contains_key(&topic) {
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(Refusal::Busy("the topic is being made".to_string()))
        })
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        let (shared, topic) = (self.shared.clone(), self.shared.full(topic));
        self.work(async move {
            shared.clone().look().await?;
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
        self.work(async move {
            let flush = move || {
                let flushed =
                    shared.senders.all().into_iter().try_for_each(|sender| sender.flush(PATIENCE));
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
                .hint("What was acknowledged is safe; start again.")
        }
        .boxed()
    }
}

impl Shared {
    /// What the cluster calls a topic.
    fn full(&self, topic: &str) -> String {
        format!("{}{topic}", self.kafka.settings.prefix)
    }

    /// Asks for the topics there are. Who comes while others ask waits, and takes the answer to a
    /// question that was asked later.
    async fn look(self: Arc<Self>) -> Result<(), Refusal> {
        let came = self.looks.load(Ordering::Relaxed);
        let mut looking = self.looking.lock().await;
        if self.looks.load(Ordering::Relaxed) > came + 1 {
            return looking.clone();
        }
        let shared = self.clone();
        // All topics: a question for one would make it, where brokers do that. Each producer asks,
        // for each has its own partitions.
        let ask = move || {
            let asked = shared.senders.all().into_iter().map(|sender| {
                let found = sender.client().fetch_metadata(None, ASKING)?;
                sender.client().context().0.forget();
                Ok(found)
            });
            let asked: KafkaResult<Vec<_>> = asked.collect();
            let first = asked
                .map(|found| found.into_iter().next())
                .map_err(|error| shared.refusal("", &error))?;
            first.ok_or_else(|| Refusal::Failed("there is no client of Kafka".to_string()))
        };
        let asked = tokio::task::spawn_blocking(ask)
            .await
            .map_err(|e| Refusal::Failed(e.to_string()))
            .flatten();
        self.looks.fetch_add(1, Ordering::Relaxed);
        *looking = asked.map(|found| {
            // Those of the brokers themselves are nobody's to write to.
            let topics = found
                .topics()
                .iter()
                .filter(|topic| topic.error().is_none() && !topic.name().starts_with("__"));
            let count = |topic: &rdkafka::metadata::MetadataTopic| {
                (topic.name().to_string(), topic.partitions().len() as u32)
            };
            *lock(&self.known) = topics.map(count).filter(|(_, count)| *count > 0).collect();
        });
        looking.clone()
    }

    /// Returns true if a topic is gone. Once may be too early for brokers that have just come back.
    async fn is_lost(self: Arc<Self>, topic: String) -> bool {
        let there = |shared: &Shared| lock(&shared.known).contains_key(&topic);
        for pause in [PAUSE, Duration::ZERO] {
            if self.clone().look().await.is_err() || there(&self) {
                return false;
            }
            tokio::time::sleep(pause).await;
        }
        self.forget(&topic);
        true
    }

    fn forget(&self, topic: &str) {
        lock(&self.known).remove(topic);
        self.senders.forget(topic);
    }

    /// Changes topics.
    async fn administer(
        self: Arc<Self>,
        change: impl FnOnce(&AdminClient<Context>, &AdminOptions) -> KafkaResult<Option<Code>>
        + Send
        + 'static,
    ) -> Result<(), Refusal> {
        if self.kafka.settings.tokens.are_used() {
            // The client for it hands its questions for tokens to nobody, and would wait in vain.
            return Err(Refusal::Denied(
                "topics can't be made with tokens, nor deleted: do it otherwise".to_string(),
            ));
        }
        let changed = tokio::task::spawn_blocking(move || {
            let client = self.kafka.settings.client::<AdminClient<Context>>(&self.name, &[]);
            let client = client.map_err(|error| Refusal::Failed(error.to_string()))?;
            let options =
                AdminOptions::new().request_timeout(Some(ASKING)).operation_timeout(Some(ASKING));
            match change(&client, &options) {
                Ok(None) => Ok(()),
                Ok(Some(code)) => Err(self.refusal("", &KafkaError::AdminOp(code))),
                Err(error) => Err(self.refusal("", &error)),
            }
        });
        changed.await.map_err(|e| Refusal::Failed(e.to_string())).flatten()
    }

    /// What an error means for who sent a record to `topic`.
    fn refusal(&self, topic: &str, error: &KafkaError) -> Refusal {
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
        let what = code.to_string();
        match code {
            code if unknown_topic(code) && matches!(error, KafkaError::AdminOp(_)) => {
                Refusal::NoTopic
            }
            // It is there: brokers and clients don't know it all at the same time.
            code if unknown_topic(code) => Refusal::Busy("the topic is being made".to_string()),
            Code::TopicAlreadyExists => Refusal::Exists,
            code if too_large(code) => {
                Refusal::Invalid("a record is larger than Kafka takes".to_string())
            }
            Code::InvalidRecord
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::PolicyViolation => Refusal::Invalid(what),
            _ if relevance(code) > 2 => Refusal::Denied(what),
            // Nobody answers, because nobody is let in.
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
            | Code::ThrottlingQuotaExceeded => Refusal::Busy(what),
            _ => Refusal::Failed(what),
        }
    }
}
