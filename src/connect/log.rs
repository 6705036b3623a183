//! What stands behind the gateway: named topics of numbered partitions that records are appended
//! to, one request after the other.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::Error;

/// Topics that records are appended to. What it has taken is durable: a gateway acknowledges
/// nothing else.
///
/// Calls come from many requests at once; each is dropped when its client is gone, and what it
/// began may be done all the same.
pub trait Log: Send + Sync {
    /// Where the records go, for people; it holds no secret.
    fn describe(&self) -> String;

    /// The names of the topics there are, ascending.
    fn topics(&self) -> Answer<'_, Vec<String>>;

    /// The partitions of `topic` that take records, by number.
    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<Part>>;

    /// Appends `entries` to `topic` and says where each of them is, in their order.
    fn append<'a>(
        &'a self,
        topic: &'a str,
        entries: Vec<Entry>,
    ) -> Answer<'a, Vec<Result<Place, Refusal>>>;

    /// Creates a topic of some partitions, at least one.
    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()>;

    /// Takes a topic away.
    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()>;

    /// Refuses what comes from now on, and puts what was taken where readers see it.
    fn close(&self) -> Answer<'_, ()>;

    /// Waits for the error after which nothing can be appended any more.
    fn broken(&self) -> BoxFuture<'_, Error> {
        Box::pin(futures::future::pending())
    }

    /// Bytes that were taken and are not yet where readers see them.
    fn unseen(&self) -> u64 {
        0
    }
}

/// What a call of a [`Log`] comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Refusal>>;

/// A partition of a topic that takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: u32,
    /// The hashes of the keys whose records it takes, first and last.
    pub hashes: (u128, u128),
}

impl Part {
    /// `count` partitions, numbered from 0, that take as many hashes each.
    pub fn even(count: u32) -> Vec<Part> {
        let width = u128::MAX / u128::from(count.max(1));
        let last = |number| {
            if number + 1 == count { u128::MAX } else { width * u128::from(number + 1) - 1 }
        };
        (0..count)
            .map(|number| Part { number, hashes: (width * u128::from(number), last(number)) })
            .collect()
    }
}

/// A record to append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The partition that is asked for; else the key decides, and without one the log.
    pub partition: Option<u32>,
    /// Its key. Records of one key go to one partition.
    pub key: Option<Bytes>,
    /// Its value. JSON has no line ends: they are blanks when they come here.
    pub value: Option<Bytes>,
}

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of its partition.
    pub partition: u32,
    /// Where it is in the partition.
    pub position: Position,
}

/// Where a record is in its partition, as the log itself says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Records before it.
    Offset(u64),
    /// A sequence number of Kinesis, in digits.
    Sequence(String),
    /// It is there, and the log has lost sight of where.
    Unknown,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such topic.
    NoTopic,
    /// The topic has no such partition.
    NoPartition,
    /// A topic of that name is there already.
    Exists,
    /// A topic can't have that name, a record that value.
    Unfit(String),
    /// It may go better in a moment.
    Busy(String),
    /// There is no room.
    Full(String),
    /// The log doesn't let this gateway in.
    Denied(String),
    /// Anything else: it may have happened or not.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoTopic => f.write_str("there is no such topic"),
            Refusal::NoPartition => f.write_str("there is no such partition"),
            Refusal::Exists => f.write_str("it is there already"),
            Refusal::Unfit(why)
            | Refusal::Busy(why)
            | Refusal::Full(why)
            | Refusal::Denied(why)
            | Refusal::Failed(why) => f.write_str(why),
        }
    }
}
