//! Creates, describes, changes and deletes streams.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::{RecordDistributionStrategy, ScalingType, StreamMode, StreamStatus};
use tokio::time::{sleep, timeout};

use crate::error::{Error, Result};

use super::Kinesis;
use super::api::{CallError, CallErrorKind, Shard};
use super::client::{call_error, list_shards};
use super::fetch::{ATTEMPTS, retry, within_timeout};
use super::info::{StreamInfo, shard_info};

/// The interval and the time limit for polling the status of a change. The service needs about half
/// a minute per shard.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(900);

impl Kinesis {
    /// Returns the names of all streams, ascending.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// for stream in Kinesis::open("kinesis://eu-west-1")?.streams()? {
    ///     println!("{stream}");
    /// }
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// If they can't be listed.
    pub fn streams(&self) -> Result<Vec<String>> {
        let action = format!("list the streams in {}", self.service.region);
        self.request(&action, stream_names)
    }

    /// Creates a stream with `shards` shards, and blocks until it is active.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// let kinesis = Kinesis::open("kinesis://eu-west-1")?;
    /// kinesis.create("events", 2)?;
    /// assert_eq!(kinesis.describe("events")?.open_shards(), 2);
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a stream of this name exists, or the stream can't be created.
    pub fn create(&self, stream: &str, shards: u32) -> Result<()> {
        let action = format!("create stream {stream} in {}", self.service.region);
        self.change(&action, async |client| {
            client.create_stream().stream_name(stream).shard_count(shard_count(shards)).send().await
        })?;
        self.wait_until_active(&action, stream)
    }

    /// Returns the present description of a stream.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// let info = Kinesis::open("kinesis://eu-west-1")?.describe("events")?;
    /// println!("{} is {}, retention {} hours", info.name, info.status, info.retention_hours);
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the stream does not exist, or can't be described.
    pub fn describe(&self, stream: &str) -> Result<StreamInfo> {
        let action = format!("describe stream {stream} in {}", self.service.region);
        let summary = self
            .request(&action, async |client| {
                client
                    .describe_stream_summary()
                    .stream_name(stream)
                    .send()
                    .await
                    .map_err(call_error)
            })?
            .stream_description_summary
            .ok_or_else(|| {
                Error::connect(format!("can't {action}: the response has no description"))
            })?;
        let shards = self.request(&action, async |client| list_shards(client, stream).await)?;
        let mut shards = shards.iter().map(shard_info).collect::<Result<Vec<_>>>()?;
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

    /// Deletes a stream with all its records, and blocks until it is gone.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// Kinesis::open("kinesis://eu-west-1")?.delete("events")?;
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the stream does not exist, or can't be deleted.
    pub fn delete(&self, stream: &str) -> Result<()> {
        let action = format!("delete stream {stream} in {}", self.service.region);
        self.change(&action, async |client| {
            client.delete_stream().stream_name(stream).enforce_consumer_deletion(true).send().await
        })?;
        self.within(&action, until_deleted(self.client()?, stream))
    }

    /// Changes the number of shards, and blocks until that is done.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// // From two shards to four.
    /// Kinesis::open("kinesis://eu-west-1")?.reshard("events", 4)?;
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the stream does not exist, or can't have this many: at most twice and at least half the
    /// present number.
    pub fn reshard(&self, stream: &str, shards: u32) -> Result<()> {
        let action = format!("give stream {stream} in {} {shards} shards", self.service.region);
        self.change(&action, async |client| {
            let call = client
                .update_shard_count()
                .stream_name(stream)
                .scaling_type(ScalingType::UniformScaling);
            call.target_shard_count(shard_count(shards)).send().await
        })?;
        self.wait_until_active(&action, stream)
    }

    /// Splits a shard into two halves, and blocks until that is done.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// Kinesis::open("kinesis://eu-west-1")?.split("events", 0)?;
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the shard does not exist, is closed, or can't be split.
    pub fn split(&self, stream: &str, shard: u32) -> Result<()> {
        let action = format!("split shard {shard} of stream {stream} in {}", self.service.region);
        let shards = self.describe(stream)?.shards;
        let (first, last) =
            shards.iter().find(|info| info.number == shard).map(|info| info.hashes).ok_or_else(
                || {
                    Error::config(format!("can't {action}: there is no such shard"))
                        .hint("Describe the stream to see its shards.")
                },
            )?;
        let half = (first + (last - first) / 2).saturating_add(1).to_string();
        self.change(&action, async |client| {
            let call = client.split_shard().stream_name(stream).shard_to_split(Shard::name(shard));
            call.new_starting_hash_key(&half).send().await
        })?;
        self.wait_until_active(&action, stream)
    }

    /// Merges two adjacent shards, and blocks until that is done.
    ///
    /// ```no_run
    /// use watershed::connectors::kinesis::Kinesis;
    ///
    /// Kinesis::open("kinesis://eu-west-1")?.merge("events", 1, 2)?;
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the shards don't exist, are closed, or are not adjacent.
    pub fn merge(&self, stream: &str, shard: u32, neighbour: u32) -> Result<()> {
        let action = format!(
            "merge shards {shard} and {neighbour} of stream {stream} in {}",
            self.service.region
        );
        self.change(&action, async |client| {
            let call = client.merge_shards().stream_name(stream).shard_to_merge(Shard::name(shard));
            call.adjacent_shard_to_merge(Shard::name(neighbour)).send().await
        })?;
        self.wait_until_active(&action, stream)
    }

    /// Requests a change, and retries it only after throttling, when nothing was done. After a lost
    /// response the change may have been made, and a second one would be another change.
    fn change<T, E, R>(
        &self,
        action: &str,
        call: impl AsyncFn(&Client) -> Result<T, SdkError<E, R>>,
    ) -> Result<()>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let client = self.client()?;
        let once = || async {
            match call(client).await.map_err(call_error) {
                Err(error) if error.kind != CallErrorKind::Throttled => Ok(Err(error)),
                result => result.map(Ok),
            }
        };
        let result =
            self.service.runtime.block_on(within_timeout(retry(action, Some(ATTEMPTS), once)));
        result.flatten().map(|_| ()).map_err(|error| error.error(action))
    }

    /// Makes a call, with retries.
    fn request<T>(
        &self,
        action: &str,
        call: impl AsyncFn(&Client) -> Result<T, CallError>,
    ) -> Result<T> {
        let client = self.client()?;
        let result =
            self.service
                .runtime
                .block_on(within_timeout(retry(action, Some(ATTEMPTS), || call(client))));
        result.map_err(|error| error.error(action))
    }

    pub(super) fn client(&self) -> Result<&Client> {
        self.service
            .client
            .as_ref()
            .ok_or_else(|| Error::internal("there is no client to manage streams"))
    }

    fn wait_until_active(&self, action: &str, stream: &str) -> Result<()> {
        self.within(action, until_active(self.client()?, stream))
    }

    fn within(
        &self,
        action: &str,
        done: impl Future<Output = Result<(), CallError>>,
    ) -> Result<()> {
        let done = self.service.runtime.block_on(async { timeout(CHANGE_TIMEOUT, done).await });
        let done = done.map_err(|_| {
            Error::connect(format!(
                "can't confirm the change: {action}, after {} seconds",
                CHANGE_TIMEOUT.as_secs()
            ))
            .hint("Describe the stream to see its state.")
        })?;
        done.map_err(|error| error.error(&format!("confirm the change: {action}")))
    }
}

/// Waits until a stream is active.
pub(super) async fn until_active(client: &Client, stream: &str) -> Result<(), CallError> {
    until_status(client, stream, |status| status == Some(&StreamStatus::Active)).await
}

/// Waits until a stream is gone.
pub(super) async fn until_deleted(client: &Client, stream: &str) -> Result<(), CallError> {
    until_status(client, stream, |status| status.is_none()).await
}

/// Polls the status of a stream, `None` if it does not exist, until it fits. Transient failures are
/// retried, because the change has been accepted.
async fn until_status(
    client: &Client,
    stream: &str,
    fits: impl Fn(Option<&StreamStatus>) -> bool,
) -> Result<(), CallError> {
    loop {
        match client.describe_stream_summary().stream_name(stream).send().await.map_err(call_error)
        {
            Ok(response)
                if fits(
                    response.stream_description_summary().map(|summary| summary.stream_status()),
                ) =>
            {
                return Ok(());
            }
            Err(CallError { kind: CallErrorKind::Missing, .. }) if fits(None) => return Ok(()),
            Err(error) if !error.is_transient() && error.kind != CallErrorKind::Missing => {
                return Err(error);
            }
            _ => sleep(STATUS_INTERVAL).await,
        }
    }
}

/// Returns the names of all streams, ascending.
pub(super) async fn stream_names(client: &Client) -> Result<Vec<String>, CallError> {
    let (mut names, mut last) = (Vec::new(), None);
    loop {
        let response = client
            .list_streams()
            .set_exclusive_start_stream_name(last)
            .send()
            .await
            .map_err(call_error)?;
        names.extend(response.stream_names);
        last = names.last().cloned();
        if !response.has_more_streams {
            names.sort_unstable();
            return Ok(names);
        }
    }
}

pub(super) fn shard_count(shards: u32) -> i32 {
    i32::try_from(shards).unwrap_or(i32::MAX)
}
