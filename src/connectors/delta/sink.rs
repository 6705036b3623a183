//! The sink: it opens a table for a run. It creates a new table, or takes over the table of an
//! earlier run, or refuses the table.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::connect::{
    Committer, CountRows, Identity, Mode, PartFile, Recovering, Schema, Sink, SinkContext,
};
use crate::error::{Error, Result};
use crate::faults;
use crate::store::Store;
use crate::sync::lock;

use super::committer::DeltaCommitter;
use super::files::Files;
use super::index::{Index, LiveFile};
use super::layout::{FileNumbers, Layout};
use super::log::{self, Log};
use super::maintenance::Maintenance;
use super::protocol;
use super::recovery::DeltaRecovery;
use super::slots::Slots;
use super::snapshot::{self, Snapshot};
use super::state::{self, TableState};
use super::writer::DeltaWriter;

/// A Delta table, to be bound to a topic. [`Table`](super::Table) has an example with a run.
///
/// ```
/// use watershed::connect::Sink;
/// use watershed::connectors::delta::Delta;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let url = folder.path().display().to_string();
/// let table = Delta::table(&url)?.rewrite_below(0).checkpoint_every(20);
/// let table = table.target_file_size(64 << 20);
/// assert_eq!(table.describe(), format!("delta table {url}/"));
/// # Ok::<(), watershed::Error>(())
/// ```
#[derive(Clone)]
pub struct Delta {
    pub(super) store: Store,
    rewrite_below: u64,
    checkpoint_every: u64,
    target_file_size: usize,
    /// The table as the last check has read it, for an application. It need not be read again when
    /// it is opened: if there are newer versions, the run can't take it over and reads them.
    checked: Arc<Mutex<Option<(String, Snapshot)>>>,
}

impl Delta {
    /// Returns the table at `url`, a folder or a prefix of a bucket, which need not exist.
    ///
    /// # Errors
    /// When [`Store::open`] fails. For a folder whose path is another one in a URL: readers of
    /// Delta treat paths as URLs.
    pub fn table(url: &str) -> Result<Self> {
        let store = Store::open(url)?;
        if store.folder().is_some_and(|folder| !is_safe_in_url(folder)) {
            return Err(Error::config(format!(
                "can't keep a table in {url:?}: its path reads as another one in a URL"
            ))
            .hint(
                "Give a folder whose path has no %20 or the like, no backslash and no line end.",
            ));
        }
        Ok(Delta::on(store))
    }

    /// Returns the table in `store`.
    pub fn on(store: Store) -> Self {
        Delta {
            store,
            rewrite_below: faults::limit("rewrite_below", 1024),
            checkpoint_every: faults::limit("checkpoint_every", 100),
            target_file_size: 128 << 20,
            checked: Arc::default(),
        }
    }

    /// Sets the number of rows up to which a worker rewrites all of its rows, as one file, when any
    /// of them changes. The default is 1024. A worker with more than 4 MiB of values never
    /// rewrites.
    ///
    /// For 250 rows a rewrite takes 1 ms, as long as a file of the changed rows and a vector. For
    /// 1000 rows it takes 1.1 ms instead of 0.8, or 3.4 instead of 1.4 if rows are as wide as pins;
    /// for 4096 rows 2.3 or 11 ms instead of 1.2. But it leaves no files to compact and no deletion
    /// vectors: every reader of Delta can read the table while all its workers rewrite.
    #[must_use]
    pub fn rewrite_below(self, rows: u64) -> Self {
        Delta { rewrite_below: rows, ..self }
    }

    /// Writes a checkpoint of the log after this many versions. The default is 100.
    ///
    /// ```
    /// use watershed::connectors::delta::Delta;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let url = folder.path().display().to_string();
    /// // A reader reads at most ten versions behind a checkpoint.
    /// let table = Delta::table(&url)?.checkpoint_every(10);
    /// # Ok::<(), watershed::Error>(())
    /// ```
    #[must_use]
    pub fn checkpoint_every(self, versions: u64) -> Self {
        Delta { checkpoint_every: versions.max(1), ..self }
    }

    /// Sets the size in bytes at which a file is complete. The default is 128 MiB.
    ///
    /// ```
    /// use watershed::connectors::delta::Delta;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let url = folder.path().display().to_string();
    /// // Readers with little memory need small files.
    /// let table = Delta::table(&url)?.target_file_size(16 << 20);
    /// # Ok::<(), watershed::Error>(())
    /// ```
    #[must_use]
    pub fn target_file_size(self, bytes: usize) -> Self {
        Delta { target_file_size: bytes, ..self }
    }

    pub(super) fn name(&self) -> String {
        self.store.name("")
    }

    fn layout(&self, schema: &Schema, context: &SinkContext) -> Layout {
        Layout {
            schema: schema.clone(),
            generation: context.generation,
            workers: context.workers,
            target_file_size: self.target_file_size,
            rewrite_below: self.rewrite_below,
        }
    }

    /// Fails if no table can be created here.
    pub(super) fn check_empty(&self, context: &SinkContext) -> Result<()> {
        if context.committed > 0 {
            return Err(Error::data(format!("the table {} is gone", self.name()))
                .hint("Restore it, or begin anew with a new state."));
        }
        // A run that died while it created the table leaves a log without a version.
        if !self.store.list("")?.is_empty()
            || self.store.folders("")?.iter().any(|folder| folder != "_delta_log")
        {
            return Err(Error::data(format!("{} has files but is no Delta table", self.name()))
                .hint("Give an empty folder, or one that does not exist."));
        }
        Ok(())
    }

    /// Creates a table without rows, of `metadata`; `None` if another run has created one.
    fn create(&self, context: &SinkContext, metadata: &Value) -> Result<Option<Log>> {
        self.check_empty(context)?;
        self.create_table(context, metadata)
    }

    pub(super) fn create_table(
        &self,
        context: &SinkContext,
        metadata: &Value,
    ) -> Result<Option<Log>> {
        let actions = [json!({"protocol": protocol::plain()}), json!({"metaData": metadata})];
        Log::create(self.store.clone(), context, &actions)
    }

    /// Fails for a table that earlier runs of the application have not left like this.
    fn accept(&self, table: &Snapshot, schema: &Schema, context: &SinkContext) -> Result<()> {
        let (name, committed) = (self.name(), context.committed);
        let refuse = |reason: String| {
            Err(Error::data(reason)
                .hint("Give another folder, or restore the table and its state together."))
        };
        if table.id != id(schema, &context.app) {
            return refuse(format!("the table {name} was not made by this application and state"));
        }
        if protocol::may_have_vectors(&table.protocol).is_none() {
            return refuse(format!(
                "the table {name} has features that are not supported: {}",
                table.protocol
            ));
        }
        if table.columns.as_ref() != Some(&schema.columns) {
            return refuse(format!(
                "the table {name} has other columns than topic {}",
                schema.topic
            ));
        }
        if let Some(n) = table.txn.filter(|n| *n > committed) {
            return refuse(format!(
                "the table {name} is at commit {n}, and the state at commit {committed}"
            ));
        }
        if table.txn.is_none() && !table.files.is_empty() && schema.mode == Mode::Snapshot {
            return refuse(format!(
                "the table {name} has rows that this application has not written"
            ));
        }
        self.refuse_externals(table.version, schema.mode, context)
    }

    /// Fails if another program has made versions since the last commit of the application.
    /// Versions before it were checked by the run that made it.
    fn refuse_externals(&self, last: u64, mode: Mode, context: &SinkContext) -> Result<()> {
        let app = &context.app;
        for version in (0..=last).rev() {
            // The run that wrote a checkpoint and deleted older versions has checked them.
            let Some(actions) = log::read(&self.store, version)? else { break };
            let own = log::own(&actions, app);
            if own
                && log::generation(&actions)
                    .is_some_and(|generation| generation > context.generation)
            {
                return Err(log::taken_over(&self.store));
            }
            if log::commit(&actions, app).is_some() {
                break;
            }
            if !own && version > 0 {
                let before = snapshot::load(&self.store, Some(version - 1), None)?;
                let holds =
                    |path: &str| before.files.iter().any(|file| file["add"]["path"] == path);
                state::refuse_external(holds, mode, &actions, &self.name())?;
            }
        }
        Ok(())
    }
}

/// Returns true if the path of a folder stays the same when it is decoded once too often.
fn is_safe_in_url(folder: &Path) -> bool {
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let path = path.to_string_lossy();
    let escaped = |bytes: &[u8]| bytes[0] == b'%' && bytes[1..].iter().all(u8::is_ascii_hexdigit);
    !path.as_bytes().windows(3).any(escaped)
        && !path.contains(|c: char| c == '\\' || c.is_control())
}

/// Returns the table's id: the same in every run, and different for every application.
pub(super) fn id(schema: &Schema, app: &str) -> String {
    Uuid::from_u128(xxh3_128(format!("{app}\n{}", schema.topic).as_bytes())).to_string()
}

impl Delta {
    /// Takes over the table for this run, by a version of its own: no earlier run can add one after
    /// it. If there is no table, it is created, of `metadata`. Returns its log, and the table as it
    /// was before.
    fn take_over(
        &self,
        schema: &Schema,
        context: &SinkContext,
        metadata: &Value,
    ) -> Result<(Log, Option<Snapshot>)> {
        let checked = lock(&self.checked).take().filter(|(app, _)| *app == context.app);
        let mut checked = checked.map(|(_, table)| table);
        for _ in 0..log::COMMIT_ATTEMPTS {
            if self.store.list("_delta_log")?.is_empty() {
                match self.create(context, metadata)? {
                    Some(log) => return Ok((log, None)),
                    None => continue,
                }
            }
            let table = match checked.take() {
                Some(table) => table,
                None => snapshot::load(&self.store, None, Some(&context.app))?,
            };
            self.accept(&table, schema, context)?;
            let mut log =
                Log::at(self.store.clone(), context, table.version, table.txn.unwrap_or(0));
            // The run that made the last version may have died before it was durable.
            log.sync()?;
            faults::point("recovery.table.before");
            if log.fence()? {
                faults::point("recovery.table.after");
                return Ok((log, Some(table)));
            }
        }
        Err(Error::connect(format!("can't take over the table {}", self.name()))
            .hint("Another program keeps committing to this table."))
    }
}

impl Sink for Delta {
    fn describe(&self) -> String {
        format!("delta table {}", self.name())
    }

    /// Returns only the kind. The id in the table's own log identifies its owner, and is compared
    /// when the table is opened.
    fn identity(&self) -> Result<Identity> {
        Ok(Identity::new("delta table"))
    }

    fn check(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        if self.store.list("_delta_log")?.is_empty() {
            return self.check_empty(context);
        }
        let table = snapshot::load(&self.store, None, Some(&context.app))?;
        self.accept(&table, schema, context)?;
        *lock(&self.checked) = Some((context.app.clone(), table));
        Ok(())
    }

    fn can_replace(&self) -> bool {
        true
    }

    fn check_clear(&self, schema: &Schema, context: &SinkContext, replaced: &str) -> Result<()> {
        self.check_reset(schema, context, replaced)
    }

    /// Removes all files by one version of the log; earlier versions stay readable.
    fn clear(&self, schema: &Schema, context: &SinkContext, replaced: &str) -> Result<()> {
        self.reset(schema, context, replaced)
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        let layout = Arc::new(self.layout(schema, context));
        let mut numbers = FileNumbers::of(layout.workers, layout.workers);
        let mut files = Files::default();
        let metadata = protocol::metadata(&id(schema, &context.app), schema, (context.clock)());
        let (log, table) = self.take_over(schema, context, &metadata)?;
        let undeclared = match table {
            Some(table) => {
                files.apply(&self.store, &table.files, schema.mode, &mut numbers)?;
                let declared = protocol::may_have_vectors(&table.protocol) == Some(true);
                (!declared).then(|| protocol::declaration(table.metadata))
            }
            None => Some(protocol::declaration(metadata)),
        };
        let staged = BTreeSet::new();
        let table = TableState { layout, log, files, numbers, staged, undeclared };
        let maintenance = Maintenance::new(self.checkpoint_every);
        Ok(Box::new(DeltaCommitter { table, maintenance, replaces: false }))
    }

    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        let layout = Arc::new(self.layout(schema, context));
        if schema.mode == Mode::Append {
            let writer = |worker| DeltaWriter::new(layout.clone(), worker, Slots::default(), None);
            return Ok(workers.map(|w| Box::new(CountRows::before(writer(w))) as _).collect());
        }
        let Some(key) = schema.columns.get(..schema.key) else {
            return Err(Error::internal(format!(
                "the key of topic {} has more columns than a row",
                schema.topic
            )));
        };
        let files = Vec::<LiveFile>::deserialize(brief).map_err(|e| {
            Error::internal(format!("can't read the list of the files of {}", self.name()))
                .because(e)
        })?;
        let index = Arc::new(Index::new(self.store.clone(), key, context.secret, files));
        let recovery = |worker| DeltaRecovery::new(layout.clone(), worker, index.clone());
        Ok(workers.map(|worker| Box::new(recovery(worker)) as _).collect())
    }

    /// Returns false: the files of the table have the place of each key.
    fn needs_rows(&self) -> bool {
        false
    }

    fn store_files(&self, files: &[PartFile]) -> Result<()> {
        state::put_all(&self.store, files)
    }
}
