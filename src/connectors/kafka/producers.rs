//! Producers of a gateway: one for each batch size. All records of a request have one shared
//! result.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::connect::append::NewRecord;
use crate::error::{Error, Result};

use super::Kafka;
use super::client::{Context, MAX_IN_FLIGHT};
use super::limit::{self, BatchSize};
use crate::sync::lock;

/// The time limit of a record, from its arrival to its confirmation. The brokers elect a new leader
/// in less.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of records of a request that are in flight at a time. Each takes a few hundred bytes.
const IN_FLIGHT_RECORDS: usize = 4096;

/// The result of sending one record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    Confirmed {
        partition: i32,
        offset: i64,
    },
    /// The partition is known if the record was sent.
    Failed {
        code: Code,
        partition: Option<i32>,
    },
    /// The batch was refused, and a later record of the same partition was accepted.
    Overtaken,
    /// The client ended and reported no result.
    ClientEnded,
}

/// Returns the code of an error of sending. Only an invalid topic name has an error without one.
fn code(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::InvalidTopic)
}

/// A client context that deliveries the delivery of each record to its [`Ticket`].
pub(super) struct TicketContext(pub(super) Context);

impl ClientContext for TicketContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        ClientContext::error(&self.0, error, reason);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        self.0.generate_oauth_token(config)
    }
}

impl ProducerContext for TicketContext {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        ticket.complete(match delivered {
            Ok(message) => {
                Delivery::Confirmed { partition: message.partition(), offset: message.offset() }
            }
            Err((error, message)) => {
                Delivery::Failed { code: code(error), partition: Some(message.partition()) }
            }
        });
    }
}

/// Records that are sent together. Only the last delivery wakes the sender: one wake-up per record
/// would cost quadratic time.
struct InFlight {
    deliveries: Mutex<Vec<Delivery>>,
    remaining: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

/// The slot of one record's result. The record is complete once its ticket is dropped.
pub(super) struct Ticket {
    in_flight: Arc<InFlight>,
    index: usize,
}

impl Ticket {
    fn complete(&self, delivery: Delivery) {
        lock(&self.in_flight.deliveries)[self.index] = delivery;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.in_flight.remaining.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = lock(&self.in_flight.done).take()
        {
            // The client has disconnected; the records are kept.
            let _ = done.send(());
        }
    }
}

pub(super) type AppendProducer = ThreadedProducer<TicketContext>;

/// The producers of a gateway.
pub(super) struct Producers {
    kafka: Kafka,
    name: String,
    by_size: Mutex<BTreeMap<BatchSize, Arc<AppendProducer>>>,
    /// The batch size of each topic.
    batch_sizes: Mutex<BTreeMap<String, BatchSize>>,
    /// Lets one task at a time request a limit.
    requesting: tokio::sync::Mutex<()>,
    runtime: Handle,
}

impl Producers {
    pub(super) fn new(kafka: &Kafka, name: &str, runtime: &Handle) -> Result<Self> {
        let producers = Producers {
            kafka: kafka.clone(),
            name: name.to_string(),
            by_size: Mutex::default(),
            batch_sizes: Mutex::default(),
            requesting: tokio::sync::Mutex::new(()),
            runtime: runtime.clone(),
        };
        producers.producer(BatchSize::default())?;
        Ok(producers)
    }

    /// Returns all producers, the one with the largest batches first.
    pub(super) fn all(&self) -> Vec<Arc<AppendProducer>> {
        lock(&self.by_size).values().cloned().collect()
    }

    /// Returns the producer with this batch size.
    fn producer(&self, size: BatchSize) -> Result<Arc<AppendProducer>> {
        let mut producers = lock(&self.by_size);
        if let Some(producer) = producers.get(&size) {
            return Ok(producer.clone());
        }
        let (timeout, bytes) = (SEND_TIMEOUT.as_millis().to_string(), size.bytes().to_string());
        let producer: AppendProducer = self.kafka.settings.client_in(
            &self.name,
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("max.in.flight", MAX_IN_FLIGHT),
                ("message.timeout.ms", &timeout),
                ("partitioner", "murmur2_random"),
                ("allow.auto.create.topics", "false"),
                ("batch.size", &bytes),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
            ],
            TicketContext,
        )?;
        let producer = Arc::new(producer);
        producers.insert(size, producer.clone());
        Ok(producer)
    }

    /// Forgets the batch size of a topic.
    pub(super) fn forget(&self, topic: &str) {
        lock(&self.batch_sizes).remove(topic);
    }

    /// Returns the batch size of a topic, smaller than one that was `refused`.
    async fn batch_size(&self, topic: &str, refused: Option<BatchSize>) -> Result<BatchSize> {
        let known = || {
            lock(&self.batch_sizes)
                .get(topic)
                .copied()
                .filter(|size| refused.is_none_or(|refused| *size > refused))
        };
        if let Some(size) = known() {
            return Ok(size);
        }
        let _requesting = self.requesting.lock().await;
        if let Some(size) = known() {
            return Ok(size);
        }
        let (kafka, name, of) = (self.kafka.clone(), self.name.clone(), topic.to_string());
        let request = move || limit::request(&kafka.settings, &name, &of);
        let limit = self.runtime.spawn_blocking(request).await;
        let limit = limit.map_err(|e| {
            Error::internal(format!("can't request the limit of topic {topic}")).because(e)
        })?;
        // If the limit is unknown, begin with the usual size.
        let smaller = refused.and_then(BatchSize::smaller).unwrap_or_default();
        let size = limit.map(BatchSize::within).unwrap_or_default().max(smaller);
        tracing::debug!(
            log = self.name,
            topic,
            limit,
            ?refused,
            ?size,
            "the batch size of the topic"
        );
        lock(&self.batch_sizes).insert(topic.to_string(), size);
        Ok(size)
    }

    /// Sends records, and returns the result of each. The records of a batch that is refused as too
    /// large are sent again in smaller batches.
    pub(super) async fn send(&self, topic: &str, records: &[NewRecord]) -> Result<Vec<Delivery>> {
        let mut due: Vec<usize> = (0..records.len()).collect();
        let mut size = self.batch_size(topic, None).await?;
        let mut deliveries = self.send_some(size, topic, records, &due).await?;
        while find_refused(&mut deliveries, records, size, &mut due) {
            size = self.batch_size(topic, Some(size)).await?;
            let retried = self.send_some(size, topic, records, &due).await?;
            due.iter().zip(retried).for_each(|(index, delivery)| deliveries[*index] = delivery);
        }
        Ok(deliveries)
    }

    /// Sends those of `records` at the indices `due`, in batches of one size.
    async fn send_some(
        &self,
        size: BatchSize,
        topic: &str,
        records: &[NewRecord],
        due: &[usize],
    ) -> Result<Vec<Delivery>> {
        let producer = self.producer(size)?;
        let mut deliveries = Vec::with_capacity(due.len());
        for chunk in due.chunks(IN_FLIGHT_RECORDS) {
            let (done, wait) = oneshot::channel();
            let in_flight = Arc::new(InFlight {
                deliveries: Mutex::new(vec![Delivery::ClientEnded; chunk.len()]),
                remaining: AtomicUsize::new(chunk.len()),
                done: Mutex::new(Some(done)),
            });
            for (index, record) in
                chunk.iter().filter_map(|number| records.get(*number)).enumerate()
            {
                let ticket = Box::new(Ticket { in_flight: in_flight.clone(), index });
                let mut message = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, ticket);
                message.partition = record.partition.map(|partition| partition as i32);
                (message.key, message.payload) = (record.key.as_deref(), record.value.as_deref());
                if let Err((error, refused)) = producer.send(message) {
                    refused
                        .delivery_opaque
                        .complete(Delivery::Failed { code: code(&error), partition: None });
                }
            }
            // Tickets that the client drops leave `ClientEnded` as the result.
            let _ = wait.await;
            deliveries.append(&mut mem::take(&mut *lock(&in_flight.deliveries)));
        }
        Ok(deliveries)
    }
}

/// Finds records that were refused because their batch was too large, and fills `due` with those
/// that may be sent again. Returns false if none was refused.
fn find_refused(
    deliveries: &mut [Delivery],
    records: &[NewRecord],
    size: BatchSize,
    due: &mut Vec<usize>,
) -> bool {
    let bytes = |record: &NewRecord| {
        [&record.key, &record.value].into_iter().flatten().map(|bytes| bytes.len()).sum::<usize>()
    };
    let (mut stored, mut found) = (BTreeSet::new(), false);
    due.clear();
    for (index, (record, delivery)) in records.iter().zip(deliveries).enumerate().rev() {
        match *delivery {
            Delivery::Confirmed { partition, .. } => drop(stored.insert(partition)),
            // A record larger than a batch was already sent alone.
            Delivery::Failed { code, partition: Some(partition) }
                if limit::too_large(code)
                    && bytes(record) <= size.bytes()
                    && size.smaller().is_some() =>
            {
                found = true;
                // A later record of the partition is stored. Sending this one now would change
                // their order, and only the client may decide that.
                match stored.contains(&partition) {
                    true => *delivery = Delivery::Overtaken,
                    false => due.push(index),
                }
            }
            _ => {}
        }
    }
    due.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::{BatchSize, Code, Delivery, NewRecord, find_refused};

    #[test]
    fn only_records_that_keep_their_order_are_sent_again() {
        let record =
            |bytes: usize| NewRecord { value: Some(vec![0; bytes].into()), ..NewRecord::default() };
        let failed = |partition| Delivery::Failed { code: Code::MessageSizeTooLarge, partition };
        let size = BatchSize::within(20_000);
        let records: Vec<_> = [10, 10, 10, 50_000, 10, 10, 10].map(record).into();
        let mut deliveries = [
            failed(Some(1)),
            Delivery::Confirmed { partition: 1, offset: 5 },
            failed(Some(0)),
            failed(Some(0)),
            failed(Some(1)),
            failed(None),
            Delivery::Confirmed { partition: 2, offset: 7 },
        ];
        let mut due = vec![9];
        assert!(find_refused(&mut deliveries, &records, size, &mut due));
        // The first was overstored; the large one was sent alone; one was never sent.
        assert_eq!(due, [2, 4]);
        assert!(matches!(deliveries[0], Delivery::Overtaken));
        assert!(
            !find_refused(&mut deliveries[5..], &records[5..], size, &mut due) && due.is_empty()
        );
        let alone = std::iter::successors(Some(size), |size| size.smaller()).last().unwrap();
        assert!(
            !find_refused(&mut deliveries, &records, alone, &mut due),
            "nothing is smaller than one record"
        );
    }
}
