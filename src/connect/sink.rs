//! The contract of a connector that is written: rows go in, numbered commits come out.
//!
//! A sink has two kinds of parts, which may run in different processes.
//!
//! | part | how many | where |
//! |---|---|---|
//! | [`Committer`] | one a sink | in the first process, on threads that may block |
//! | [`Recovering`], then [`Writer`] | one a worker | on the worker's thread, in its process |
//!
//! Plain data crosses processes. The [brief](Committer::brief) goes to the writers. [`FoundRows`]
//! and the note of each [`Part`] go to the committer. The content of a commit goes into the
//! manifest. Rows, the state of a writer and the result of a [`MaintenanceTask`] never leave their
//! process. Writers share data, such as an index that is read once, only within a process. The
//! numbers of their workers, which are unique among all processes, tell them apart.

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
    /// At each commit, exactly the rows of the table at that epoch.
    Snapshot,
    /// All rows that were ever written, each once.
    Append,
}

/// The columns of a sink's rows.
///
/// ```
/// use watershed::connect::{Mode, Schema};
/// use watershed::row::{Column, ColumnType};
///
/// let column = |name: &str, ty| Column { name: name.into(), ty, nullable: false };
/// let schema = Schema {
///     topic: "count".into(),
///     columns: vec![column("word", ColumnType::Text), column("n", ColumnType::Long)],
///     key: 1,
///     mode: Mode::Snapshot,
/// };
/// assert_eq!(schema.columns[..schema.key], [column("word", ColumnType::Text)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schema {
    /// Name of the topic that is bound to the sink.
    pub topic: String,
    /// The columns of a row.
    pub columns: Vec<Column>,
    /// The number of leading columns that identify a row in [`Mode::Snapshot`].
    pub key: usize,
    /// The rows of the collection that the sink holds.
    pub mode: Mode,
}

/// The run that opens a sink. [`Committer`] has an example.
#[derive(Clone)]
pub struct SinkContext {
    /// Name of the application, unique to the state: every run from the state has the same name.
    pub app: String,
    /// Number of this run: greater than that of every earlier one.
    pub generation: u64,
    /// Number of the last manifest; 0 before the first.
    pub committed: u64,
    /// The number of workers, and so of writers, in all processes together.
    pub workers: usize,
    /// The secret of the state, the same in every run. It keys digests of rows that decide
    /// something.
    pub secret: Secret,
    /// The store of the run's state, for data that a sink can't hold until it is committed. `None`
    /// if the run keeps no state and is never continued.
    pub staging: Option<Store>,
    /// Returns the current time, in milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// A destination of rows, which makes them visible by numbered commits, each exactly once.
///
/// A run calls [`check`](Sink::check), [`open`](Sink::open), then [`commit`](Committer::commit) for
/// the last commit that was recorded, then [`writers`](Sink::writers). The writers recover, and
/// [`recovered`](Committer::recovered) ends the start of the run. If it resets the state, it calls
/// [`check_clear`](Sink::check_clear) instead of the check, and [`clear`](Sink::clear) before it
/// opens the sink.
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

    /// Fails if [`clear`](Sink::clear) would refuse, and changes nothing. All sinks are checked
    /// before the state is reset. By default a sink can't take back its rows, and refuses.
    ///
    /// # Errors
    /// When the sink can't be emptied, can't be reached, or holds rows of another application than
    /// `context` and `replaced`.
    fn check_clear(&self, _schema: &Schema, _context: &SinkContext, _replaced: &str) -> Result<()> {
        Err(Error::config(format!("can't reset the state: {} can't be emptied", self.describe()))
            .hint("Bind a sink at another place, or use another state and empty tables."))
    }

    /// Removes all rows of the application `replaced`, because the state was reset. From here on
    /// the sink belongs to the application of `context`, and is empty at its
    /// [`committed`](SinkContext::committed). It is called before [`open`](Sink::open), and again
    /// after a crash, by any later run, until a commit is made. A repetition changes nothing. A run
    /// of the replaced application can't add rows any more.
    ///
    /// # Errors
    /// Those of [`check_clear`](Sink::check_clear). When it is unknown whether the sink is empty.
    fn clear(&self, schema: &Schema, context: &SinkContext, replaced: &str) -> Result<()> {
        self.check_clear(schema, context, replaced)
    }

    /// Returns true if one commit can replace all rows of the sink by others:
    /// [`Committer::replace`]. By default it can't.
    fn can_replace(&self) -> bool {
        false
    }

    /// Opens the sink for a run, in the process that commits. A fresh place is made ready; one that
    /// holds rows of another program is refused unchanged. From here on no earlier run may move
    /// rows.
    ///
    /// # Errors
    /// When it can't be reached, or holds data that `context` did not write.
    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>>;

    /// Makes the writers of one process, in the order of `workers`: the numbers of its workers
    /// among all [`SinkContext::workers`]. `brief` is that of the committer.
    ///
    /// Names that outlive a worker, such as those of files, contain its number and the run's
    /// generation, so that no two writers of any process use the same name.
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

    /// Returns true if writers need whole rows to recover a table. Otherwise the keys are enough,
    /// because the sink finds its own rows by them; [`Recovering::restore`] receives them.
    ///
    /// A run keeps in its state what its sinks need, so whole rows cost more. By default a sink
    /// needs whole rows. In append mode the answer has no effect: no sink needs its earlier rows.
    fn needs_rows(&self) -> bool {
        true
    }

    /// Stores the files of parts durably, in a process that does not commit. The notes of these
    /// parts then go to the committer without files. By default a sink has no folder for files.
    ///
    /// # Errors
    /// When a file can't be stored.
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
///
/// ```
/// use watershed::connect::MaintenanceTask;
///
/// let task: MaintenanceTask = Box::new(|| Ok(Box::new("part-3".to_string())));
/// let merged = task()?.downcast::<String>().expect("the committer knows its own results");
/// assert_eq!(*merged, "part-3");
/// # Ok::<(), watershed::Error>(())
/// ```
pub type MaintenanceTask = Box<dyn FnOnce() -> Result<Box<dyn Any + Send>> + Send>;

/// The part of a sink that makes commits, one after the other, off the workers' threads.
///
/// A sink from its start to its first commit, with one writer:
///
/// ```
/// use std::sync::Arc;
///
/// use watershed::Secret;
/// use watershed::connect::memory::MemoryTable;
/// use watershed::connect::{Mode, Recovered, Schema, Sink, SinkContext};
/// use watershed::row::{Column, ColumnType, Value};
///
/// let columns = ["word", "translation"]
///     .map(|name| Column { name: name.into(), ty: ColumnType::Text, nullable: false });
/// let schema =
///     Schema { topic: "words".into(), columns: columns.into(), key: 1, mode: Mode::Snapshot };
/// let context = SinkContext {
///     app: "words-1".into(),
///     generation: 1,
///     committed: 0,
///     workers: 1,
///     secret: Secret::new(*b"0123456789abcdef"),
///     staging: None,
///     clock: Arc::new(|| 0),
/// };
/// let table = MemoryTable::default();
/// let mut committer = table.open(&schema, &context)?;
/// let brief = committer.brief()?;
///
/// let recovering = table.writers(&schema, &context, &brief, 0..1)?;
/// let (mut writers, found) = Recovered::of_all(recovering)?;
/// committer.recovered(found)?; // no rows yet
///
/// writers[0].insert(0, &("eins".to_string(), "one".to_string()))?;
/// let parts = writers[0].stage()?.into_iter().collect();
/// let content = committer.stage(1, parts)?.expect("a row has changed");
/// assert!(table.rows().is_empty()); // staged, not visible
/// committer.commit(1, &content)?;
/// committer.commit(1, &content)?; // a repetition changes nothing
/// assert_eq!(table.rows(), [["eins", "one"].map(|word| Value::Text(word.into()))]);
/// # Ok::<(), watershed::Error>(())
/// ```
pub trait Committer: Send {
    /// Returns the data that the writers of any process need to recover. It is called once, after
    /// the last recorded commit has become visible. By default it returns null.
    ///
    /// # Errors
    /// When the data can't be read.
    fn brief(&mut self) -> Result<Value> {
        Ok(Value::Null)
    }

    /// Lets the next commit replace all rows of the sink, because other steps make its rows now. It
    /// is called before [`brief`](Self::brief), and only if the sink [can](Sink::can_replace) do
    /// it. From here on the writers find no rows. The next call of [`stage`](Self::stage) returns a
    /// content that removes the earlier rows, also if it gets no parts. Until that is visible the
    /// earlier rows stay.
    ///
    /// # Errors
    /// When it is impossible.
    fn replace(&mut self) -> Result<()> {
        Err(Error::internal("this sink can't replace its rows"))
    }

    /// Compares the rows that all writers together have recovered with those of the sink. It is
    /// called once.
    ///
    /// # Errors
    /// When the sink holds more or other rows.
    fn recovered(&mut self, found: FoundRows) -> Result<()>;

    /// Makes the parts of the writers durable but not visible. Returns the content of commit `n`
    /// for the manifest; `None` if nothing changed.
    ///
    /// # Errors
    /// When a part can't be written.
    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<Value>>;

    /// Makes commit `n` visible, exactly once, however often it is called. An earlier run may have
    /// staged its content.
    ///
    /// # Errors
    /// When it is unknown whether the commit is visible. When the content does not fit the rows of
    /// the sink; then nothing has become visible.
    fn commit(&mut self, n: u64, content: &Value) -> Result<()>;

    /// Returns the maintenance that is due, if any. The runtime requests one task at a time,
    /// between commits. The call must be quick: long work belongs in the task, beside which commits
    /// go on. After a failed commit, and once a newer run has begun, the runtime requests no more
    /// tasks.
    ///
    /// # Errors
    /// When the due maintenance can't be determined; the error is logged and changes nothing.
    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        Ok(None)
    }

    /// Receives the result of a task, between two commits. A task that failed is logged, and is due
    /// again.
    ///
    /// # Errors
    /// When the result can't be used; the error is logged and changes nothing.
    fn maintained(&mut self, _result: Box<dyn Any + Send>) -> Result<()> {
        Ok(())
    }

    /// Performs all due maintenance immediately.
    ///
    /// # Errors
    /// When a task fails.
    fn maintain_now(&mut self) -> Result<()> {
        while let Some(task) = self.maintain()? {
            self.maintained(task()?)?;
        }
        Ok(())
    }
}
