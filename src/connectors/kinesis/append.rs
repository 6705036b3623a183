//! Appends to Kinesis. A record is acknowledged once Kinesis has returned its sequence number.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use futures::{FutureExt, TryFutureExt};
use tokio::time::timeout;

use crate::connect::append::{
    Answer, Append, Appended, NewRecord, PartitionInfo, Position, Refusal,
};

use super::api::{self, CallError, CallErrorKind, Shard};
use super::client::{call_error, list_shards};
use super::fetch::{ATTEMPTS, REQUEST_TIMEOUT, retry};
use super::put::{self, PutMode, RECORD_MAX_BYTES};
use super::{Kinesis, info, streams};

/// The number of attempts of a call. If the service refuses at once, they and their pauses take
/// less than two seconds.
const ATTEMPTS_OF_CALL: u32 = 4;
/// The time limit for the records of a request.
const APPEND_TIMEOUT: Duration = Duration::from_secs(20);
/// The time limit for the creation or deletion of a stream.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Appends to the streams of a region; made by [`Kinesis::appender`].
///
/// The records of a request are sent together, as many as fit into a call. They may be stored in
/// any order, even those of one key: Kinesis guarantees no order within a call, and refused records
/// are sent again in another call.
///
/// A key that is too long or not UTF-8 is hashed; a record without a key gets a hash of its value.
/// If a shard has no capacity, the record is retried for a moment, and then refused. A record whose
/// response was lost may be stored nevertheless, and twice when it is sent again.
///
/// ```
/// use watershed::connect::append::Append;
/// use watershed::connectors::kinesis::Kinesis;
///
/// let appender = Kinesis::open("kinesis://eu-west-1")?.appender();
/// assert_eq!(appender.describe(), "kinesis eu-west-1");
/// # Ok::<(), watershed::Error>(())
/// ```
pub struct KinesisAppender {
    kinesis: Kinesis,
    append_timeout: Duration,
    closed: AtomicBool,
}

impl Kinesis {
    /// Returns an appender for all streams of the region, for a gateway. Nothing is called yet.
    ///
    /// ```no_run
    /// use watershed::connect::append::{Append, NewRecord};
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// let appender = Kinesis::open("kinesis://eu-west-1")?.appender();
    /// let record = NewRecord { value: Some("hello".into()), ..NewRecord::default() };
    /// let appended = futures::executor::block_on(appender.append("events", vec![record]));
    /// # Ok::<(), watershed::Error>(())
    /// ```
    pub fn appender(&self) -> KinesisAppender {
        KinesisAppender {
            kinesis: self.clone(),
            append_timeout: APPEND_TIMEOUT,
            closed: AtomicBool::new(false),
        }
    }
}

impl KinesisAppender {
    /// Sets the time limit for the records of a request.
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
        || Refusal::Busy(format!("Kinesis sent no answer within {} seconds", limit.as_secs()));
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
                REQUEST_TIMEOUT,
                retry("list streams", Some(ATTEMPTS_OF_CALL), || streams::stream_names(client))
                    .map_err(refusal),
            )
            .await
        })
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<PartitionInfo>> {
        let topic = topic.to_string();
        self.complete(|kinesis| async move { open_shards(&kinesis, &topic).await })
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
            let shards = match records.iter().any(|record| record.partition.is_some()) {
                true => open_shards(&kinesis, &topic).await?,
                false => Vec::new(),
            };
            let entries = records
                .into_iter()
                .map(|record| put_entry(record, &shards))
                .collect::<Result<Vec<_>, _>>()?;
            let action = format!("append to stream {topic}");
            // Outside of the future, so that the records that were put are acknowledged when the
            // others time out.
            let mut written = vec![None; entries.len()];
            let put = put::put(
                &*kinesis.service.api,
                &action,
                &topic,
                entries,
                PutMode::Unordered(ATTEMPTS_OF_CALL),
                &mut written,
            );
            let why = within(append_timeout, put.map_err(refusal)).await.err();
            let lost = || Refusal::Failed("Kinesis returned no result".to_string());
            let result = |written: Option<api::Written>| {
                let written = written.ok_or_else(|| why.clone().unwrap_or_else(lost))?;
                let partition = Shard::number(&written.shard)
                    .map_err(|error| Refusal::Failed(error.to_string()))?;
                Ok(Appended { partition, position: Position::Sequence(written.sequence) })
            };
            Ok(written.into_iter().map(result).collect())
        })
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()> {
        let topic = topic.to_string();
        self.complete(move |kinesis| async move {
            let client = client(&kinesis)?;
            let call = client
                .create_stream()
                .stream_name(&topic)
                .shard_count(streams::shard_count(partitions))
                .send();
            let exists = |error: CallError| {
                if error.kind == CallErrorKind::InUse { Refusal::Exists } else { refusal(error) }
            };
            within(REQUEST_TIMEOUT, call.map_err(|error| exists(call_error(error)))).await?;
            within(CHANGE_TIMEOUT, streams::until_active(client, &topic).map_err(refusal)).await
        })
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        let topic = topic.to_string();
        self.complete(|kinesis| async move {
            let client = client(&kinesis)?;
            let call =
                client.delete_stream().stream_name(&topic).enforce_consumer_deletion(true).send();
            within(REQUEST_TIMEOUT, call.map_err(|error| refusal(call_error(error)))).await?;
            within(CHANGE_TIMEOUT, streams::until_deleted(client, &topic).map_err(refusal)).await
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

/// Returns the open shards of a stream.
async fn open_shards(kinesis: &Kinesis, stream: &str) -> Result<Vec<PartitionInfo>, Refusal> {
    let client = client(kinesis)?;
    let list = retry("list shards", Some(ATTEMPTS), || list_shards(client, stream));
    let shards = within(REQUEST_TIMEOUT, list.map_err(refusal)).await?;
    let infos = shards.iter().map(info::shard_info).collect::<Result<Vec<_>, _>>();
    let infos = infos.map_err(|error| Refusal::Failed(error.to_string()))?;
    let open = infos.into_iter().filter(|info| !info.closed);
    let mut parts: Vec<PartitionInfo> =
        open.map(|info| PartitionInfo { number: info.number, hashes: info.hashes }).collect();
    parts.sort_unstable_by_key(|part| part.number);
    Ok(parts)
}

fn put_entry(record: NewRecord, shards: &[PartitionInfo]) -> Result<api::Entry, Refusal> {
    let hash =
        |partition| shards.iter().find(|part| part.number == partition).map(|part| part.hashes.0);
    let hash = record
        .partition
        .map(|partition| hash(partition).ok_or(Refusal::NoPartition))
        .transpose()?;
    let data = record
        .value
        .ok_or_else(|| Refusal::Invalid("a record of Kinesis needs a value".to_string()))?;
    let key = match record.key {
        Some(key) => String::from_utf8(key.into())
            .map_or_else(|e| put::hashed_key(e.as_bytes()), put::valid_key),
        None => put::hashed_key(&data),
    };
    if key.len() + data.len() > RECORD_MAX_BYTES {
        return Err(Refusal::Invalid("a record of Kinesis has at most a megabyte".to_string()));
    }
    Ok(api::Entry { key, hash, data })
}

/// Returns the refusal of a request whose call failed.
fn refusal(error: CallError) -> Refusal {
    tracing::debug!(cause = %error.cause, "refused");
    match error.kind {
        CallErrorKind::Missing => Refusal::NoTopic,
        CallErrorKind::Denied => {
            Refusal::Denied("Kinesis refuses access to this gateway".to_string())
        }
        CallErrorKind::Invalid => Refusal::Invalid(error.cause.to_string()),
        CallErrorKind::InUse => Refusal::Busy("the stream is being created or changed".to_string()),
        CallErrorKind::Transient | CallErrorKind::Throttled | CallErrorKind::Expired => {
            Refusal::Busy("Kinesis accepts no more records at the moment".to_string())
        }
    }
}
