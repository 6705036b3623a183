//! A Kinesis stream, to read or to write, through splits, merges and changes of the number of
//! shards.
//!
//! - **A partition** is a shard, by the number in its name: `shardId-000000000012` is 12. A closed
//!   shard ends; those made of it are partitions of their own, and begin when all they were made of
//!   is read to the end.
//! - **A position** is an offset: the shard's number times 2^42, and the number of records before
//!   it since the first that was ever read of the shard. So of one key, what came after a split or
//!   a merge is later than what came before. Sequence numbers (up to 186 bits, in no documented
//!   form) are kept beside the offsets in every commit, and verified: a position is the record
//!   before it, which must be there. A record that the KPL packed is as many as it holds; of those
//!   that were packed while shards were split or merged, it may hold some whose hash is another
//!   shard's, which its producer may send again: they are kept too.
//! - **A commit** of the sink puts its rows into the manifest and then into the stream.
//! - **Guaranteed** when reading: every record at least once and in order, parents before children,
//!   each offset the same record; what retention took away, or a stream made anew, is an error.
//!   Kinesis has no word for "this was skipped" before the first record of a shard was read: what
//!   came and went before that, while nobody read, is not missed. A run that continues reads again
//!   what it has read, so retention must keep all of that.
//! - **Guaranteed** when writing: every row at least once, and of the rows of a commit that one
//!   worker wrote, those of one key in order; between workers there is none. Kinesis can't tell a
//!   repeated call from a new one, so after a lost answer or a restart rows come again, each with
//!   the same `_record`: who reads them can drop those.
//! - **A gateway** appends to all streams of the region ([`Kinesis::log`]), and acknowledges what
//!   Kinesis says where it is. The records of one request may come to stand in any order, those of
//!   one key too: whoever needs an order sends the next when the one before is acknowledged.
//!
//! All order of a key is by partition key: in a stream with the distribution strategy `AUTO` the
//! service deals records of one key out to any shard, and then nobody knows which came first;
//! offsets decide, the same in every run.
//!
//! Without `follow` a reading ends where it first catches up with the newest record. At most eight
//! answers of the service, of at most 10 MB each, are in memory at a time.

mod api;
mod append;
mod client;
mod fetch;
mod kpl;
mod lineage;
mod put;
mod sink;
mod source;
mod streams;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::sync::io_runtime;

use api::Api;
use lineage::Lineage;

pub use append::KinesisAppender;
pub use streams::{ShardInfo, StreamInfo};

/// How many shards a stream may ever have had, and how many records a shard: offsets are numbers of
/// 64 bits.
const SHARDS: u32 = 1 << 22;
const OFFSETS: u64 = 1 << 42;
/// Answers that are in memory at a time.
const PAGES: usize = 8;

/// Kinesis in one region.
#[derive(Clone)]
pub struct Kinesis {
    service: Arc<Service>,
}

/// What all streams of a region share.
struct Service {
    region: String,
    api: Arc<dyn Api>,
    /// For the calls that only management needs.
    client: Option<aws_sdk_kinesis::Client>,
    runtime: &'static Runtime,
    room: Arc<Semaphore>,
    /// The time between two calls for records of a shard.
    pace: Duration,
}

impl Kinesis {
    /// Kinesis at `url`, `kinesis://<region>`. Credentials come from where the AWS environment has
    /// them (variables, profile, container, machine), and `AWS_ENDPOINT_URL` or
    /// `AWS_ENDPOINT_URL_KINESIS` leads to another service. Nothing is called yet.
    ///
    /// # Errors
    /// For another URL, or when no thread for the calls can be started.
    pub fn open(url: &str) -> Result<Self> {
        let region = url.strip_prefix("kinesis://").map(|region| region.trim_end_matches('/'));
        let plain = |region: &&str| {
            !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let region = region.filter(plain).ok_or_else(|| {
            Error::config("can't read a URL of Kinesis: it is no kinesis://region")
                .hint("Give a region, as in kinesis://eu-west-1.")
        })?;
        let runtime = io_runtime()?;
        let config = runtime.block_on(client::config(region));
        Ok(Self::on(region, config, runtime))
    }

    /// Kinesis as `config` reaches it, with its region, endpoint and credentials.
    ///
    /// # Errors
    /// When it names no region, or no thread for the calls can be started.
    pub fn with(config: &SdkConfig) -> Result<Self> {
        let region = config.region().map(|region| region.as_ref().to_string());
        let region = region.ok_or_else(|| {
            Error::config("can't reach Kinesis: the configuration names no region")
        })?;
        Ok(Self::on(&region, config.clone(), io_runtime()?))
    }

    fn on(region: &str, config: SdkConfig, runtime: &'static Runtime) -> Self {
        let client = client::client(&config);
        let service = Service {
            region: region.to_string(),
            api: Arc::new(client::Sdk(client.clone())),
            client: Some(client),
            runtime,
            room: Arc::new(Semaphore::new(PAGES)),
            pace: fetch::PACE,
        };
        Kinesis { service: Arc::new(service) }
    }

    /// One stream, to read or to write.
    pub fn stream(&self, name: impl Into<String>) -> KinesisStream {
        KinesisStream { kinesis: self.clone(), stream: name.into(), lineage: Arc::default() }
    }
}

/// A stream of [`Kinesis`]: a [`Source`](crate::connect::Source) and a
/// [`Sink`](crate::connect::Sink). Clones share what they know of its shards.
#[derive(Clone)]
pub struct KinesisStream {
    kinesis: Kinesis,
    stream: String,
    lineage: Arc<Lineage>,
}

impl KinesisStream {
    fn name(&self) -> String {
        format!("kinesis stream {} in {}", self.stream, self.kinesis.service.region)
    }

    /// The offset of the first record of a shard.
    fn base(&self, number: u32) -> Result<u64> {
        if number >= SHARDS {
            return Err(Error::data(format!(
                "can't read shard {number} of {}: only {SHARDS} can be numbered",
                self.name()
            )));
        }
        Ok(u64::from(number) * OFFSETS)
    }
}
