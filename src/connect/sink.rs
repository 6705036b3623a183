//! The contract of a connector that is written: rows go in, numbered commits come out.
//!
//! A sink has two kinds of parts, which may run in different processes.
//!
//! | part | how many | where |
//! |---|---|---|
//! | [`Committer`] | one a sink | in the first process, on threads that may block |
//! | [`Recovering`], then [`Writer`] | one a worker | on the worker's thread, in its process |
//!
//! Plain data crosses processes: the [brief](Committer::brief) goes to the writers; [`FoundRows`] and
//! the note of each [`Part`] go to the committer; the content of a commit goes into the manifest.
//! Rows, the state of a writer and the result of a [`MaintenanceTask`] never leave their process.
//! Whatever writers share, such as an index that is read once, they share within a process only:
//! they are told apart by the numbers of their workers, which are unique among all processes.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::{FoundRows, Identity, Part, PartFile, Recovering};
use crate::error::{Error, Result};
use crate::row::Column;
use crate::secret::Secret;
use crate::store::Store;

/// The rows of a collection that a sink holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// At each commit exactly the rows of the table at that epoch.
    Snapshot,
    /// Every row that ever came, each once.
    Append,
}

/// The shape of the rows of a sink.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schema {
    /// Name of the topic that is bound to the sink.
    pub topic: String,
    /// The columns of a row.
    pub columns: Vec<Column>,
    /// How many of the leading columns identify a row in [`Mode::Snapshot`].
    pub key: usize,
    /// The rows of the collection that it holds.
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
    /// The number of workers, and so of writers, in all processes together.
    pub workers: usize,
    /// The secret of the state, the same in every run: for digests of rows that decide something.
    pub secret: Secret,
    /// The store of the run's state, for data that a sink can't hold until it is committed; `None`
    /// if the run keeps no state and is never continued.
    pub staging: Option<Store>,
    /// The time now, in milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// A place for rows that makes them visible by numbered commits, each exactly once.
///
/// A run calls [`check`](Sink::check), [`open`](Sink::open), then [`commit`](Committer::commit) for
/// the last commit that was recorded, then [`writers`](Sink::writers). The writers recover, and
/// [`recovered`](Committer::recovered) ends the beginning.
///
/// A sink that keeps the number of rows of each commit:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::ops::Range;
/// use std::sync::{Arc, Mutex, PoisonError};
///
/// use serde_json::Value;
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connect::{
///     Committer, CountRows, FoundRows, Part, Recovering, Schema, Sink, SinkContext, Writer,
/// };
/// use watershed::prelude::*;
///
/// #[derive(Clone, Default)]
/// struct Counts(Arc<Mutex<BTreeMap<u64, u64>>>);
///
/// impl Sink for Counts {
///     fn describe(&self) -> String {
///         "row counts".into()
///     }
///     fn open(&self, _: &Schema, _: &SinkContext) -> Result<Box<dyn Committer>> {
///         Ok(Box::new(self.clone()))
///     }
///     fn writers(
///         &self,
///         _: &Schema,
///         _: &SinkContext,
///         _brief: &Value,
///         workers: Range<usize>,
///     ) -> Result<Vec<Box<dyn Recovering>>> {
///         Ok(workers.map(|_| Box::new(CountRows::before(Counter(0))) as _).collect())
///     }
/// }
///
/// struct Counter(u64);
///
/// impl Writer for Counter {
///     fn insert(&mut self, _slot: u32, _row: &dyn Row) -> Result<()> {
///         self.0 += 1;
///         Ok(())
///     }
///     fn remove(&mut self, _slot: u32) {}
///     fn stage(&mut self) -> Result<Option<Part>> {
///         Part::new(&std::mem::take(&mut self.0), &[]).map(Some)
///     }
/// }
///
/// impl Committer for Counts {
///     fn recovered(&mut self, _: FoundRows) -> Result<()> {
///         Ok(())
///     }
///     fn stage(&mut self, _n: u64, parts: Vec<Part>) -> Result<Option<Value>> {
///         let counts = parts.iter().map(|part| Ok(part.read::<u64>()?.0));
///         counts.sum::<Result<u64>>().map(|rows| Some(rows.into()))
///     }
///     fn commit(&mut self, n: u64, content: &Value) -> Result<()> {
///         // A repeated commit changes nothing.
///         let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         counts.insert(n, content.as_u64().unwrap_or_default());
///         Ok(())
///     }
/// }
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder| {
///     let records = builder.stream("in", Consumed::with(Utf8, Utf8));
///     records.to("out", Produced::columns(["key", "value"]));
/// });
/// let (log, counts) = (MemoryLog::default(), Counts::default());
/// log.append(0, Some(b"a"), Some(b"first"));
/// log.append(0, Some(b"a"), Some(b"second"));
/// Streams::new(topology).source("in", log).sink("out", counts.clone()).run(Config::default())?;
/// let counts = counts.0.lock().unwrap_or_else(PoisonError::into_inner);
/// assert_eq!(counts.values().sum::<u64>(), 2);
/// # Ok::<(), Error>(())
/// ```
pub trait Sink: Send + Sync {
    /// Names the sink and its location for people; it holds no secret. Nothing is decided by it.
    fn describe(&self) -> String;

    /// Returns the identity of the sink, by which a later run recognises it in any location. By
    /// default this is its description.
    ///
    /// # Errors
    /// When the system that holds it can't be reached.
    fn identity(&self) -> Result<Identity> {
        Ok(Identity::new(self.describe()))
    }

    /// Fails if [`open`](Sink::open) would refuse the run, and changes nothing. All sinks of a run
    /// are checked before the first is opened.
    ///
    /// # Errors
    /// When it can't be reached, or holds data that `context` did not write.
    fn check(&self, _schema: &Schema, _context: &SinkContext) -> Result<()> {
        Ok(())
    }

    /// Opens it for a run, in the process that commits. A fresh place is made ready; one that holds
    /// another program's rows is refused unchanged. From here on no earlier run may move rows.
    ///
    /// # Errors
    /// When it can't be reached, or holds data that `context` did not write.
    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>>;

    /// Makes the writers of one process, in the order of `workers`: the numbers of its workers
    /// among all [`SinkContext::workers`]. `brief` is that of the committer.
    ///
    /// Names that outlive a worker, such as those of files, are made of its number and the run's
    /// generation, so that no two writers of any process make the same.
    ///
    /// # Errors
    /// When the brief can't be read.
    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>>;

    /// Makes files of parts durable, in a process that does not commit. The notes of these parts
    /// then go to the committer without files. By default a sink has no place for files.
    ///
    /// # Errors
    /// When one can't be written.
    fn store_files(&self, files: &[PartFile]) -> Result<()> {
        match files.first() {
            None => Ok(()),
            Some(file) => Err(Error::internal(format!(
                "can't store {}: {} has no place for files",
                file.name,
                self.describe()
            ))),
        }
    }
}

/// Maintenance of a sink that runs beside commits, on another thread of the committer's process.
/// Its result goes to [`Committer::maintained`] and never leaves that process.
pub type MaintenanceTask = Box<dyn FnOnce() -> Result<Box<dyn Any + Send>> + Send>;

/// The part of a sink that makes commits, one after the other, off the workers' threads.
pub trait Committer: Send {
    /// Returns the data that the writers of any process need to recover. It is called once, after
    /// the last commit that was recorded is visible. By default there is none.
    ///
    /// # Errors
    /// When it can't be made.
    fn brief(&mut self) -> Result<Value> {
        Ok(Value::Null)
    }

    /// Compares the rows that all writers together have found with those of the sink. Called once.
    ///
    /// # Errors
    /// When the sink holds other rows too.
    fn recovered(&mut self, found: FoundRows) -> Result<()>;

    /// Makes the parts of the writers durable but not visible, and returns the content of commit
    /// `n` for the manifest; `None` if nothing changed.
    ///
    /// # Errors
    /// When it can't be written.
    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<Value>>;

    /// Makes commit `n` visible, exactly once, however often it is called. Its content may have
    /// been staged by an earlier run.
    ///
    /// # Errors
    /// When it can't be decided whether it is visible. Before anything is, when the content does
    /// not fit the rows of the sink.
    fn commit(&mut self, n: u64, content: &Value) -> Result<()>;

    /// Returns the maintenance that is due, if any. It is requested between commits, one task at a
    /// time. The call is quick: long work belongs in the task, beside which commits go on. After a
    /// commit that failed, and once a newer run has begun, none is requested.
    ///
    /// # Errors
    /// When that can't be decided; the error is logged and changes nothing.
    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        Ok(None)
    }

    /// Takes over the result of a task, between two commits. A task that failed is logged, and is
    /// due again.
    ///
    /// # Errors
    /// When it fails; the error is logged and changes nothing.
    fn maintained(&mut self, _result: Box<dyn Any + Send>) -> Result<()> {
        Ok(())
    }

    /// Does all the maintenance that is due here and now.
    ///
    /// # Errors
    /// When any of it fails.
    fn maintain_now(&mut self) -> Result<()> {
        while let Some(task) = self.maintain()? {
            self.maintained(task()?)?;
        }
        Ok(())
    }
}
