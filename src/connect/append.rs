//! The contract of a log that takes records one request at a time, in numbered partitions.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::Error;

/// Topics that records are appended to. An acknowledged record is durable.
///
/// Many requests call these methods at once. A call is dropped when its client disconnects; work
/// that it began may still be completed.
///
/// ```
/// use watershed::connect::append::{Append, Appended, NewRecord, Position};
/// use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
/// # let folder = tempfile::tempdir().unwrap();
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
///
/// let log = ArchiveAppender::open(folder.path(), AppendOptions::default())?;
/// # runtime.block_on(async {
/// log.create("pin", 1).await.unwrap();
/// let record = NewRecord { value: Some("{}".into()), ..NewRecord::default() };
/// let appended = log.append("pin", vec![record]).await.unwrap();
/// assert_eq!(appended, [Ok(Appended { partition: 0, position: Position::Offset(0) })]);
/// log.close().await.unwrap();
/// # });
/// # Ok::<(), watershed::Error>(())
/// ```
pub trait Append: Send + Sync {
    /// Names the destination for people; it holds no secret.
    fn describe(&self) -> String;

    /// Returns the names of the topics, ascending.
    fn topics(&self) -> Answer<'_, Vec<String>>;

    /// Returns the partitions of `topic` that take records, ascending.
    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<PartitionInfo>>;

    /// Appends `records` to `topic`. Returns a result for each of them, in their order.
    fn append<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<NewRecord>,
    ) -> Answer<'a, Vec<Result<Appended, Refusal>>>;

    /// Creates a topic of `partitions` partitions, at least one.
    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()>;

    /// Deletes a topic.
    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()>;

    /// Refuses new records from now on, and makes all acknowledged ones visible to readers.
    fn close(&self) -> Answer<'_, ()>;

    /// Waits for the error after which nothing can be appended any more.
    fn broken(&self) -> BoxFuture<'_, Error> {
        Box::pin(futures::future::pending())
    }

    /// Returns the number of bytes that are acknowledged and not yet visible to readers.
    fn unseen(&self) -> u64 {
        0
    }
}

/// The future result of a call of [`Append`].
///
/// ```
/// use watershed::connect::append::{Answer, Refusal};
///
/// fn delete(topic: &str) -> Answer<'_, ()> {
///     Box::pin(async move { Err(Refusal::Denied(format!("{topic} is read only"))) })
/// }
/// let answer = futures::executor::block_on(delete("pin"));
/// assert_eq!(answer, Err(Refusal::Denied("pin is read only".into())));
/// ```
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Refusal>>;

/// A partition of a topic that takes records.
///
/// ```
/// use watershed::connect::append::PartitionInfo;
///
/// let [first, second] = PartitionInfo::even(2)[..] else { panic!("two partitions") };
/// assert_eq!((first.hashes.0, second.hashes.1), (0, u128::MAX));
/// assert_eq!(first.hashes.1 + 1, second.hashes.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub number: u32,
    /// The first and the last hash of the keys whose records it takes.
    pub hashes: (u128, u128),
}

impl PartitionInfo {
    /// Returns `count` partitions, numbered from 0, that share the hashes evenly.
    pub fn even(count: u32) -> Vec<PartitionInfo> {
        let width = u128::MAX / u128::from(count.max(1));
        let last = |number| {
            if number + 1 == count { u128::MAX } else { width * u128::from(number + 1) - 1 }
        };
        let hashes = |number| (width * u128::from(number), last(number));
        (0..count).map(|number| PartitionInfo { number, hashes: hashes(number) }).collect()
    }
}

/// A record to append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Its partition. Without one the key decides it, and without a key the log.
    pub partition: Option<u32>,
    /// Its key. Records of one key go to one partition.
    pub key: Option<Bytes>,
    /// Its value. A line feed between the tokens of JSON has already been replaced by a space.
    pub value: Option<Bytes>,
}

/// The partition and the position of an appended record. [`Append`] has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Number of its partition.
    pub partition: u32,
    /// Its position in the partition.
    pub position: Position,
}

/// The position of a record in its partition, as the log numbers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// An offset: the number of records before it in the partition.
    Offset(u64),
    /// A sequence number of Kinesis, in digits.
    Sequence(String),
    /// The record is appended, but the log has not returned its position.
    Unknown,
}

/// The reason why a request, or one of its records, is refused.
///
/// ```
/// use watershed::connect::append::Refusal;
///
/// assert_eq!(Refusal::NoTopic.to_string(), "there is no such topic");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The topic does not exist.
    NoTopic,
    /// The topic has no such partition.
    NoPartition,
    /// A topic of this name exists already.
    Exists,
    /// The name of a topic or the value of a record is not valid here.
    Invalid(String),
    /// The log can't do it now; a later attempt may succeed.
    Busy(String),
    /// The log has no space left.
    Full(String),
    /// The log denies access.
    Denied(String),
    /// Any other failure: the request may have taken effect or not.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoTopic => f.write_str("there is no such topic"),
            Refusal::NoPartition => f.write_str("there is no such partition"),
            Refusal::Exists => f.write_str("it is there already"),
            Refusal::Invalid(why)
            | Refusal::Busy(why)
            | Refusal::Full(why)
            | Refusal::Denied(why)
            | Refusal::Failed(why) => f.write_str(why),
        }
    }
}
