//! Whose a topic is: its last commit is an offset of the application's own group, and beside it what the topic holds since.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::connect::{Poll, SinkContext, Source};
use crate::error::{Error, Result};

use super::KafkaTopic;
use super::client::{self, Context};
use super::rows::Held;
use super::sink::PATIENCE;

impl KafkaTopic {
    /// The transactional id, and the name of the group whose offset is the number of the last commit.
    pub(super) fn id(&self, context: &SinkContext) -> String {
        format!("{}/{}", context.app, self.topic)
    }

    /// A client for the group.
    pub(super) fn group(&self, context: &SinkContext, isolation: &str) -> Result<BaseConsumer<Context>> {
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
    pub(super) fn last(&self, group: &BaseConsumer<Context>) -> Result<Option<(u64, Held)>> {
        let name = self.name();
        let offsets = client::ask(group, &format!("can't ask for the last commit of {name}"), |_| {
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition(&self.topic, 0);
            let offsets = group.committed_offsets(offsets, PATIENCE)?;
            offsets.elements().iter().try_for_each(|offset| offset.error())?;
            Ok(offsets)
        })?;
        let elements = offsets.elements();
        match elements.first().map(|element| (element.offset(), element.metadata())) {
            Some((Offset::Offset(n), held)) => {
                let held = serde_json::from_str(held)
                    .map_err(|e| Error::data(format!("the last commit of {name} does not say what it holds")).because(e))?;
                Ok(Some((n as u64, held)))
            }
            _ => Ok(None),
        }
    }

    /// Refuses a topic that another application writes to, or another state of this one.
    pub(super) fn claim(&self, last: Option<(u64, Held)>, context: &SinkContext) -> Result<()> {
        let refuse = |what: String| {
            Err(Error::data(format!("can't write to {}: {what}", self.name()))
                .hint("Write to another topic, or go on with the state that belongs to this one."))
        };
        match last {
            Some((n, _)) if n > context.committed => {
                refuse(format!("it is at commit {n}, and the state knows {}", context.committed))
            }
            None if !self.is_empty()? => refuse("it holds records that this application did not write".to_string()),
            _ => Ok(()),
        }
    }

    /// Whether nobody sees a record in it.
    fn is_empty(&self) -> Result<bool> {
        for partition in self.partitions()? {
            let mut partition = Source::open(self, partition, None, false)?;
            loop {
                match partition.poll()? {
                    Poll::Batch(_) => return Ok(false),
                    Poll::Idle => partition.wait(PATIENCE),
                    Poll::End => break,
                };
            }
        }
        Ok(true)
    }
}
