//! The offsets of a consumer group that follow the commits, so that tools show how far a topic is
//! read.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::Result;

use super::KafkaTopic;
use super::client::Context;

/// How often a client that closes is polled, and for how long each time: three seconds in all.
const CLOSE_POLLS: u32 = 60;
const CLOSE_POLL: Duration = Duration::from_millis(50);

/// A group whose offsets follow the commits. Clones share one client.
#[derive(Clone)]
pub(super) struct Watch {
    group: String,
    client: Arc<Mutex<Option<Client>>>,
}

/// A client that is closed in bounded time. rdkafka waits for each offset that was sent, and a
/// broker that has fallen silent never answers.
struct Client(Option<BaseConsumer<Context>>);

impl Drop for Client {
    fn drop(&mut self) {
        let Some(client) = self.0.take() else { return };
        let polled_to_its_end = || {
            drop(client.poll(CLOSE_POLL));
            client.closed()
        };
        if client.close_queue().is_ok() && !(0..CLOSE_POLLS).any(|_| polled_to_its_end()) {
            tracing::warn!(
                "no broker answers: the last offsets of a consumer group may be missing"
            );
            // To destroy it is to wait. Its threads end with the process.
            mem::forget(client);
        }
    }
}

impl Watch {
    pub(super) fn new(group: &str) -> Self {
        Watch { group: group.to_string(), client: Arc::default() }
    }

    /// Sends the offsets up to which `topic` is committed, and waits for no answer.
    pub(super) fn tell(&self, topic: &KafkaTopic, ends: &BTreeMap<u32, u64>) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.send(&mut client, topic, ends) {
            tracing::warn!(topic = topic.name(), group = self.group, %error, "the group's offsets are behind");
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
        // The answers to earlier offsets only have to be taken.
        while client.poll(Duration::ZERO).is_some() {}
        let attempt = format!("can't say how far {} is read", topic.name());
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
