//! Sending for a gateway: a producer for each size of batches, and one answer for all records that
//! are sent together.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use super::client::{Context, IN_FLIGHT};
use super::limit::{self, Step};

/// How long the brokers have for a record, from when it came; a leader that was lost is replaced in
/// less.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How many records of a request are on their way at a time: each takes some hundred bytes.
const AT_ONCE: usize = 4096;

/// Where a record is, or why it isn't.
#[derive(Clone, Copy, Debug)]
pub(super) enum Report {
    At(i32, i64),
    /// With the partition that refused it, if it was sent.
    Not(Code, Option<i32>),
    /// Its batch was refused, and a later record of its partition was taken.
    Overtaken,
    /// The client ended without a word on it.
    Lost,
}

/// The code of an error of sending; each has one, but for names that no topic has.
fn code(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::InvalidTopic)
}

/// A context whose records each have somebody who waits for the report.
pub(super) struct Reporting(pub(super) Context);

impl ClientContext for Reporting {
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

impl ProducerContext for Reporting {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        ticket.tell(match delivered {
            Ok(message) => Report::At(message.partition(), message.offset()),
            Err((error, message)) => Report::Not(code(error), Some(message.partition())),
        });
    }
}

/// Records that are sent together. The last wakes the one who waits: a wake for each costs the
/// square of their number.
struct Flight {
    reports: Mutex<Vec<Report>>,
    left: AtomicUsize,
    landed: Mutex<Option<oneshot::Sender<()>>>,
}

/// The place of one record's report. A record counts as reported when its ticket is gone.
pub(super) struct Ticket {
    flight: Arc<Flight>,
    place: usize,
}

impl Ticket {
    fn tell(&self, report: Report) {
        lock(&self.flight.reports)[self.place] = report;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.flight.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(landed) = lock(&self.flight.landed).take()
        {
            // A client that is gone has taken its chance: the records stay.
            let _ = landed.send(());
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) type Sender = ThreadedProducer<Reporting>;

/// The producers of a gateway.
pub(super) struct Senders {
    kafka: Kafka,
    name: String,
    made: Mutex<BTreeMap<Step, Arc<Sender>>>,
    /// How large the batches of each topic are, and who asks for the limit of one.
    steps: Mutex<BTreeMap<String, Step>>,
    asking: tokio::sync::Mutex<()>,
    runtime: Handle,
}

impl Senders {
    pub(super) fn new(kafka: &Kafka, name: &str, runtime: &Handle) -> Result<Self> {
        let senders = Senders {
            kafka: kafka.clone(),
            name: name.to_string(),
            made: Mutex::default(),
            steps: Mutex::default(),
            asking: tokio::sync::Mutex::new(()),
            runtime: runtime.clone(),
        };
        senders.of(Step::default())?;
        Ok(senders)
    }

    /// All that are made, the one of the largest batches first.
    pub(super) fn all(&self) -> Vec<Arc<Sender>> {
        lock(&self.made).values().cloned().collect()
    }

    /// The producer whose batches have this size.
    fn of(&self, step: Step) -> Result<Arc<Sender>> {
        let mut made = lock(&self.made);
        if let Some(sender) = made.get(&step) {
            return Ok(sender.clone());
        }
        let (patience, size) = (SEND_TIMEOUT.as_millis().to_string(), step.bytes().to_string());
        let sender: Sender = self.kafka.settings.client_in(
            &self.name,
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("max.in.flight", IN_FLIGHT),
                ("message.timeout.ms", &patience),
                ("partitioner", "murmur2_random"),
                ("allow.auto.create.topics", "false"),
                ("batch.size", &size),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
            ],
            Reporting,
        )?;
        let sender = Arc::new(sender);
        made.insert(step, sender.clone());
        Ok(sender)
    }

    /// Forgets the limit of a topic.
    pub(super) fn forget(&self, topic: &str) {
        lock(&self.steps).remove(topic);
    }

    /// How large the batches of a topic are; smaller than those of a step that it refused.
    async fn step(&self, topic: &str, refused: Option<Step>) -> Result<Step> {
        let known = || {
            lock(&self.steps)
                .get(topic)
                .copied()
                .filter(|step| refused.is_none_or(|refused| *step > refused))
        };
        if let Some(step) = known() {
            return Ok(step);
        }
        let _asking = self.asking.lock().await;
        if let Some(step) = known() {
            return Ok(step);
        }
        let (kafka, name, of) = (self.kafka.clone(), self.name.clone(), topic.to_string());
        let ask = move || limit::ask(&kafka.settings, &name, &of);
        let limit = self.runtime.spawn_blocking(ask).await;
        let limit = limit.map_err(|e| {
            Error::internal(format!("can't ask for the limit of topic {topic}")).because(e)
        })?;
        // Untold, it is as large as usual until batches are refused.
        let (told, smaller) = (
            limit.map(Step::within).unwrap_or_default(),
            refused.and_then(Step::smaller).unwrap_or_default(),
        );
        let step = told.max(smaller);
        tracing::debug!(log = self.name, topic, limit, ?refused, ?step, "the size of batches");
        lock(&self.steps).insert(topic.to_string(), step);
        Ok(step)
    }

    /// Sends records and says what became of each; those of a batch that is refused as too large go
    /// again in smaller ones.
    pub(super) async fn send(&self, topic: &str, entries: &[NewRecord]) -> Result<Vec<Report>> {
        let mut due: Vec<usize> = (0..entries.len()).collect();
        let mut step = self.step(topic, None).await?;
        let mut reports = self.send_some(step, topic, entries, &due).await?;
        while refused(&mut reports, entries, step, &mut due) {
            step = self.step(topic, Some(step)).await?;
            let news = self.send_some(step, topic, entries, &due).await?;
            due.iter().zip(news).for_each(|(place, report)| reports[*place] = report);
        }
        Ok(reports)
    }

    /// Sends those of `entries` that `which` numbers, in batches of a size.
    async fn send_some(
        &self,
        step: Step,
        topic: &str,
        entries: &[NewRecord],
        which: &[usize],
    ) -> Result<Vec<Report>> {
        let sender = self.of(step)?;
        let mut reports = Vec::with_capacity(which.len());
        for some in which.chunks(AT_ONCE) {
            let (landed, wait) = oneshot::channel();
            let flight = Arc::new(Flight {
                reports: Mutex::new(vec![Report::Lost; some.len()]),
                left: AtomicUsize::new(some.len()),
                landed: Mutex::new(Some(landed)),
            });
            for (place, entry) in some.iter().filter_map(|number| entries.get(*number)).enumerate()
            {
                let ticket = Box::new(Ticket { flight: flight.clone(), place });
                let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, ticket);
                record.partition = entry.partition.map(|partition| partition as i32);
                (record.key, record.payload) = (entry.key.as_deref(), entry.value.as_deref());
                if let Err((error, record)) = sender.send(record) {
                    record.delivery_opaque.tell(Report::Not(code(&error), None));
                }
            }
            // An error would say that the last ticket went without a word; then the reports say it.
            let _ = wait.await;
            reports.append(&mut mem::take(&mut *lock(&flight.reports)));
        }
        Ok(reports)
    }
}

/// Finds records that were refused because of their batch, and in `due` those that may go again;
/// false if there are none.
fn refused(
    reports: &mut [Report],
    entries: &[NewRecord],
    step: Step,
    due: &mut Vec<usize>,
) -> bool {
    let size = |entry: &NewRecord| {
        [&entry.key, &entry.value].into_iter().flatten().map(|bytes| bytes.len()).sum::<usize>()
    };
    let (mut taken, mut found) = (BTreeSet::new(), false);
    due.clear();
    for (place, (entry, report)) in entries.iter().zip(reports).enumerate().rev() {
        match *report {
            Report::At(partition, _) => drop(taken.insert(partition)),
            // One that is larger than a batch had a batch of its own.
            Report::Not(code, Some(partition))
                if limit::too_large(code)
                    && size(entry) <= step.bytes()
                    && step.smaller().is_some() =>
            {
                found = true;
                // A later one of its partition is there, and stays: only the client knows whether
                // this may follow.
                match taken.contains(&partition) {
                    true => *report = Report::Overtaken,
                    false => due.push(place),
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
    use super::{Code, NewRecord, Report, Step, refused};

    #[test]
    fn of_a_refused_batch_only_what_keeps_its_order_goes_again() {
        let entry =
            |bytes: usize| NewRecord { value: Some(vec![0; bytes].into()), ..NewRecord::default() };
        let not = |partition| Report::Not(Code::MessageSizeTooLarge, partition);
        let step = Step::within(20_000);
        let entries: Vec<_> = [10, 10, 10, 50_000, 10, 10, 10].map(entry).into();
        let mut reports = [
            not(Some(1)),
            Report::At(1, 5),
            not(Some(0)),
            not(Some(0)),
            not(Some(1)),
            not(None),
            Report::At(2, 7),
        ];
        let mut due = vec![9];
        assert!(refused(&mut reports, &entries, step, &mut due));
        // The first was overtaken; the large one was alone, and one was never sent.
        assert_eq!(due, [2, 4]);
        assert!(matches!(reports[0], Report::Overtaken));
        assert!(!refused(&mut reports[5..], &entries[5..], step, &mut due) && due.is_empty());
        let alone = std::iter::successors(Some(step), |step| step.smaller()).last().unwrap();
        assert!(
            !refused(&mut reports, &entries, alone, &mut due),
            "nothing is smaller than one record"
        );
    }
}
