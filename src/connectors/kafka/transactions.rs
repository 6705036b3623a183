//! The transactions of one run. Each contains all records of a commit and its number, in batches
//! within the limit of the topic.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{Error, Result};

use super::KafkaTopic;
use super::client::{Context, MAX_IN_FLIGHT, REQUEST_TIMEOUT, STEP_TIMEOUT};
use super::limit::{self, BatchSize, too_large};
use super::ownership::LastCommit;
use super::rows::{self, Totals};

/// The number of attempts for one step of a transaction.
const ATTEMPTS: usize = 3;
/// The number of requests for the end of a transaction's partitions, until readers see it. The
/// pause between two of them doubles from 1 ms to [`VISIBLE_MAX_PAUSE`]: 10 s in total, as long
/// as the brokers reply.
const VISIBLE_ATTEMPTS: u32 = 28;
const VISIBLE_MAX_PAUSE: Duration = Duration::from_millis(512);
/// The most bytes that a batch needs for a record in addition to its key and value.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Idle connections close after this many milliseconds.
///
/// librdkafka drops a broker that was away, and then waits for it in mid-commit until any
/// connection changes; its own time limit is ignored (confluentinc/librdkafka#5511, #5456). Closing
/// idle connections provides that change.
const CONNECTIONS_MAX_IDLE_MS: &str = "10000";

/// The right of one run to write to a topic.
pub(super) struct Transactions {
    pub(super) topic: KafkaTopic,
    producer: ThreadedProducer<Context>,
    /// The batch size. It becomes smaller once the topic has refused a batch.
    batch_size: Cell<BatchSize>,
    group: BaseConsumer<Context>,
    /// The number of the last visible commit; `None` if it has to be requested.
    pub(super) visible: Option<u64>,
}

/// The reason why a transaction failed.
enum Failure {
    /// The transaction is aborted: none of it becomes visible.
    Aborted(Error),
    /// The transaction is aborted, because the topic refused a batch as too large.
    TooLarge(Error),
    Fatal(Error),
}

impl Transactions {
    /// Fences the previous run, and takes over its right to write.
    pub(super) fn open(topic: &KafkaTopic, id: &str, group: BaseConsumer<Context>) -> Result<Self> {
        let name = topic.name();
        let producer: ThreadedProducer<Context> = topic.settings.client(
            &name,
            &[
                ("transactional.id", id),
                ("transaction.timeout.ms", "300000"),
                ("message.timeout.ms", "290000"),
                ("partitioner", "murmur2_random"),
                ("linger.ms", "5"),
                ("batch.size", &BatchSize::default().bytes().to_string()),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
                ("connections.max.idle.ms", CONNECTIONS_MAX_IDLE_MS),
                ("max.in.flight", MAX_IN_FLIGHT),
            ],
        )?;
        producer
            .init_transactions(STEP_TIMEOUT)
            .map_err(|e| producer.context().error(&format!("can't start writing to {name}"), &e))?;
        Ok(Transactions {
            topic: topic.clone(),
            producer,
            batch_size: Cell::default(),
            group,
            visible: None,
        })
    }

    /// Requests the last visible commit.
    pub(super) fn last_commit(&mut self) -> Result<Option<LastCommit>> {
        let last = self.topic.last_commit(&self.group)?;
        self.visible = Some(last.map_or(0, |last| last.n));
        Ok(last)
    }

    /// Makes the records of `lines` visible, with the number of the commit and its totals.
    pub(super) fn transact(&self, n: u64, lines: &[u8], totals: Totals) -> Result<()> {
        let mut attempts = ATTEMPTS;
        loop {
            match self.attempt(n, lines, totals) {
                Ok(()) => {
                    self.await_visible(n);
                    return Ok(());
                }
                // Only a record that is refused alone is too large.
                Err(Failure::TooLarge(error)) => {
                    let smaller = self.batch_size.get().smaller().ok_or(error)?;
                    let limit =
                        limit::request(&self.topic.settings, &self.topic.name(), &self.topic.topic);
                    self.batch_size
                        .set(limit.map(BatchSize::within).unwrap_or_default().max(smaller));
                    tracing::warn!(
                        topic = self.topic.name(),
                        n,
                        bytes = self.batch_size.get().bytes(),
                        "batches are too large; try smaller ones"
                    );
                }
                Err(Failure::Aborted(error)) if attempts > 1 => {
                    attempts -= 1;
                    let topic = self.topic.name();
                    tracing::warn!(topic, n, %error, "the transaction was aborted; try again");
                }
                Err(Failure::Aborted(error) | Failure::Fatal(error)) => return Err(error),
            }
        }
    }

    fn attempt(&self, n: u64, lines: &[u8], totals: Totals) -> Result<(), Failure> {
        let topic = &self.topic.topic;
        self.producer.context().take_delivery_error();
        self.producer.context().take_delivered();
        self.producer.begin_transaction().map_err(|e| self.abort(n, &e))?;
        let mut unsent_bytes = 0;
        for record in rows::records(lines) {
            let (key, value) = record.map_err(|e| {
                Failure::Fatal(
                    Error::data(format!(
                        "the staged records of commit {n} of {} are damaged",
                        self.topic.name()
                    ))
                    .because(e),
                )
            })?;
            let bytes = RECORD_OVERHEAD_BYTES
                + key.into_iter().chain(value).map(|text| text.get().len()).sum::<usize>();
            // A new producer with smaller batches is no option, because it would fence a successor.
            // Flush here instead: the records sent so far make one batch.
            let size = self.batch_size.get();
            if size > BatchSize::default()
                && unsent_bytes > 0
                && unsent_bytes + bytes > size.bytes()
            {
                self.flush(n)?;
                unsent_bytes = 0;
            }
            unsent_bytes += bytes;
            let mut record = BaseRecord::<str, str>::to(topic);
            record.key = key.map(|key| key.get());
            record.payload = value.map(|value| value.get());
            while let Err((error, again)) = self.producer.send(record) {
                match error.rdkafka_error_code() {
                    Some(Code::QueueFull) => {}
                    // The record exceeds the client's own limit, which does not depend on the
                    // batch.
                    Some(code) if too_large(code) => {
                        return Err(Failure::Fatal(self.too_large_error(n)));
                    }
                    _ => return Err(self.abort(n, &error)),
                }
                // Deliveries make room in the queue.
                let _ = self.producer.flush(Duration::from_millis(10));
                record = again;
            }
        }
        let mut offsets = TopicPartitionList::new();
        let metadata = serde_json::to_string(&totals).unwrap_or_default();
        let mut offset = offsets.add_partition(topic, 0);
        offset.set_metadata(metadata);
        offset.set_offset(Offset::Offset(n as i64)).map_err(|e| self.abort(n, &e))?;
        let group = self
            .group
            .group_metadata()
            .ok_or_else(|| Failure::Fatal(Error::internal("the client has no group")))?;
        self.retry(n, || {
            self.producer.send_offsets_to_transaction(&offsets, &group, STEP_TIMEOUT)
        })?;
        self.retry(n, || self.producer.commit_transaction(STEP_TIMEOUT))
    }

    /// Blocks until readers see the records of the transaction.
    ///
    /// A broker acknowledges a commit before it writes the markers that show the records. For
    /// readers, a partition ends at the first offset of a transaction without a marker. No event
    /// reports a marker, so the end is requested. The commit is made in any case: if its records
    /// stay hidden, as by an open transaction of another producer, a warning is enough.
    fn await_visible(&self, n: u64) {
        let mut hidden = self.producer.context().take_delivered();
        let mut pause = Duration::from_millis(1);
        let mut failed = None;
        for _ in 0..VISIBLE_ATTEMPTS {
            if hidden.is_empty() {
                return;
            }
            match self.ends(hidden.keys()) {
                Ok(ends) => hidden
                    .retain(|partition, last| ends.get(partition).is_none_or(|end| *end <= *last)),
                Err(error) => failed = Some(error),
            }
            if !hidden.is_empty() {
                // No partition is assigned, so that each event is an error. The context keeps it.
                drop(self.group.poll(pause));
                pause = (pause * 2).min(VISIBLE_MAX_PAUSE);
            }
        }
        let (topic, partitions) = (self.topic.name(), hidden.keys());
        tracing::warn!(
            topic,
            n,
            ?partitions,
            ?failed,
            "the commit is made, but readers do not see it yet: another transaction may be open"
        );
    }

    /// Returns the ends of partitions for readers of committed records.
    fn ends<'a>(
        &self,
        partitions: impl Iterator<Item = &'a i32>,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let mut ends = TopicPartitionList::new();
        for partition in partitions {
            ends.add_partition_offset(&self.topic.topic, *partition, Offset::End)?;
        }
        let ends = self.group.offsets_for_times(ends, REQUEST_TIMEOUT)?;
        let end = |found: &TopicPartitionListElem<'_>| match (found.error(), found.offset()) {
            (Ok(()), Offset::Offset(end)) => Some((found.partition(), end)),
            _ => None,
        };
        Ok(ends.elements().iter().filter_map(end).collect())
    }

    /// Blocks until everything that was sent is delivered.
    fn flush(&self, n: u64) -> Result<(), Failure> {
        let flushed = self.producer.flush(STEP_TIMEOUT);
        let failed = self.producer.context().delivery_error();
        failed.or(flushed.err()).map_or(Ok(()), |error| Err(self.abort(n, &error)))
    }

    fn too_large_error(&self, n: u64) -> Error {
        Error::data(format!(
            "can't make commit {n} of {} visible: a record is larger than the topic accepts",
            self.topic.name()
        ))
        .hint("Raise the topic's max.message.bytes and the property message.max.bytes.")
    }

    /// Runs a step of a transaction, and repeats it after a retriable error such as a timeout: the
    /// outcome is the same.
    fn retry(
        &self,
        n: u64,
        mut step: impl FnMut() -> Result<(), KafkaError>,
    ) -> Result<(), Failure> {
        let mut outcome = step();
        for _ in 1..ATTEMPTS {
            match &outcome {
                Err(KafkaError::Transaction(error)) if error.is_retriable() => outcome = step(),
                _ => break,
            }
        }
        outcome.map_err(|error| self.abort(n, &error))
    }

    /// Aborts the transaction if possible. Returns the failure.
    fn abort(&self, n: u64, error: &KafkaError) -> Failure {
        let name = self.topic.name();
        let attempt = format!("can't make commit {n} of {name} visible");
        // A step finds the transaction in a wrong state if a record is refused meanwhile.
        let in_wrong_state = error.rdkafka_error_code() == Some(Code::State);
        let aborted = match error {
            KafkaError::Transaction(error)
                if error.is_fatal() || !(error.txn_requires_abort() || in_wrong_state) =>
            {
                None
            }
            _ => Some(self.producer.abort_transaction(STEP_TIMEOUT)),
        };
        // The abort has waited for the outcome of every record.
        let delivery = self.producer.context().take_delivery_error();
        let codes = [error, delivery.as_ref().unwrap_or(error)].map(KafkaError::rdkafka_error_code);
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let is = |wanted: &[Code]| {
            codes.iter().chain([&fatal]).flatten().any(|code| wanted.contains(code))
        };
        if is(&[Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch]) {
            return Failure::Fatal(
                Error::superseded(format!("another run has taken over {name}"))
                    .hint("This run stops; its commits remain."),
            );
        }
        let large = codes.iter().flatten().any(|code| too_large(*code));
        let cause = match large {
            true => self.too_large_error(n),
            false => self.producer.context().error(&attempt, delivery.as_ref().unwrap_or(error)),
        };
        match aborted {
            Some(Ok(())) if large => Failure::TooLarge(cause),
            Some(Ok(())) => Failure::Aborted(cause),
            Some(Err(_)) | None => Failure::Fatal(cause),
        }
    }
}
