//! Appending for a gateway: a record is acknowledged when the brokers have it, and refused in time where they don't say so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use crate::connect::log::{Answer, Entry, Log, Part, Place, Position, Refusal};
use crate::error::{Error, Result};

use super::Kafka;
use super::client::{Context, IN_FLIGHT, telling};

/// How long the brokers have for a record, from when it came; a leader that was lost is replaced in less.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long they have for a question.
const ASKING: Duration = Duration::from_secs(5);
/// How often it is looked for a topic that was made, and the pause between.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// The most partitions of a topic that is made here: who may post may otherwise ask for more than brokers bear.
const PARTITIONS: u32 = 1000;

/// The topics of a cluster, to append to.
///
/// The key decides on the partition as Java's clients have it decide; without one they take turns. A record that gets no answer
/// in time may be there all the same. Topics are made and deleted with the rights of the user; with tokens that is refused.
pub struct KafkaLog {
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// What all requests share.
struct Shared {
    kafka: Kafka,
    name: String,
    producer: ThreadedProducer<Reporting>,
    /// How many partitions each topic has, by its name in the cluster.
    known: Mutex<BTreeMap<String, u32>>,
    /// How many looks at the topics are done, and what came of the last; who holds it looks.
    looking: tokio::sync::Mutex<Result<(), Refusal>>,
    looks: AtomicU64,
    closed: AtomicBool,
    broken: watch::Sender<Option<String>>,
}

/// Where a record is, or why it isn't.
type Delivered = KafkaResult<(i32, i64)>;

/// A context whose records each have somebody who waits for the report.
struct Reporting(Context);

impl ClientContext for Reporting {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        ClientContext::error(&self.0, error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        self.0.generate_oauth_token(config)
    }
}

impl ProducerContext for Reporting {
    type DeliveryOpaque = Box<oneshot::Sender<Delivered>>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let report = match delivered {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        // Whose client is gone has taken its chance: the record stays.
        let _ = waiting.send(report);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KafkaLog {
    pub(super) fn new(kafka: &Kafka) -> Result<Self> {
        let name = format!("kafka {}", kafka.settings.brokers);
        let patience = PATIENCE.as_millis().to_string();
        let producer = kafka.settings.client_in(
            &name,
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("max.in.flight", IN_FLIGHT),
                ("message.timeout.ms", &patience),
                ("partitioner", "murmur2_random"),
                ("allow.auto.create.topics", "false"),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
            ],
            Reporting,
        )?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        let runtime = runtime.map_err(|e| Error::no_thread("a thread for Kafka", e))?;
        let shared = Shared {
            kafka: kafka.clone(),
            name,
            producer,
            known: Mutex::default(),
            looking: tokio::sync::Mutex::new(Ok(())),
            looks: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            broken: watch::channel(None).0,
        };
        Ok(KafkaLog { shared: Arc::new(shared), runtime })
    }

    /// Does it to its end, whether or not somebody waits for it.
    fn work<T: Send + 'static>(&self, work: impl Future<Output = Result<T, Refusal>> + Send + 'static) -> Answer<'static, T> {
        let worked = self.runtime.spawn(work);
        async move { worked.await.unwrap_or_else(|e| Err(Refusal::Failed(e.to_string()))) }.boxed()
    }
}

impl Log for KafkaLog {
    fn describe(&self) -> String {
        let prefix = &self.shared.kafka.settings.prefix;
        if prefix.is_empty() { self.shared.name.clone() } else { format!("{} below {prefix}", self.shared.name) }
    }

    fn topics(&self) -> Answer<'_, Vec<String>> {
        let shared = self.shared.clone();
        self.work(async move {
            shared.clone().look().await?;
            let below = |name: &String| name.strip_prefix(&shared.kafka.settings.prefix).map(str::to_string);
            Ok(lock(&shared.known).keys().filter_map(below).collect())
        })
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<Part>> {
        let (shared, topic) = (self.shared.clone(), self.shared.full(topic));
        self.work(async move {
            shared.clone().look().await?;
            let count = lock(&shared.known).get(&topic).copied();
            count.map(Part::even).ok_or(Refusal::NoTopic)
        })
    }

    fn append<'a>(&'a self, topic: &'a str, entries: Vec<Entry>) -> Answer<'a, Vec<Result<Place, Refusal>>> {
        let (shared, topic) = (self.shared.clone(), self.shared.full(topic));
        async move {
            let known = lock(&shared.known).get(&topic).copied();
            let fits = |count: u32| entries.iter().all(|entry| entry.partition.is_none_or(|partition| partition < count));
            if !known.is_some_and(fits) {
                // It may be there by now.
                let looked = shared.clone();
                self.work(looked.look()).await?;
                let count = lock(&shared.known).get(&topic).copied().ok_or(Refusal::NoTopic)?;
                if !fits(count) {
                    return Err(Refusal::NoPartition);
                }
            }
            let sent: Vec<_> = entries.iter().map(|entry| shared.send(&topic, entry)).collect();
            let reported = sent.into_iter().map(|sent| async {
                let report = sent?.await.map_err(|_| Refusal::Failed("Kafka's client has ended".to_string()))?;
                let (partition, offset) = report.map_err(|error| shared.refusal(&topic, &error))?;
                Ok(Place {
                    partition: partition as u32,
                    position: u64::try_from(offset).map_or(Position::Unknown, Position::Offset),
                })
            });
            Ok(join_all(reported).await)
        }
        .boxed()
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()> {
        let (shared, topic) = (self.shared.clone(), topic.to_string());
        self.work(async move {
            let topic = shared.kafka.topic(&topic).map_err(|error| Refusal::Unfit(error.to_string()))?.topic;
            if !(1..=PARTITIONS).contains(&partitions) {
                return Err(Refusal::Unfit(format!("a topic is made with 1 to {PARTITIONS} partitions")));
            }
            let name = topic.clone();
            shared
                .clone()
                .administer(move |admin, options| {
                    // How many copies there are is the brokers' own to say.
                    let topic = NewTopic::new(&name, partitions as i32, TopicReplication::Fixed(-1));
                    let created = futures::executor::block_on(admin.create_topics([&topic], options))?;
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
                    let deleted = futures::executor::block_on(admin.delete_topics(&[&name], options))?;
                    Ok(deleted.into_iter().find_map(|topic| topic.err().map(|(_, code)| code)))
                })
                .await?;
            lock(&shared.known).remove(&topic);
            Ok(())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        let shared = self.shared.clone();
        shared.closed.store(true, Ordering::Relaxed);
        self.work(async move {
            let flush = move || shared.producer.flush(PATIENCE).map_err(|error| shared.refusal("", &error));
            tokio::task::spawn_blocking(flush).await.map_err(|e| Refusal::Failed(e.to_string()))?
        })
    }

    fn broken(&self) -> BoxFuture<'_, Error> {
        let (mut broken, name) = (self.shared.broken.subscribe(), self.shared.name.clone());
        async move {
            let Ok(why) = broken.wait_for(Option::is_some).await.map(|why| why.clone().unwrap_or_default()) else {
                return futures::future::pending().await;
            };
            Error::connect(format!("can't append to {name} any more: {why}")).hint("What was acknowledged is safe; start again.")
        }
        .boxed()
    }
}

impl Shared {
    /// What the cluster calls a topic.
    fn full(&self, topic: &str) -> String {
        format!("{}{topic}", self.kafka.settings.prefix)
    }

    /// Asks for the topics there are. Who comes while others ask waits, and takes the answer to a question that was asked later.
    async fn look(self: Arc<Self>) -> Result<(), Refusal> {
        let came = self.looks.load(Ordering::Relaxed);
        let mut looking = self.looking.lock().await;
        if self.looks.load(Ordering::Relaxed) > came + 1 {
            return looking.clone();
        }
        let shared = self.clone();
        // All topics: a question for one would make it, where brokers do that.
        let ask = move || shared.producer.client().fetch_metadata(None, ASKING).map_err(|error| shared.refusal("", &error));
        let asked = tokio::task::spawn_blocking(ask).await.map_err(|e| Refusal::Failed(e.to_string())).flatten();
        self.looks.fetch_add(1, Ordering::Relaxed);
        *looking = asked.map(|found| {
            self.producer.client().context().0.forget();
            // Those of the brokers themselves are nobody's to write to.
            let topics = found.topics().iter().filter(|topic| topic.error().is_none() && !topic.name().starts_with("__"));
            let count = |topic: &rdkafka::metadata::MetadataTopic| (topic.name().to_string(), topic.partitions().len() as u32);
            *lock(&self.known) = topics.map(count).filter(|(_, count)| *count > 0).collect();
        });
        looking.clone()
    }

    fn send(&self, topic: &str, entry: &Entry) -> Result<oneshot::Receiver<Delivered>, Refusal> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Refusal::Busy("the log is closed".to_string()));
        }
        let (waiting, report) = oneshot::channel();
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Box::new(waiting));
        record.partition = entry.partition.map(|partition| partition as i32);
        (record.key, record.payload) = (entry.key.as_deref(), entry.value.as_deref());
        self.producer.send(record).map_err(|(error, _)| self.refusal(topic, &error))?;
        Ok(report)
    }

    /// Changes topics.
    async fn administer(
        self: Arc<Self>,
        change: impl FnOnce(&AdminClient<Context>, &AdminOptions) -> KafkaResult<Option<Code>> + Send + 'static,
    ) -> Result<(), Refusal> {
        if self.kafka.settings.tokens.are_used() {
            // The client for it hands its questions for tokens to nobody, and would wait in vain.
            return Err(Refusal::Denied("topics can't be made with tokens, nor deleted: do it otherwise".to_string()));
        }
        let changed = tokio::task::spawn_blocking(move || {
            let client = self.kafka.settings.client::<AdminClient<Context>>(&self.name, &[]);
            let client = client.map_err(|error| Refusal::Failed(error.to_string()))?;
            let options = AdminOptions::new().request_timeout(Some(ASKING)).operation_timeout(Some(ASKING));
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
        let client = self.producer.client();
        if let Some((_, why)) = client.fatal_error() {
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
            Code::UnknownTopic | Code::UnknownTopicOrPartition => {
                lock(&self.known).remove(topic);
                Refusal::NoTopic
            }
            Code::UnknownPartition => Refusal::NoPartition,
            Code::TopicAlreadyExists => Refusal::Exists,
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
                Refusal::Unfit("a record is larger than Kafka takes".to_string())
            }
            Code::InvalidRecord | Code::InvalidTopic | Code::InvalidPartitions | Code::PolicyViolation => Refusal::Unfit(what),
            _ if telling(code) > 2 => Refusal::Denied(what),
            // Nobody answers, because nobody is let in.
            _ if telling(code) < 2 => match client.context().0.hopeless() {
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
