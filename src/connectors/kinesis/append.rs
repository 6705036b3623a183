//! Appending to Kinesis: a record is acknowledged when Kinesis returns its sequence number.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use futures::{FutureExt, TryFutureExt};
use tokio::time::timeout;

use crate::connect::append::{
    Answer, Append, Appended, NewRecord, PartitionInfo, Position, Refusal,
};

use super::api::{self, Fault, FaultKind, Shard};
use super::client::{fault, listed};
use super::fetch::{ATTEMPTS, SOON, insist};
use super::put::{self, RECORD, Way};
use super::{Kinesis, streams};

/// Attempts of a call. With their pauses they take less than two seconds, if the service refuses at
/// once.
const ATTEMPTS_OF_CALL: u32 = 4;
/// Time that the records of a request may take.
const APPEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Time that the creation or deletion of a stream may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The streams of a region, to append to.
///
/// The records of a request are sent together, as many as fit into a call. They may be stored in any
/// order, even those of one key: Kinesis guarantees no order within a call, and refused records are
/// sent again in another call.
///
/// A key that is too long or not UTF-8 is hashed; without a key the value is. Records that a shard
/// has no room for are tried again for a moment, then refused. A record whose response was lost may
/// be stored all the same, and twice when it is sent again.
pub struct KinesisAppender {
    kinesis: Kinesis,
    append_timeout: Duration,
    closed: AtomicBool,
}

impl Kinesis {
    /// All streams of the region, to append to.
    pub fn appender(&self) -> KinesisAppender {
        KinesisAppender {
            kinesis: self.clone(),
            append_timeout: APPEND_TIMEOUT,
            closed: AtomicBool::new(false),
        }
    }
}

impl KinesisAppender {
    /// Sets the time that the records of a request may take.
    #[cfg(test)]
    pub(super) fn timeout(self, append_timeout: Duration) -> Self {
        KinesisAppender { append_timeout, ..self }
    }

    /// Runs a request to its end, even if its client disconnects.
    fn complete<'a, T, W>(&self, work: impl FnOnce(Kinesis) -> W) -> Answer<'a, T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let worked = self.kinesis.service.runtime.spawn(work(self.kinesis.clone()));
        async move { worked.await.unwrap_or_else(|ended| Err(Refusal::Failed(ended.to_string()))) }
            .boxed()
    }
}

/// Runs `work` within a time limit.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let late =
        || Refusal::Busy(format!("Kinesis gives no answer within {} seconds", limit.as_secs()));
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

impl Append for KinesisAppender {
    fn describe(&self) -> String {
        format!("kinesis {}", self.kinesis.service.region)
    }

    fn topics(&self) -> Answer<'_, Vec<String>> {
        self.complete(|kinesis| async move {
            let client = client(&kinesis)?;
            within(
                SOON,
                insist("list streams", Some(ATTEMPTS_OF_CALL), || streams::names(client))
                    .map_err(refusal),
            )
            .await
        })
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<PartitionInfo>> {
        let topic = topic.to_string();
        self.complete(|kinesis| async move { parts(&kinesis, &topic).await })
    }

    fn append<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<NewRecord>,
    ) -> Answer<'a, Vec<Result<Appended, Refusal>>> {
        if self.closed.load(Ordering::Relaxed) {
            return async { Err(Refusal::Busy("the log is closed".to_string())) }.boxed();
        }
        let (topic, append_timeout) = (topic.to_string(), self.append_timeout);
        self.complete(move |kinesis| async move {
            let parts = match records.iter().any(|record| record.partition.is_some()) {
                true => parts(&kinesis, &topic).await?,
                false => Vec::new(),
            };
            let made = records
                .into_iter()
                .map(|record| made(record, &parts))
                .collect::<Result<Vec<_>, _>>()?;
            let what = format!("append to stream {topic}");
            // Outside of the future, so that written records are acknowledged when the others time
            // out.
            let mut written = vec![None; made.len()];
            let put = put::put(
                &*kinesis.service.api,
                &what,
                &topic,
                made,
                Way::Together(ATTEMPTS_OF_CALL),
                &mut written,
            );
            let why = within(append_timeout, put.map_err(refusal)).await.err();
            let lost = || Refusal::Failed("Kinesis gives no answer".to_string());
            let place = |written: Option<api::Written>| {
                let written = written.ok_or_else(|| why.clone().unwrap_or_else(lost))?;
                let partition = Shard::number(&written.shard)
                    .map_err(|error| Refusal::Failed(error.to_string()))?;
                Ok(Appended { partition, position: Position::Sequence(written.sequence) })
            };
            Ok(written.into_iter().map(place).collect())
        })
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()> {
        let topic = topic.to_string();
        self.complete(move |kinesis| async move {
            let client = client(&kinesis)?;
            let call = client
                .create_stream()
                .stream_name(&topic)
                .shard_count(streams::count(partitions))
                .send();
            let exists = |fault: Fault| {
                if fault.kind == FaultKind::InUse { Refusal::Exists } else { refusal(fault) }
            };
            within(SOON, call.map_err(|error| exists(fault(error)))).await?;
            within(CHANGE_TIMEOUT, streams::settle(client, &topic).map_err(refusal)).await
        })
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        let topic = topic.to_string();
        self.complete(|kinesis| async move {
            let client = client(&kinesis)?;
            let call =
                client.delete_stream().stream_name(&topic).enforce_consumer_deletion(true).send();
            within(SOON, call.map_err(|error| refusal(fault(error)))).await?;
            within(CHANGE_TIMEOUT, streams::vanish(client, &topic).map_err(refusal)).await
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        self.closed.store(true, Ordering::Relaxed);
        async { Ok(()) }.boxed()
    }
}

fn client(kinesis: &Kinesis) -> Result<&Client, Refusal> {
    kinesis.client().map_err(|error| Refusal::Failed(error.to_string()))
}

/// The open shards of a stream.
async fn parts(kinesis: &Kinesis, stream: &str) -> Result<Vec<PartitionInfo>, Refusal> {
    let client = client(kinesis)?;
    let list = insist("list shards", Some(ATTEMPTS), || listed(client, stream));
    let shards = within(SOON, list.map_err(refusal)).await?;
    let infos = shards.iter().map(streams::info).collect::<Result<Vec<_>, _>>();
    let infos = infos.map_err(|error| Refusal::Failed(error.to_string()))?;
    let open = infos.into_iter().filter(|info| !info.closed);
    let mut parts: Vec<PartitionInfo> =
        open.map(|info| PartitionInfo { number: info.number, hashes: info.hashes }).collect();
    parts.sort_unstable_by_key(|part| part.number);
    Ok(parts)
}

fn made(record: NewRecord, parts: &[PartitionInfo]) -> Result<api::Entry, Refusal> {
    let hash =
        |partition| parts.iter().find(|part| part.number == partition).map(|part| part.hashes.0);
    let hash = record
        .partition
        .map(|partition| hash(partition).ok_or(Refusal::NoPartition))
        .transpose()?;
    let data = record
        .value
        .ok_or_else(|| Refusal::Invalid("a record of Kinesis has a value".to_string()))?;
    let key = match record.key {
        Some(key) => {
            String::from_utf8(key.into()).map_or_else(|e| put::hashed(e.as_bytes()), put::key)
        }
        None => put::hashed(&data),
    };
    if key.len() + data.len() > RECORD {
        return Err(Refusal::Invalid("a record of Kinesis has at most a megabyte".to_string()));
    }
    Ok(api::Entry { key, hash, data })
}

/// The refusal that a fault means for a request.
fn refusal(fault: Fault) -> Refusal {
    tracing::debug!(cause = %fault.cause, "refused");
    match fault.kind {
        FaultKind::Missing => Refusal::NoTopic,
        FaultKind::Denied => Refusal::Denied("Kinesis does not let this gateway in".to_string()),
        FaultKind::Invalid => Refusal::Invalid(fault.cause.to_string()),
        FaultKind::InUse => Refusal::Busy("the stream is being made or changed".to_string()),
        FaultKind::Passing | FaultKind::Throttled | FaultKind::Expired => {
            Refusal::Busy("Kinesis takes no more at the moment".to_string())
        }
    }
}
