//! Reads and writes Kinesis streams, through splits, merges and other changes of their shards.
//!
//! - **A partition** is a shard. Its number is the one in the shard's name: `shardId-000000000012`
//!   is 12. A closed shard ends. Its children are partitions of their own, which begin after all
//!   their parents have been read to the end.
//! - **A position** is an offset: the number of the shard times 2^42, plus the number of records
//!   read of the shard before. So the records of a key after a split or merge are later than those
//!   before it.
//! - **A commit** of the sink puts its rows first into the manifest and then into the stream.
//! - **Guaranteed** when reading: every record at least once, in order, parents before children,
//!   with the same offset each time. A record that retention has deleted, and a recreated stream,
//!   are errors.
//! - **Guaranteed** when writing: every row at least once. Of the rows of a commit that one worker
//!   wrote, those of one key are in order; between workers there is no order.
//!
//! Details of reading:
//!
//! - Sequence numbers have up to 186 bits in an undocumented format. Each commit keeps them with
//!   the offsets. A position is verified by its previous record, which must exist.
//! - An aggregated record of the KPL has one offset for each record it contains. If it was packed
//!   during a split or merge, it may contain records of another shard, which the producer may send
//!   again. They are kept.
//! - A reader can't detect records that were deleted before it read the first one of a shard,
//!   because Kinesis does not report them.
//! - A run that continues reads again everything it has read. So retention must keep all of that.
//! - The order of a key follows from its partition key. With the distribution strategy `AUTO`, the
//!   service puts records of one key into any shard. Then offsets decide, the same in every run.
//! - Without `follow`, a reading ends once it has caught up with the newest record. At most eight
//!   responses of the service, of at most 10 MB each, are in memory at a time.
//!
//! Kinesis can't distinguish a repeated call from a new one. So after a lost response or a restart,
//! rows are written again, with the same `_record` as before. Readers may use it to drop
//! duplicates.
//!
//! A gateway appends to all streams of the region ([`Kinesis::appender`]), and acknowledges a
//! record once Kinesis has returned its position. The records of one request may be stored in any
//! order, even those of one key. A client that needs an order waits for the acknowledgement before
//! it sends the next record.

mod api;
mod append;
mod client;
mod fetch;
mod info;
mod kpl;
mod put;
mod shard_tree;
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
use shard_tree::ShardTree;

pub use append::KinesisAppender;
pub use info::{ShardInfo, StreamInfo};

/// The most shards that a stream may have had, and the most records of a shard. Together an offset
/// has 64 bits.
const MAX_SHARDS: u32 = 1 << 22;
const OFFSETS_PER_SHARD: u64 = 1 << 42;
/// The most responses in memory at a time.
const PAGES_IN_MEMORY: usize = 8;

/// Kinesis in one region.
///
/// ```
/// use watershed::connect::Source;
/// use watershed::connectors::kinesis::Kinesis;
///
/// // Nothing is called yet, so this needs no account.
/// let kinesis = Kinesis::open("kinesis://eu-west-1")?;
/// assert_eq!(kinesis.stream("events").describe(), "kinesis stream events in eu-west-1");
/// # Ok::<(), watershed::Error>(())
/// ```
#[derive(Clone)]
pub struct Kinesis {
    service: Arc<Service>,
}

/// The state that all streams of a region share.
struct Service {
    region: String,
    api: Arc<dyn Api>,
    /// The client for calls that only manage streams; `None` in tests with a fake service.
    client: Option<aws_sdk_kinesis::Client>,
    runtime: &'static Runtime,
    page_permits: Arc<Semaphore>,
    /// The pause between two calls for records of a shard.
    poll_interval: Duration,
}

impl Kinesis {
    /// Returns Kinesis at `url`, `kinesis://<region>`. Nothing is called yet.
    ///
    /// The AWS environment provides the credentials: variables, profile, container or machine.
    /// `AWS_ENDPOINT_URL` or `AWS_ENDPOINT_URL_KINESIS` names another endpoint.
    ///
    /// ```
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// assert!(Kinesis::open("kinesis://eu-west-1").is_ok());
    /// assert!(Kinesis::open("https://kinesis.eu-west-1.amazonaws.com").is_err());
    /// ```
    ///
    /// # Errors
    /// For another URL, or if the threads for the calls can't be started.
    pub fn open(url: &str) -> Result<Self> {
        let region = url.strip_prefix("kinesis://").map(|region| region.trim_end_matches('/'));
        let plain = |region: &&str| {
            !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let region = region.filter(plain).ok_or_else(|| {
            Error::config("can't open a URL of Kinesis: it is not kinesis://region")
                .hint("Give a region, as in kinesis://eu-west-1.")
        })?;
        let runtime = io_runtime()?;
        let config = runtime.block_on(client::config(region));
        Ok(Self::from_config(region, config, runtime))
    }

    /// Returns Kinesis with the region, endpoint and credentials of `config`.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// # async fn example() -> watershed::Result<()> {
    /// let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    /// let events = Kinesis::with(&config)?.stream("events");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the configuration has no region, or the threads for the calls can't be started.
    pub fn with(config: &SdkConfig) -> Result<Self> {
        let region = config.region().map(|region| region.as_ref().to_string());
        let region = region
            .ok_or_else(|| Error::config("can't open Kinesis: the configuration has no region"))?;
        Ok(Self::from_config(&region, config.clone(), io_runtime()?))
    }

    fn from_config(region: &str, config: SdkConfig, runtime: &'static Runtime) -> Self {
        let client = client::client(&config);
        let service = Service {
            region: region.to_string(),
            api: Arc::new(client::Sdk(client.clone())),
            client: Some(client),
            runtime,
            page_permits: Arc::new(Semaphore::new(PAGES_IN_MEMORY)),
            poll_interval: fetch::POLL_INTERVAL,
        };
        Kinesis { service: Arc::new(service) }
    }

    /// Returns one stream, to read or to write. The stream must exist when a run starts.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    /// use watershed::prelude::*;
    ///
    /// fn topology(builder: &StreamsBuilder<'_>) {
    ///     let events = builder.stream("events", Consumed::<String, i64>::with(Utf8, Json));
    ///     events.to("large", Produced::columns(["key", "value"]));
    /// }
    ///
    /// let kinesis = Kinesis::open("kinesis://eu-west-1")?;
    /// Streams::new(Topology::new("events", topology))
    ///     .source("events", kinesis.stream("events"))
    ///     .sink("large", kinesis.stream("large"))
    ///     .run(Config::default())?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stream(&self, name: impl Into<String>) -> KinesisStream {
        KinesisStream { kinesis: self.clone(), stream: name.into(), shard_tree: Arc::default() }
    }
}

/// A stream of [`Kinesis`]: a [`Source`](crate::connect::Source) and a
/// [`Sink`](crate::connect::Sink). Made by [`Kinesis::stream`]. Clones share the state of the
/// shards.
///
/// ```no_run
/// use watershed::connect::Source;
/// use watershed::connectors::kinesis::Kinesis;
///
/// let events = Kinesis::open("kinesis://eu-west-1")?.stream("events");
/// println!("{} has the shards {:?}", events.describe(), events.partitions()?);
/// # Ok::<(), watershed::Error>(())
/// ```
#[derive(Clone)]
pub struct KinesisStream {
    kinesis: Kinesis,
    stream: String,
    shard_tree: Arc<ShardTree>,
}

impl KinesisStream {
    fn name(&self) -> String {
        format!("kinesis stream {} in {}", self.stream, self.kinesis.service.region)
    }

    /// Returns the offset of the first record of a shard.
    fn base(&self, number: u32) -> Result<u64> {
        if number >= MAX_SHARDS {
            return Err(Error::data(format!(
                "can't read shard {number} of {}: its number is not below {MAX_SHARDS}",
                self.name()
            )));
        }
        Ok(u64::from(number) * OFFSETS_PER_SHARD)
    }
}
