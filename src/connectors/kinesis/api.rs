//! The calls of Kinesis that the connector makes, as a trait. So tests can replace the service with
//! a fake.

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A shard as the service lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) number: u32,
    /// The parents: one after a split, two after a merge.
    pub(super) parents: Vec<u32>,
    /// True if the shard has ended, because it was split or merged.
    pub(super) closed: bool,
}

impl Shard {
    /// Returns the name of a shard.
    pub(super) fn name(number: u32) -> String {
        format!("shardId-{number:012}")
    }

    /// Returns the number in the name of a shard.
    pub(super) fn number(id: &str) -> Result<u32> {
        let number = id.strip_prefix("shardId-").and_then(|digits| digits.parse().ok());
        number.filter(|number| *number < super::MAX_SHARDS).ok_or_else(|| {
            Error::data(format!(
                "can't use shard {id:?}: its name is not shardId- and a number below {}",
                super::MAX_SHARDS
            ))
        })
    }
}

/// The record at which an iterator begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The earliest record.
    TrimHorizon,
    /// The record with this sequence number. If it is gone, Kinesis silently begins at the next
    /// record.
    AtSequence(String),
}

/// A record as the service stores it. An aggregated one contains many of our records.
#[derive(Clone, Debug)]
pub(super) struct StoredRecord {
    pub(super) sequence: String,
    /// The partition key. A stream that does not distribute by key may have records without one.
    pub(super) key: Option<String>,
    /// The time of arrival in the stream.
    pub(super) arrived: Option<Timestamp>,
    pub(super) data: Vec<u8>,
}

/// The result of one `GetRecords` call.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) records: Vec<StoredRecord>,
    /// The next iterator; `None` only at the end of the shard.
    pub(super) next: Option<String>,
    /// True if the page reaches the newest record.
    pub(super) caught_up: bool,
    /// True if the page is so old that retention may delete the records after it before the next
    /// call.
    pub(super) near_horizon: bool,
}

/// A record to put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Selects the shard instead of the key's hash.
    pub(super) hash: Option<u128>,
    pub(super) data: Bytes,
}

/// The position of a record that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The name of the shard.
    pub(super) shard: String,
    pub(super) sequence: String,
}

/// The kind of a failed call, by the appropriate reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallErrorKind {
    /// The iterator has expired: request another one.
    Expired,
    /// A transient failure; the call may have succeeded nevertheless: retry later.
    Transient,
    /// A limit is exceeded, and nothing was done: retry later.
    Throttled,
    /// The stream is being created or changed, or exists already.
    InUse,
    /// Access is denied.
    Denied,
    /// The stream or shard does not exist.
    Missing,
    /// The service reports an invalid request.
    Invalid,
}

/// A failed call.
#[derive(Debug)]
pub(super) struct CallError {
    pub(super) kind: CallErrorKind,
    pub(super) cause: Box<dyn std::error::Error + Send + Sync>,
}

impl CallError {
    /// Returns true if the same call may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            CallErrorKind::Transient | CallErrorKind::Throttled | CallErrorKind::InUse
        )
    }

    /// Returns the error of `action`, such as "read stream x".
    pub(super) fn error(self, action: &str) -> Error {
        let (message, hint) = match self.kind {
            CallErrorKind::Denied => (
                "Kinesis denies access",
                "Check the credentials of the AWS environment, their rights, and the clock.",
            ),
            CallErrorKind::Missing => (
                "there is no such stream or shard",
                "Create the stream, or check name, region and account.",
            ),
            CallErrorKind::Invalid => {
                ("Kinesis reports an invalid request", "Check name and options.")
            }
            CallErrorKind::InUse => (
                "it exists, or is being created or changed",
                "Wait for the change, or give another name.",
            ),
            CallErrorKind::Throttled => {
                ("a limit of Kinesis is exceeded", "Wait, or raise the account's limits.")
            }
            CallErrorKind::Transient | CallErrorKind::Expired => {
                ("the call failed", "Check the region, AWS_ENDPOINT_URL and the network.")
            }
        };
        let error = match self.kind {
            CallErrorKind::Denied | CallErrorKind::Missing | CallErrorKind::Invalid => {
                Error::config
            }
            CallErrorKind::InUse
            | CallErrorKind::Throttled
            | CallErrorKind::Transient
            | CallErrorKind::Expired => Error::connect,
        };
        error(format!("can't {action}: {message}")).because(self.cause).hint(hint)
    }
}

/// The service.
pub(super) trait Api: Send + Sync + 'static {
    /// Returns the ARN of a stream and its time of creation, which differs for a recreated stream
    /// of the same name.
    fn identity<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<String, CallError>>;

    /// Returns all shards of a stream that still have records, including closed ones.
    fn shards<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<Shard>, CallError>>;

    /// Returns an iterator over a shard, which is valid for five minutes.
    fn iterator<'a>(
        &'a self,
        stream: &'a str,
        shard: &'a str,
        start: &'a Start,
    ) -> BoxFuture<'a, Result<String, CallError>>;

    /// Returns the next records of an iterator, `limit` at most. There may be none although more
    /// follow.
    fn records<'a>(
        &'a self,
        iterator: &'a str,
        limit: i32,
    ) -> BoxFuture<'a, Result<Page, CallError>>;

    /// Puts up to 500 records. Returns the position of each, or the reason why it was not put.
    fn put<'a>(
        &'a self,
        stream: &'a str,
        entries: &'a [Entry],
    ) -> BoxFuture<'a, Result<Vec<Result<Written, String>>, CallError>>;
}
