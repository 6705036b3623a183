//! Making, showing, changing and deleting streams.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::{
    RecordDistributionStrategy, ScalingType, Shard as Listed, StreamMode, StreamStatus,
};
use tokio::time::{sleep, timeout};

use crate::error::{Error, Result};

use super::Kinesis;
use super::api::{Fault, FaultKind, Shard};
use super::client::{fault, listed};
use super::fetch::{ATTEMPTS, insist, soon};

/// How often a change is asked about, and for how long: the service needs half a minute for a shard
/// or so.
const ASK: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(900);

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// What the service says of it: `ACTIVE`, or what is happening to it.
    pub status: String,
    /// Whether the service decides how many shards it has.
    pub on_demand: bool,
    /// Whether records of one partition key go to one shard, in order; otherwise the service deals
    /// them out.
    pub by_key: bool,
    /// For how many hours records are kept.
    pub retention_hours: u32,
    /// Its shards, closed ones too, by number.
    pub shards: Vec<ShardInfo>,
}

impl StreamInfo {
    /// How many shards take records.
    pub fn open_shards(&self) -> usize {
        self.shards.iter().filter(|shard| !shard.closed).count()
    }
}

/// What is known of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// The number in its name.
    pub number: u32,
    /// Its name.
    pub id: String,
    /// The shards it was made of.
    pub parents: Vec<u32>,
    /// The hashes of keys whose records it takes, first and last.
    pub hashes: (u128, u128),
    /// Whether it takes no more records.
    pub closed: bool,
}

impl Kinesis {
    /// The names of all streams, ascending.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn streams(&self) -> Result<Vec<String>> {
        let what = format!("list the streams in {}", self.service.region);
        self.ask(&what, names)
    }

    /// Makes a stream of `shards` shards, and waits until it can be used.
    ///
    /// # Errors
    /// When there is one of this name, or it can't be made.
    pub fn create(&self, stream: &str, shards: u32) -> Result<()> {
        let what = format!("create stream {stream} in {}", self.service.region);
        self.change(&what, async |client| {
            client.create_stream().stream_name(stream).shard_count(count(shards)).send().await
        })?;
        self.settled(&what, stream)
    }

    /// What a stream is now.
    ///
    /// # Errors
    /// When it isn't there, or can't be described.
    pub fn describe(&self, stream: &str) -> Result<StreamInfo> {
        let what = format!("describe stream {stream} in {}", self.service.region);
        let summary = self
            .ask(&what, async |client| {
                client.describe_stream_summary().stream_name(stream).send().await.map_err(fault)
            })?
            .stream_description_summary
            .ok_or_else(|| Error::connect(format!("can't {what}: Kinesis gives no description")))?;
        let shards = self.ask(&what, async |client| listed(client, stream).await)?;
        let mut shards = shards.iter().map(info).collect::<Result<Vec<_>>>()?;
        shards.sort_unstable_by_key(|shard| shard.number);
        Ok(StreamInfo {
            name: summary.stream_name,
            status: summary.stream_status.as_str().to_string(),
            on_demand: summary
                .stream_mode_details
                .is_some_and(|mode| mode.stream_mode == StreamMode::OnDemand),
            by_key: summary.record_distribution_strategy != Some(RecordDistributionStrategy::Auto),
            retention_hours: summary.retention_period_hours.try_into().unwrap_or_default(),
            shards,
        })
    }

    /// Deletes a stream with all its records, and waits until it is gone.
    ///
    /// # Errors
    /// When it isn't there, or can't be deleted.
    pub fn delete(&self, stream: &str) -> Result<()> {
        let what = format!("delete stream {stream} in {}", self.service.region);
        self.change(&what, async |client| {
            client.delete_stream().stream_name(stream).enforce_consumer_deletion(true).send().await
        })?;
        self.within(&what, vanish(self.client()?, stream))
    }

    /// Changes the number of shards, and waits until it is done.
    ///
    /// # Errors
    /// When the stream isn't there or can't have so many: at most twice, at least half as many as
    /// it has.
    pub fn reshard(&self, stream: &str, shards: u32) -> Result<()> {
        let what = format!("give stream {stream} in {} {shards} shards", self.service.region);
        self.change(&what, async |client| {
            let call = client
                .update_shard_count()
                .stream_name(stream)
                .scaling_type(ScalingType::UniformScaling);
            call.target_shard_count(count(shards)).send().await
        })?;
        self.settled(&what, stream)
    }

    /// Splits a shard into two halves, and waits until it is done.
    ///
    /// # Errors
    /// When it isn't there, is closed, or can't be split.
    pub fn split(&self, stream: &str, shard: u32) -> Result<()> {
        let what = format!("split shard {shard} of stream {stream} in {}", self.service.region);
        let shards = self.describe(stream)?.shards;
        let (first, last) =
            shards.iter().find(|info| info.number == shard).map(|info| info.hashes).ok_or_else(
                || {
                    Error::config(format!("can't {what}: there is no such shard"))
                        .hint("Describe the stream to see its shards.")
                },
            )?;
        let half = (first + (last - first) / 2).saturating_add(1).to_string();
        self.change(&what, async |client| {
            let call = client.split_shard().stream_name(stream).shard_to_split(Shard::name(shard));
            call.new_starting_hash_key(&half).send().await
        })?;
        self.settled(&what, stream)
    }

    /// Merges two neighbouring shards, and waits until it is done.
    ///
    /// # Errors
    /// When they aren't there, are closed, or are no neighbours.
    pub fn merge(&self, stream: &str, shard: u32, neighbour: u32) -> Result<()> {
        let what = format!(
            "merge shards {shard} and {neighbour} of stream {stream} in {}",
            self.service.region
        );
        self.change(&what, async |client| {
            let call = client.merge_shards().stream_name(stream).shard_to_merge(Shard::name(shard));
            call.adjacent_shard_to_merge(Shard::name(neighbour)).send().await
        })?;
        self.settled(&what, stream)
    }

    /// Asks for a change, and again if it was too much; otherwise once: after a lost answer nobody
    /// knows whether it was made, and twice it would be another.
    fn change<T, E, R>(
        &self,
        what: &str,
        call: impl AsyncFn(&Client) -> Result<T, SdkError<E, R>>,
    ) -> Result<()>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let client = self.client()?;
        let once = || async {
            match call(client).await.map_err(fault) {
                Err(fault) if fault.kind != FaultKind::Throttled => Ok(Err(fault)),
                made => made.map(Ok),
            }
        };
        let made = self.service.runtime.block_on(soon(insist(what, Some(ATTEMPTS), once)));
        made.flatten().map(|_| ()).map_err(|fault| fault.error(what))
    }

    /// Asks, and asks again.
    fn ask<T>(&self, what: &str, call: impl AsyncFn(&Client) -> Result<T, Fault>) -> Result<T> {
        let client = self.client()?;
        let made =
            self.service.runtime.block_on(soon(insist(what, Some(ATTEMPTS), || call(client))));
        made.map_err(|fault| fault.error(what))
    }

    pub(super) fn client(&self) -> Result<&Client> {
        self.service
            .client
            .as_ref()
            .ok_or_else(|| Error::internal("this Kinesis has no streams to manage"))
    }

    fn settled(&self, what: &str, stream: &str) -> Result<()> {
        self.within(what, settle(self.client()?, stream))
    }

    fn within(&self, what: &str, done: impl Future<Output = Result<(), Fault>>) -> Result<()> {
        let done = self.service.runtime.block_on(async { timeout(LONGEST, done).await });
        let done = done.map_err(|_| {
            Error::connect(format!(
                "can't tell whether it was done: {what}, after {} seconds",
                LONGEST.as_secs()
            ))
            .hint("Describe the stream to see.")
        })?;
        done.map_err(|fault| fault.error(&format!("tell whether it was done: {what}")))
    }
}

/// Waits until a stream is as it was asked to be.
pub(super) async fn settle(client: &Client, stream: &str) -> Result<(), Fault> {
    become_so(client, stream, |status| status == Some(&StreamStatus::Active)).await
}

/// Waits until a stream is gone.
pub(super) async fn vanish(client: &Client, stream: &str) -> Result<(), Fault> {
    become_so(client, stream, |status| status.is_none()).await
}

/// Asks for the status of a stream, `None` if it isn't there, until it is so. After a fault that
/// passes it is asked for again: the change is on its way.
async fn become_so(
    client: &Client,
    stream: &str,
    is_so: impl Fn(Option<&StreamStatus>) -> bool,
) -> Result<(), Fault> {
    loop {
        match client.describe_stream_summary().stream_name(stream).send().await.map_err(fault) {
            Ok(answer)
                if is_so(
                    answer.stream_description_summary().map(|summary| summary.stream_status()),
                ) =>
            {
                return Ok(());
            }
            Err(Fault { kind: FaultKind::Missing, .. }) if is_so(None) => return Ok(()),
            Err(fault) if !fault.passes() && fault.kind != FaultKind::Missing => return Err(fault),
            _ => sleep(ASK).await,
        }
    }
}

/// The names of all streams, ascending.
pub(super) async fn names(client: &Client) -> Result<Vec<String>, Fault> {
    let (mut names, mut last) = (Vec::new(), None);
    loop {
        let answer = client
            .list_streams()
            .set_exclusive_start_stream_name(last)
            .send()
            .await
            .map_err(fault)?;
        names.extend(answer.stream_names);
        last = names.last().cloned();
        if !answer.has_more_streams {
            names.sort_unstable();
            return Ok(names);
        }
    }
}

pub(super) fn count(shards: u32) -> i32 {
    i32::try_from(shards).unwrap_or(i32::MAX)
}

pub(super) fn info(listed: &Listed) -> Result<ShardInfo> {
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
