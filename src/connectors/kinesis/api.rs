//! The calls of Kinesis that reading and writing need, apart from the SDK: so a test can play a
//! service that no machine runs at will.

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A shard as the service lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) number: u32,
    /// The shards it was made of: one of a split, two of a merge.
    pub(super) parents: Vec<u32>,
    /// Whether it has an end, because others were made of it.
    pub(super) closed: bool,
}

impl Shard {
    /// The name of the shard of a number.
    pub(super) fn name(number: u32) -> String {
        format!("shardId-{number:012}")
    }

    /// The number in a shard's name.
    pub(super) fn number(id: &str) -> Result<u32> {
        let number = id.strip_prefix("shardId-").and_then(|digits| digits.parse().ok());
        number.filter(|number| *number < super::SHARDS).ok_or_else(|| {
            Error::data(format!(
                "can't number shard {id:?}: only shardId- and a number below {} is known",
                super::SHARDS
            ))
        })
    }
}

/// Where an iterator begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The earliest record there is.
    Horizon,
    /// The record of this sequence number or, without a word, the next one that is still there.
    At(String),
}

/// A record as the service stores it: with aggregation, many of ours.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) sequence: String,
    /// The partition key; a stream that goes by none may have records without.
    pub(super) key: Option<String>,
    /// The time of its arrival in the stream.
    pub(super) arrived: Option<Timestamp>,
    pub(super) data: Vec<u8>,
}

/// What one call of `GetRecords` returns.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) records: Vec<Raw>,
    /// The iterator to go on with; `None` at the end of the shard, and only there.
    pub(super) next: Option<String>,
    /// Whether it reaches the newest record there is.
    pub(super) newest: bool,
    /// Whether it is so far behind that retention may take what follows before it is asked for.
    pub(super) old: bool,
}

/// A record on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// What decides on the shard in place of the key's hash.
    pub(super) hash: Option<u128>,
    pub(super) data: Bytes,
}

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The name of its shard.
    pub(super) shard: String,
    pub(super) sequence: String,
}

/// What can be done about a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The iterator is too old: ask for another.
    Expired,
    /// The service stumbled, and may have done it all the same: ask again later.
    Passing,
    /// Too much was asked, and nothing done: ask again later.
    Throttled,
    /// The stream is being made or changed, or is there already.
    InUse,
    /// The service does not let us.
    Denied,
    /// There is no such stream or shard.
    Missing,
    /// What was asked makes no sense to the service.
    Invalid,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    pub(super) cause: Box<dyn std::error::Error + Send + Sync>,
}

impl Fault {
    /// Whether the same call may succeed later.
    pub(super) fn passes(&self) -> bool {
        matches!(self.kind, FaultKind::Passing | FaultKind::Throttled | FaultKind::InUse)
    }

    /// The error of giving up on `what`, an attempt as `read stream x`.
    pub(super) fn error(self, what: &str) -> Error {
        let (message, hint) = match self.kind {
            FaultKind::Denied => (
                "Kinesis refuses",
                "Check the credentials that the AWS environment gives, their rights, and the clock.",
            ),
            FaultKind::Missing => (
                "there is no such stream or shard",
                "Create the stream, or check name, region and account.",
            ),
            FaultKind::Invalid => ("Kinesis takes it for a mistake", "Check name and options."),
            FaultKind::InUse => {
                ("it is in use", "Wait until it is made or changed, or give another name.")
            }
            FaultKind::Throttled => {
                ("it is more than Kinesis allows", "Wait, or raise the account's limits.")
            }
            FaultKind::Passing | FaultKind::Expired => {
                ("Kinesis doesn't do it", "Check the region, AWS_ENDPOINT_URL and the network.")
            }
        };
        let error = match self.kind {
            FaultKind::Denied | FaultKind::Missing | FaultKind::Invalid => Error::config,
            FaultKind::InUse | FaultKind::Throttled | FaultKind::Passing | FaultKind::Expired => {
                Error::connect
            }
        };
        error(format!("can't {what}: {message}")).because(self.cause).hint(hint)
    }
}

/// The service.
pub(super) trait Api: Send + Sync + 'static {
    /// The ARN of a stream and the time of its creation: one made anew under the same name has
    /// another.
    fn identity<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<String, Fault>>;

    /// All shards of a stream that still have records, closed ones too.
    fn shards<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<Shard>, Fault>>;

    /// An iterator over a shard; it lives for five minutes.
    fn iterator<'a>(
        &'a self,
        stream: &'a str,
        shard: &'a str,
        start: &'a Start,
    ) -> BoxFuture<'a, Result<String, Fault>>;

    /// The next records of an iterator, at most `limit`: maybe none, although there are more.
    fn records<'a>(&'a self, iterator: &'a str, limit: i32) -> BoxFuture<'a, Result<Page, Fault>>;

    /// Writes up to 500 records; of each, where it is or why it was not written.
    fn put<'a>(
        &'a self,
        stream: &'a str,
        entries: &'a [Entry],
    ) -> BoxFuture<'a, Result<Vec<Result<Written, String>>, Fault>>;
}
