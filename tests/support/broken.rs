//! Topics in memory that fail at a chosen call, like a process that dies there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{
    Committer, FoundRows, Part, Partition, Poll, Recovering, Schema, Sink, SinkContext, Source,
};
use watershed::record::Batch;
use watershed::{Error, Result};

/// Fails at one call and at every later one.
#[derive(Clone)]
pub(crate) struct Fuse {
    left: Arc<AtomicI64>,
    late: bool,
}

impl Fuse {
    /// Never fails.
    pub(crate) fn sound() -> Self {
        Fuse { left: Arc::new(i64::MAX.into()), late: false }
    }

    /// Fails at call number `call`, counted from 1. The failing call has no effect, or, if `late`,
    /// its full effect and a lost result.
    pub(crate) fn at(call: i64, late: bool) -> Self {
        Fuse { left: Arc::new((call - 1).into()), late }
    }

    /// Fails at the next call.
    pub(crate) fn blow(&self) {
        self.left.store(-1, Ordering::SeqCst);
    }

    /// Returns true once a call has failed.
    pub(crate) fn broken(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    pub(crate) fn call<T>(&self, what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 0 || (left == 0 && self.late) {
            let done = act()?;
            if left > 0 {
                return Ok(done);
            }
        }
        Err(Error::connect(format!("{what} broke")))
    }
}

/// The highest position ever read of each partition.
pub(crate) type Seen = Arc<Mutex<BTreeMap<u32, u64>>>;

/// A log in memory that returns small batches. It pauses before each new batch, so that a run makes
/// several commits.
pub(crate) struct Log {
    pub(crate) name: String,
    pub(crate) log: MemoryLog,
    pub(crate) batch: u64,
    pub(crate) seen: Seen,
    pub(crate) fuse: Fuse,
}

impl Source for Log {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        self.fuse.call("partitions", || self.log.partitions())
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let (batch, seen, fuse) = (self.batch, self.seen.clone(), self.fuse.clone());
        self.fuse.call("open", || {
            let inner = self.log.open(partition, from, follow)?;
            Ok(Box::new(Pieces { inner, rest: None, partition, batch, seen, paused: false, fuse })
                as _)
        })
    }
}

struct Pieces {
    inner: Box<dyn Partition>,
    rest: Option<Batch>,
    partition: u32,
    batch: u64,
    seen: Seen,
    paused: bool,
    fuse: Fuse,
}

impl Partition for Pieces {
    fn poll(&mut self) -> Result<Poll> {
        let fuse = self.fuse.clone();
        fuse.call("poll", || {
            let mut piece = match self.rest.take() {
                Some(rest) => rest,
                None => match self.inner.poll()? {
                    Poll::Batch(batch) => batch,
                    other => return Ok(other),
                },
            };
            let mut seen = self.seen.lock().unwrap();
            let reached = seen.entry(self.partition).or_default();
            if piece.first >= *reached && !std::mem::replace(&mut self.paused, true) {
                self.rest = Some(piece);
                return Ok(Poll::Idle);
            }
            self.paused = false;
            if piece.next > piece.first + self.batch {
                self.rest = Some(piece.split_off(piece.first + self.batch));
            }
            *reached = piece.next.max(*reached);
            Ok(Poll::Batch(piece))
        })
    }
}

/// A table in memory.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) table: MemoryTable,
    pub(crate) fuse: Fuse,
}

impl Sink for Table {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn check_clear(&self, schema: &Schema, context: &SinkContext, replaced: &str) -> Result<()> {
        self.fuse.call("check_clear", || self.table.check_clear(schema, context, replaced))
    }

    fn clear(&self, schema: &Schema, context: &SinkContext, replaced: &str) -> Result<()> {
        self.fuse.call("clear", || self.table.clear(schema, context, replaced))
    }

    fn can_replace(&self) -> bool {
        self.table.can_replace()
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        let inner = self.fuse.call("open", || self.table.open(schema, context))?;
        Ok(Box::new(Breaking { inner, fuse: self.fuse.clone() }))
    }

    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &serde_json::Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        self.fuse.call("writers", || self.table.writers(schema, context, brief, workers))
    }
}

struct Breaking {
    inner: Box<dyn Committer>,
    fuse: Fuse,
}

impl Committer for Breaking {
    fn replace(&mut self) -> Result<()> {
        self.fuse.call("replace", || self.inner.replace())
    }

    fn brief(&mut self) -> Result<serde_json::Value> {
        self.fuse.call("brief", || self.inner.brief())
    }

    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        self.fuse.call("recovered", || self.inner.recovered(found))
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<serde_json::Value>> {
        self.fuse.call("stage", || self.inner.stage(n, parts))
    }

    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()> {
        self.fuse.call("commit", || self.inner.commit(n, content))
    }
}
