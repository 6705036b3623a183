//! The contract with the outside: [`Source`] and [`Partition`] for what comes in, [`Sink`],
//! [`Writer`] and [`Committer`] for what goes out.
//!
//! A connector answers four questions, in its `mod.rs` and in this order: what is a partition here,
//! what is a position, what does commit mean, what is guaranteed. It knows nothing of dataflows:
//! the runtime reads partitions on its own threads, gives every worker a writer, and drives one
//! committer a sink.

pub mod append;
mod identity;
pub mod memory;

pub use identity::Identity;

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::error::Result;
use crate::record::Batch;
use crate::row::{Column, Row};
use crate::secret::Secret;
use crate::store::Store;

/// A topic's records, somewhere outside. A log: numbered records in numbered partitions, the same
/// at every reading.
pub trait Source: Send + Sync {
    /// Names the log and its location for people; it holds no secret. Nothing is decided by it.
    fn describe(&self) -> String;

    /// Returns the identities of the log, one for each place that holds a part of it. A run
    /// continues only logs whose identities it recorded; more may follow. A log is known by its
    /// description unless it says otherwise.
    ///
    /// # Errors
    /// When the system that holds the log can't be reached.
    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![Identity::new(self.describe())])
    }

    /// The partitions there are now, ascending.
    ///
    /// # Errors
    /// When the log can't be listed.
    fn partitions(&self) -> Result<Vec<u32>>;

    /// Opens `partition` at offset `from`, or at the earliest there is. Without `follow` it ends
    /// after what is there now.
    ///
    /// # Errors
    /// When the partition can't be read, or doesn't reach from before `from` to it.
    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>>;

    /// The offsets there are now of `partition`, from its earliest record on up to its end; `None`
    /// if it has no records yet, or can't be told.
    ///
    /// # Errors
    /// When the log can't be asked.
    fn span(&self, _partition: u32) -> Result<Option<Range<u64>>> {
        Ok(None)
    }

    /// Told after a commit up to which offset of each partition it goes, for those who watch;
    /// nothing is ever continued from it. It does not wait.
    fn committed(&self, _ends: &BTreeMap<u32, u64>) {}

    /// What finds the offsets `ends` (by partition) again, to be kept with them in a commit. Null,
    /// of a log that numbers its records itself.
    fn remember(&self, _ends: &BTreeMap<u32, u64>) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Told, before anything is opened, what was remembered in the commit that is continued.
    ///
    /// # Errors
    /// When it is not what this source remembers.
    fn recall(&self, _memory: &serde_json::Value) -> Result<()> {
        Ok(())
    }
}

impl Source for Box<dyn Source> {
    fn describe(&self) -> String {
        (**self).describe()
    }
    fn identities(&self) -> Result<Vec<Identity>> {
        (**self).identities()
    }
    fn partitions(&self) -> Result<Vec<u32>> {
        (**self).partitions()
    }
    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        (**self).open(partition, from, follow)
    }
    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        (**self).span(partition)
    }
    fn committed(&self, ends: &BTreeMap<u32, u64>) {
        (**self).committed(ends);
    }
    fn remember(&self, ends: &BTreeMap<u32, u64>) -> serde_json::Value {
        (**self).remember(ends)
    }
    fn recall(&self, memory: &serde_json::Value) -> Result<()> {
        (**self).recall(memory)
    }
}

/// A reader of one partition. Where there are many, one thread asks several in turn.
pub trait Partition: Send {
    /// The next records, without waiting for any: at most about a megabyte, unless one record is
    /// larger, and a few thousand.
    ///
    /// # Errors
    /// When the log can't be read or is not what it was: a record is never skipped.
    fn poll(&mut self) -> Result<Poll>;

    /// Waits until there may be more, at most for `patience`, which is nothing where others share
    /// the thread. False, at once, of one that can't be told and must be asked again.
    fn wait(&mut self, _patience: Duration) -> bool {
        false
    }

    /// Bytes known to be still unread, for progress.
    fn remaining(&self) -> u64 {
        0
    }
}

/// What a [`Partition`] has.
#[derive(Debug)]
pub enum Poll {
    /// Records, at least one.
    Batch(Batch),
    /// Nothing now; more may come.
    Idle,
    /// Nothing ever again: the end of what was there when it was opened.
    End,
}

/// What a sink holds of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// At each commit exactly the rows of the table at that epoch.
    Snapshot,
    /// Every row that ever came, each once.
    Append,
}

/// What a sink is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schema {
    /// Name of the topic that is bound to the sink.
    pub topic: String,
    /// The columns of a row.
    pub columns: Vec<Column>,
    /// How many of the leading columns identify a row in [`Mode::Snapshot`].
    pub key: usize,
    /// What it holds of the collection.
    pub mode: Mode,
}

/// The run that opens a sink.
#[derive(Clone)]
pub struct SinkContext {
    /// Name of the application's incarnation, the same in every run from one state.
    pub app: String,
    /// Number of this run: greater than that of every earlier one.
    pub generation: u64,
    /// Number of the last manifest; 0 before the first.
    pub committed: u64,
    /// How many writers are needed.
    pub workers: usize,
    /// The secret of the state, the same in every run: for digests of rows that decide something.
    pub secret: Secret,
    /// Where the run keeps its state, for what a sink can't hold until it is committed; `None` if
    /// it keeps none and is never continued.
    pub staging: Option<Store>,
    /// The time now, in milliseconds since 1970.
    pub clock: std::sync::Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// A place for rows that makes them visible by numbered commits, each exactly once.
pub trait Sink: Send + Sync {
    /// Names the sink and its location for people; it holds no secret. Nothing is decided by it.
    fn describe(&self) -> String;

    /// Returns the identity of the sink, by which a later run knows it again wherever it lies. A
    /// sink is known by its description unless it says otherwise.
    ///
    /// # Errors
    /// When the system that holds it can't be reached.
    fn identity(&self) -> Result<Identity> {
        Ok(Identity::new(self.describe()))
    }

    /// Looks whether [`open`](Sink::open) would refuse the run, and changes nothing: no sink of a
    /// run is opened before all are looked at.
    ///
    /// # Errors
    /// When it can't be reached, or holds what `context` did not write.
    fn check(&self, _schema: &Schema, _context: &SinkContext) -> Result<()> {
        Ok(())
    }

    /// Opens it for a run. A fresh place is made ready; one that holds another program's rows is
    /// refused unchanged. From here on no earlier run may change where rows are.
    ///
    /// # Errors
    /// When it can't be reached, or holds what `context` did not write.
    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Opened>;
}

/// A sink that is open for a run.
pub struct Opened {
    /// One for each worker; every row identity is always handled by the same one.
    pub writers: Vec<Box<dyn Writer>>,
    /// The one that makes commits.
    pub committer: Box<dyn Committer>,
}

/// One worker's part of a sink. It runs on the worker's thread and does no input or output.
///
/// It starts *recovering*: what comes until [`recovered`](Writer::recovered) is already in the sink
/// and is only to be found there again.
pub trait Writer: Send {
    /// Puts `row` at `slot`, in place of what is there. Slots are dense, from 0; append mode
    /// ignores them.
    ///
    /// # Errors
    /// When the row can't be encoded.
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()>;

    /// Takes away the row at `slot`. Never called in append mode.
    fn remove(&mut self, slot: u32);

    /// Ends the recovery: returns how many of the sink's rows were found again.
    ///
    /// # Errors
    /// When a row is missing in the sink.
    fn recovered(&mut self) -> Result<u64>;

    /// Hands over what changed since the last call; `None` if nothing did.
    ///
    /// # Errors
    /// When the rows can't be encoded.
    fn stage(&mut self) -> Result<Option<Box<dyn Any + Send>>>;
}

/// Housekeeping that runs beside commits, on another thread; what it gives goes to
/// [`Committer::maintained`].
pub type Chore = Box<dyn FnOnce() -> Result<Box<dyn Any + Send>> + Send>;

/// Makes commits of a sink, one after the other, off the workers' threads.
pub trait Committer: Send {
    /// Told once how many rows all writers found again.
    ///
    /// # Errors
    /// When the sink holds other rows too.
    fn recovered(&mut self, rows: u64) -> Result<()>;

    /// Makes what the writers handed over durable but not visible, and returns what commit `n`
    /// consists of, for the manifest; `None` if nothing changed.
    ///
    /// # Errors
    /// When it can't be written.
    fn stage(
        &mut self,
        n: u64,
        parts: Vec<Box<dyn Any + Send>>,
    ) -> Result<Option<serde_json::Value>>;

    /// Makes commit `n` visible, exactly once, however often it is called. Its content may have
    /// been staged by an earlier run.
    ///
    /// # Errors
    /// When it can't be decided whether it is visible. Before anything is, when the content does
    /// not fit the rows of the sink.
    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()>;

    /// The housekeeping that is due, if any. It is asked for between commits, one at a time, and
    /// must be quick: what takes long is the chore, beside which commits go on. After a commit that
    /// failed, and once a newer run has begun, there is none.
    ///
    /// # Errors
    /// When it can't be told; that is reported and changes nothing.
    fn maintain(&mut self) -> Result<Option<Chore>> {
        Ok(None)
    }

    /// Takes over what a chore has done, between two commits. A chore that failed is reported, and
    /// due again.
    ///
    /// # Errors
    /// When it fails; that is reported and changes nothing.
    fn maintained(&mut self, _done: Box<dyn Any + Send>) -> Result<()> {
        Ok(())
    }

    /// Does all the housekeeping that is due here and now.
    ///
    /// # Errors
    /// When any of it fails.
    fn maintain_now(&mut self) -> Result<()> {
        while let Some(chore) = self.maintain()? {
            self.maintained(chore()?)?;
        }
        Ok(())
    }
}
