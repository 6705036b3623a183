//! Descriptions of streams and shards.

use aws_sdk_kinesis::types::Shard as Listed;

use crate::error::Result;

use super::api::Shard;

/// The description of a stream.
///
/// ```
/// use watershed::connectors::kinesis::StreamInfo;
///
/// let info = StreamInfo {
///     name: "events".into(),
///     status: "ACTIVE".into(),
///     on_demand: false,
///     by_key: true,
///     retention_hours: 24,
///     shards: Vec::new(),
/// };
/// assert_eq!(info.open_shards(), 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The name.
    pub name: String,
    /// The status as the service reports it, such as `ACTIVE` or `CREATING`.
    pub status: String,
    /// True if the service decides the number of shards.
    pub on_demand: bool,
    /// True if records of one partition key go to one shard, in order. Otherwise the service
    /// distributes them.
    pub by_key: bool,
    /// The retention in hours.
    pub retention_hours: u32,
    /// The shards by number, including closed ones.
    pub shards: Vec<ShardInfo>,
}

impl StreamInfo {
    /// Returns the number of shards that accept records.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// let info = Kinesis::open("kinesis://eu-west-1")?.describe("events")?;
    /// println!("{} of {} shards are open", info.open_shards(), info.shards.len());
    /// # Ok::<(), watershed::Error>(())
    /// ```
    pub fn open_shards(&self) -> usize {
        self.shards.iter().filter(|shard| !shard.closed).count()
    }
}

/// The description of a shard.
///
/// ```
/// use watershed::connectors::kinesis::ShardInfo;
///
/// let merged = ShardInfo {
///     number: 2,
///     id: "shardId-000000000002".into(),
///     parents: vec![0, 1],
///     hashes: (0, u128::MAX), // it takes all keys
///     closed: false,
/// };
/// assert!(merged.parents.iter().all(|parent| *parent < merged.number));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// The number in its name.
    pub number: u32,
    /// The name.
    pub id: String,
    /// The numbers of its parents.
    pub parents: Vec<u32>,
    /// The range of key hashes that go to this shard, first and last.
    pub hashes: (u128, u128),
    /// True if the shard accepts no more records.
    pub closed: bool,
}

/// Returns the description of a listed shard.
pub(super) fn shard_info(listed: &Listed) -> Result<ShardInfo> {
    let parents = [&listed.parent_shard_id, &listed.adjacent_parent_shard_id];
    let hash = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or_default();
    let range = listed.hash_key_range.as_ref();
    Ok(ShardInfo {
        number: Shard::number(&listed.shard_id)?,
        id: listed.shard_id.clone(),
        parents: parents
            .into_iter()
            .flatten()
            .map(|id| Shard::number(id))
            .collect::<Result<_>>()?,
        hashes: (
            hash(range.map(|r| r.starting_hash_key.as_str())),
            hash(range.map(|r| r.ending_hash_key.as_str())),
        ),
        closed: listed
            .sequence_number_range
            .as_ref()
            .is_some_and(|range| range.ending_sequence_number.is_some()),
    })
}
