//! The logs and tables of a world, whose calls are turns of the simulation.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use watershed::Result;
use watershed::connect::memory::MemoryLog;
use watershed::connect::{
    Committer, FoundRows, Identity, MaintenanceTask, Part, Partition, Poll, Recovering, Schema,
    Sink, SinkContext, Source,
};
use watershed::record::Batch;
use watershed::simulation::{draw, point};

use super::world::World;

/// The most records of a batch.
const BATCH: u64 = 4;

/// A log that returns batches of a few records.
pub(super) struct Log(pub(super) MemoryLog);

impl Source for Log {
    fn describe(&self) -> String {
        "log".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        point("partitions", &[]);
        self.0.partitions()
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        point("open", &[]);
        let inner = self.0.open(partition, from, follow)?;
        Ok(Box::new(Pieces { inner, rest: None }))
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        self.0.span(partition)
    }
}

struct Pieces {
    inner: Box<dyn Partition>,
    rest: Option<Batch>,
}

impl Partition for Pieces {
    fn poll(&mut self) -> Result<Poll> {
        point("poll", &[]);
        if draw(8) == 0 {
            return Ok(Poll::Idle);
        }
        let mut piece = match self.rest.take() {
            Some(rest) => rest,
            None => match self.inner.poll()? {
                Poll::Batch(batch) => batch,
                other => return Ok(other),
            },
        };
        let end = piece.first + 1 + draw(BATCH);
        if piece.next > end {
            self.rest = Some(piece.split_off(end));
        }
        Ok(Poll::Batch(piece))
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.rest.is_some() || self.inner.wait(timeout)
    }
}

/// A table whose rows are compared after each commit.
pub(super) struct Table {
    pub(super) topic: &'static str,
    pub(super) table: Box<dyn Sink>,
    pub(super) world: Arc<World>,
}

impl Sink for Table {
    fn describe(&self) -> String {
        format!("table {}", self.topic)
    }

    fn identity(&self) -> Result<Identity> {
        self.table.identity()
    }

    fn check(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        self.table.check(schema, context)
    }

    fn needs_rows(&self) -> bool {
        self.table.needs_rows()
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        point("open a sink", &[]);
        let inner = self.table.open(schema, context)?;
        Ok(Box::new(Watched { inner, topic: self.topic, world: self.world.clone() }))
    }

    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &serde_json::Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        self.table.writers(schema, context, brief, workers)
    }
}

struct Watched {
    inner: Box<dyn Committer>,
    topic: &'static str,
    world: Arc<World>,
}

impl Committer for Watched {
    fn brief(&mut self) -> Result<serde_json::Value> {
        self.inner.brief()
    }

    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        point("recovered", &[]);
        self.inner.recovered(found)
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<serde_json::Value>> {
        point("stage", &[]);
        let staged = self.inner.stage(n, parts)?;
        point("stage, done", &[]);
        Ok(staged)
    }

    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()> {
        point("show", &[]);
        self.inner.commit(n, content)?;
        self.world.check_table(self.topic);
        point("show, done", &[]);
        Ok(())
    }

    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        self.inner.maintain()
    }

    fn maintained(&mut self, result: Box<dyn Any + Send>) -> Result<()> {
        self.inner.maintained(result)
    }
}
