//! Whose a topic is: its last commit is an offset of the application's own group, and beside it
//! what the topic holds since.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_64;

use crate::connect::{Poll, Schema, SinkContext, Source};

use crate::error::{Error, Result};
use crate::store::Store;

use super::KafkaTopic;
use super::client::{self, Context};
use super::rows::Totals;
use super::scan::TopicScan;
use super::sink::STEP_TIMEOUT;

/// The object in the run's state that says which application writes to which topic.
const OWNER: &str = "owner";

impl KafkaTopic {
    /// The transactional id, and the name of the group whose offset is the number of the last
    /// commit.
    pub(super) fn id(&self, context: &SinkContext) -> String {
        format!("{}/{}", context.app, self.topic)
    }

    /// A client for the group.
    pub(super) fn group(
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

    /// The number of the last commit and what the topic holds since; `None` if there was none.
    pub(super) fn last(&self, group: &BaseConsumer<Context>) -> Result<Option<(u64, Totals)>> {
        let name = self.name();
        let offsets =
            client::ask(group, &format!("can't ask for the last commit of {name}"), |_| {
                let mut offsets = TopicPartitionList::new();
                offsets.add_partition(&self.topic, 0);
                let offsets = group.committed_offsets(offsets, STEP_TIMEOUT)?;
                offsets.elements().iter().try_for_each(|offset| offset.error())?;
                Ok(offsets)
            })?;
        let elements = offsets.elements();
        match elements.first().map(|element| (element.offset(), element.metadata())) {
            Some((Offset::Offset(n), held)) => {
                let held = serde_json::from_str(held).map_err(|e| {
                    Error::data(format!("the last commit of {name} does not say what it holds"))
                        .because(e)
                })?;
                Ok(Some((n as u64, held)))
            }
            _ => Ok(None),
        }
    }

    /// Refuses a topic that another application writes to, or another state of this one. Where the
    /// group has no number although there were commits, it gives what the topic holds: the group
    /// has forgotten, or the sink had no row yet.
    pub(super) fn claim(
        &self,
        last: Option<u64>,
        schema: &Schema,
        context: &SinkContext,
    ) -> Result<Option<TopicScan>> {
        let refuse = |what: String| {
            Err(Error::data(format!("can't write to {}: {what}", self.name()))
                .hint("Write to another topic, or go on with the state that belongs to this one."))
        };
        match last {
            Some(n) if n > context.committed => {
                refuse(format!("it is at commit {n}, and the state knows {}", context.committed))
            }
            Some(_) => Ok(None),
            None => match self.scan(
                schema,
                context,
                context.committed > 0 && self.owns(schema, context)?,
            )? {
                Some(scan) => Ok(Some(scan).filter(|_| context.committed > 0)),
                None => refuse("it holds records that this application did not write".to_string()),
            },
        }
    }

    /// Where the run keeps what concerns this topic.
    pub(super) fn staging(&self, schema: &Schema, context: &SinkContext) -> Option<Store> {
        context
            .staging
            .as_ref()
            .map(|store| store.below(&format!("kafka-{:016x}", xxh3_64(schema.topic.as_bytes()))))
    }

    /// Notes that the state is one that writes to this topic, whatever the group forgets.
    pub(super) fn own(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        match self.staging(schema, context) {
            Some(store) => store.put(OWNER, self.id(context).as_bytes()),
            None => Ok(()),
        }
    }

    fn owns(&self, schema: &Schema, context: &SinkContext) -> Result<bool> {
        let owner =
            self.staging(schema, context).map(|store| store.get(OWNER)).transpose()?.flatten();
        Ok(owner.is_some_and(|owner| owner == self.id(context).as_bytes()))
    }

    /// Counts the rows that everybody sees in it; `None` if a record is no row of this application, which may have
    /// written `rows` or nothing.
    fn scan(
        &self,
        schema: &Schema,
        context: &SinkContext,
        rows: bool,
    ) -> Result<Option<TopicScan>> {
        let mut scan = TopicScan::new(schema, context.secret);
        for partition in self.partitions()? {
            let mut partition = Source::open(self, partition, None, false)?;
            loop {
                match partition.poll()? {
                    Poll::Batch(batch) => {
                        if !rows
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
