//! Ownership of a topic. The last commit is an offset of the application's own consumer group, and
//! the metadata of that offset are the topic's totals.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_64;

use crate::connect::{Poll, Schema, SinkContext, Source};

use crate::error::{Error, Result};
use crate::store::Store;

use super::KafkaTopic;
use super::client::{self, Context, STEP_TIMEOUT};
use super::rows::Totals;
use super::scan::TopicScan;

/// The object in the run's state that names the application that writes to a topic.
const OWNER: &str = "owner";

/// The last commit to a topic, as its group has it.
#[derive(Clone, Copy)]
pub(super) struct LastCommit {
    pub(super) n: u64,
    pub(super) totals: Totals,
}

/// The records that a scan accepts.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Rows,
    Nothing,
}

impl KafkaTopic {
    /// Returns the transactional id. It is also the name of the group whose offset is the number of
    /// the last commit.
    pub(super) fn id(&self, context: &SinkContext) -> String {
        format!("{}/{}", context.app, self.topic)
    }

    /// Returns a client of the group.
    pub(super) fn group_client(
        &self,
        context: &SinkContext,
        isolation: &str,
    ) -> Result<BaseConsumer<Context>> {
        let (id, name) = (self.id(context), self.name());
        let group = self.settings.client(
            &name,
            &[
                ("group.id", &id),
                ("isolation.level", isolation),
                ("enable.auto.commit", "false"),
                ("allow.auto.create.topics", "false"),
            ],
        )?;
        if client::partitions(&group, &self.topic, &name)?.is_none() {
            return Err(self.missing());
        }
        Ok(group)
    }

    /// Returns the last commit, or `None` if there was none.
    pub(super) fn last_commit(&self, group: &BaseConsumer<Context>) -> Result<Option<LastCommit>> {
        let name = self.name();
        let offsets =
            client::retry(group, &format!("can't request the last commit of {name}"), |_| {
                let mut offsets = TopicPartitionList::new();
                offsets.add_partition(&self.topic, 0);
                let offsets = group.committed_offsets(offsets, STEP_TIMEOUT)?;
                offsets.elements().iter().try_for_each(|offset| offset.error())?;
                Ok(offsets)
            })?;
        let elements = offsets.elements();
        match elements.first().map(|element| (element.offset(), element.metadata())) {
            Some((Offset::Offset(n), totals)) => {
                let totals = serde_json::from_str(totals).map_err(|e| {
                    Error::data(format!("the last commit of {name} has no valid totals")).because(e)
                })?;
                Ok(Some(LastCommit { n: n as u64, totals }))
            }
            _ => Ok(None),
        }
    }

    /// Refuses a topic that another application writes to, or another state of this one.
    ///
    /// Returns a scan of the topic if there were commits but the group has no number. Either the
    /// group has forgotten it, or the sink had no row yet.
    pub(super) fn claim(
        &self,
        last: Option<u64>,
        schema: &Schema,
        context: &SinkContext,
    ) -> Result<Option<TopicScan>> {
        let refuse = |why: String| {
            Err(Error::data(format!("can't write to {}: {why}", self.name())).hint(
                "Write to another topic, or continue with the state that belongs to this one.",
            ))
        };
        match last {
            Some(n) if n > context.committed => refuse(format!(
                "it is at commit {n}, and the state at commit {}",
                context.committed
            )),
            Some(_) => Ok(None),
            None => {
                let owned = context.committed > 0 && self.owns(schema, context)?;
                let expected = if owned { Expected::Rows } else { Expected::Nothing };
                match self.scan(schema, context, expected)? {
                    Some(scan) => Ok(Some(scan).filter(|_| context.committed > 0)),
                    None => {
                        refuse("it holds records that this application did not write".to_string())
                    }
                }
            }
        }
    }

    /// Returns the part of the run's state that belongs to this topic.
    pub(super) fn staging(&self, schema: &Schema, context: &SinkContext) -> Option<Store> {
        context
            .staging
            .as_ref()
            .map(|store| store.below(&format!("kafka-{:016x}", xxh3_64(schema.topic.as_bytes()))))
    }

    /// Records that this state writes to this topic. The record outlives the group's offset.
    pub(super) fn record_owner(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        match self.staging(schema, context) {
            Some(store) => store.put(OWNER, self.id(context).as_bytes()),
            None => Ok(()),
        }
    }

    /// Returns true if the application has opened this topic with this state.
    pub(super) fn owns(&self, schema: &Schema, context: &SinkContext) -> Result<bool> {
        let owner =
            self.staging(schema, context).map(|store| store.get(OWNER)).transpose()?.flatten();
        Ok(owner.is_some_and(|owner| owner == self.id(context).as_bytes()))
    }

    /// Counts the committed rows of the topic. Returns `None` if a record is not a row of this
    /// application, or is not `expected`.
    fn scan(
        &self,
        schema: &Schema,
        context: &SinkContext,
        expected: Expected,
    ) -> Result<Option<TopicScan>> {
        let mut scan = TopicScan::new(schema, context.secret);
        for partition in self.partitions()? {
            let mut partition = Source::open(self, partition, None, false)?;
            loop {
                match partition.poll()? {
                    Poll::Batch(batch) => {
                        if expected == Expected::Nothing
                            || batch
                                .iter(0)
                                .any(|record| scan.add(record.key, record.value).is_none())
                        {
                            return Ok(None);
                        }
                    }
                    Poll::Idle => drop(partition.wait(STEP_TIMEOUT)),
                    Poll::End => break,
                }
            }
        }
        Ok(Some(scan))
    }
}
