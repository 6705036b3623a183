//! Commits the offsets of a consumer group after each commit of a run, so that tools show the lag.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::Result;

use super::KafkaTopic;
use super::client::Context;
use crate::sync::lock;

/// The number of polls of a client that closes, and the time limit of each: three seconds in all.
const CLOSE_POLLS: u32 = 60;
const CLOSE_POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// A consumer group whose offsets follow the commits. Clones share one client.
#[derive(Clone)]
pub(super) struct LagGroup {
    group: String,
    client: Arc<Mutex<Option<Client>>>,
}

/// A client that closes in bounded time. rdkafka would wait for the reply to each offset, and a
/// broker that hangs never replies.
struct Client(Option<BaseConsumer<Context>>);

impl Drop for Client {
    fn drop(&mut self) {
        let Some(client) = self.0.take() else { return };
        let closed_after_poll = || {
            drop(client.poll(CLOSE_POLL_TIMEOUT));
            client.closed()
        };
        if client.close_queue().is_ok() && !(0..CLOSE_POLLS).any(|_| closed_after_poll()) {
            tracing::warn!(
                "no broker replies: the last offsets of a consumer group may be missing"
            );
            // Dropping the client would block. Its threads end with the process.
            mem::forget(client);
        }
    }
}

impl LagGroup {
    pub(super) fn new(group: &str) -> Self {
        LagGroup { group: group.to_string(), client: Arc::default() }
    }

    /// Sends the offsets of the last commit. Does not wait for the reply.
    pub(super) fn commit(&self, topic: &KafkaTopic, ends: &BTreeMap<u32, u64>) {
        let mut client = lock(&self.client);
        if let Err(error) = self.send(&mut client, topic, ends) {
            let (topic, group) = (topic.name(), &self.group);
            tracing::warn!(topic, group, %error, "can't update the offsets of the group");
        }
    }

    fn send(
        &self,
        client: &mut Option<Client>,
        topic: &KafkaTopic,
        ends: &BTreeMap<u32, u64>,
    ) -> Result<()> {
        if client.is_none() {
            let properties = [("group.id", self.group.as_str()), ("enable.auto.commit", "false")];
            *client = Some(Client(Some(topic.settings.client(&topic.name(), &properties)?)));
        }
        let Some(Client(Some(client))) = client else { return Ok(()) };
        // Discard the replies to earlier offsets.
        while client.poll(Duration::ZERO).is_some() {}
        let attempt = format!("can't commit the offsets of {}", topic.name());
        let failed = |error: KafkaError| client.context().error(&attempt, &error);
        let mut offsets = TopicPartitionList::new();
        for (partition, end) in ends {
            offsets
                .add_partition_offset(&topic.topic, *partition as i32, Offset::Offset(*end as i64))
                .map_err(failed)?;
        }
        client.commit(&offsets, CommitMode::Async).map_err(failed)
    }
}
