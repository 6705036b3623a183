//! Opens a table for a run: makes a fresh one, or takes over what an earlier run left, or refuses.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::connect::{
    Committer, CountRows, Identity, Mode, PartFile, Recovering, Schema, Sink, SinkContext,
};
use crate::error::{Error, Result};
use crate::store::Store;

use super::committer::{self, DeltaCommitter};
use super::files::Files;
use super::index::{Index, Living};
use super::layout::{FileNumbers, Layout};
use super::log::{self, Log};
use super::maintenance::Maintenance;
use super::protocol;
use super::recovery::DeltaRecovery;
use super::slots::Slots;
use super::snapshot::{self, Snapshot};
use super::writer::DeltaWriter;

/// A Delta table, to be bound to a topic.
#[derive(Clone)]
pub struct Delta {
    store: Store,
    rewrite_below: u64,
    checkpoint_every: u64,
    target_file_size: usize,
}

impl Delta {
    /// The table at `url`, a folder or a prefix of a bucket, which need not exist.
    ///
    /// # Errors
    /// When [`Store::open`] fails, and for a folder in which readers, which take paths for URLs,
    /// would look for another one.
    pub fn table(url: &str) -> Result<Self> {
        let store = Store::open(url)?;
        if store.folder().is_some_and(|folder| !legible(folder)) {
            return Err(Error::config(format!(
                "can't keep a table in {url:?}: its path reads as another one in a URL"
            ))
            .hint(
                "Give a folder whose path has no %20 or the like, no backslash and no line end.",
            ));
        }
        Ok(Delta::on(store))
    }

    /// The table in `store`.
    pub fn on(store: Store) -> Self {
        Delta { store, rewrite_below: 1024, checkpoint_every: 100, target_file_size: 128 << 20 }
    }

    /// A worker that has at most this many rows, and no more than 4 MiB of values, writes all of
    /// them to one file whenever one changes; 1024 unless told.
    ///
    /// For 250 rows this costs what a file of the changed rows and a vector cost, 1 ms; for 1000 it
    /// is 1.1 ms against 0.8, or 3.4 against 1.4 if rows are as wide as pins; for 4096, 2.3 or 11
    /// against 1.2. But it leaves no files to compact, and no deletion vectors: every reader of
    /// Delta can read the table as long as all its workers do so.
    #[must_use]
    pub fn rewrite_below(self, rows: u64) -> Self {
        Delta { rewrite_below: rows, ..self }
    }

    /// Sums the log up after this many versions; 100 unless told.
    #[must_use]
    pub fn checkpoint_every(self, versions: u64) -> Self {
        Delta { checkpoint_every: versions.max(1), ..self }
    }

    /// Begins another file when one has this many bytes; 128 MiB unless told.
    #[must_use]
    pub fn target_file_size(self, bytes: usize) -> Self {
        Delta { target_file_size: bytes, ..self }
    }

    fn name(&self) -> String {
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

    /// Refuses a place where no table can be begun.
    fn vacant(&self, context: &SinkContext) -> Result<()> {
        if context.committed > 0 {
            return Err(Error::data(format!("the table {} is gone", self.name()))
                .hint("Restore it, or start again with a new state."));
        }
        // A run that died as it made the table leaves a log without a version.
        if !self.store.list("")?.is_empty()
            || self.store.folders("")?.iter().any(|folder| folder != "_delta_log")
        {
            return Err(Error::data(format!("{} has files but is no Delta table", self.name()))
                .hint("Give an empty folder, or one that does not exist."));
        }
        Ok(())
    }

    /// Makes a table of no rows where nothing is, of `metadata`; `None` if there is one by now.
    fn create(&self, context: &SinkContext, metadata: &Value) -> Result<Option<Log>> {
        self.vacant(context)?;
        let actions = [json!({"protocol": protocol::plain()}), json!({"metaData": metadata})];
        Log::create(self.store.clone(), context, &actions)
    }

    /// Refuses a table that is not what earlier runs of the application have left.
    fn accept(&self, table: &Snapshot, schema: &Schema, context: &SinkContext) -> Result<()> {
        let (name, committed) = (self.name(), context.committed);
        let refuse = |what: String| {
            Err(Error::data(what)
                .hint("Give another folder, or restore the table and its state together."))
        };
        if table.id != id(schema, context) {
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
                "the table {name} is at commit {n}, and the state knows {committed}"
            ));
        }
        if table.txn.is_none() && !table.files.is_empty() && schema.mode == Mode::Snapshot {
            return refuse(format!(
                "the table {name} has rows that this application has not written"
            ));
        }
        self.refuse_externals(table.version, schema.mode, context)
    }

    /// Refuses versions of another program since the last commit of the application. Those before
    /// it were checked by the run that made it.
    fn refuse_externals(&self, last: u64, mode: Mode, context: &SinkContext) -> Result<()> {
        let app = &context.app;
        for version in (0..=last).rev() {
            // The run that summed up and deleted older versions has checked them.
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
                committer::refuse_external(holds, mode, &actions, &self.name())?;
            }
        }
        Ok(())
    }
}

/// Returns true if the path of a folder stays the same when it is decoded once too often.
fn legible(folder: &Path) -> bool {
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let path = path.to_string_lossy();
    let escaped = |bytes: &[u8]| bytes[0] == b'%' && bytes[1..].iter().all(u8::is_ascii_hexdigit);
    !path.as_bytes().windows(3).any(escaped)
        && !path.contains(|c: char| c == '\\' || c.is_control())
}

/// The table's id: the same in every run, and no other application's.
fn id(schema: &Schema, context: &SinkContext) -> String {
    Uuid::from_u128(xxh3_128(format!("{}\n{}", context.app, schema.topic).as_bytes())).to_string()
}

impl Delta {
    /// Makes the table this run's, by a version of its own: no earlier run can add one after it. A
    /// table that is absent is created, of `metadata`. Returns its log, and the table as it was
    /// before.
    fn take_over(
        &self,
        schema: &Schema,
        context: &SinkContext,
        metadata: &Value,
    ) -> Result<(Log, Option<Snapshot>)> {
        for _ in 0..log::TRIES {
            if self.store.list("_delta_log")?.is_empty() {
                match self.create(context, metadata)? {
                    Some(log) => return Ok((log, None)),
                    None => continue,
                }
            }
            let table = snapshot::load(&self.store, None, Some(&context.app))?;
            self.accept(&table, schema, context)?;
            let mut log =
                Log::at(self.store.clone(), context, table.version, table.txn.unwrap_or(0));
            // It was read, and the run that made it may have died before it was durable.
            log.sync()?;
            if log.fence()? {
                return Ok((log, Some(table)));
            }
        }
        Err(Error::connect(format!("can't take over the table {}", self.name()))
            .hint("Something else commits to this table all the time."))
    }
}

impl Sink for Delta {
    fn describe(&self) -> String {
        format!("delta table {}", self.name())
    }

    /// Says the kind alone: the id in the table's own log tells whose it is, and is compared when
    /// the table is opened.
    fn identity(&self) -> Result<Identity> {
        Ok(Identity::new("delta table"))
    }

    fn check(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        if self.store.list("_delta_log")?.is_empty() {
            return self.vacant(context);
        }
        self.accept(&snapshot::load(&self.store, None, Some(&context.app))?, schema, context)
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        let layout = Arc::new(self.layout(schema, context));
        let mut numbers = FileNumbers::of(layout.workers, layout.workers);
        let mut files = Files::default();
        let metadata = protocol::metadata(&id(schema, context), schema, (context.clock)());
        let (log, table) = self.take_over(schema, context, &metadata)?;
        let undeclared = match table {
            Some(table) => {
                files.apply(&self.store, &table.files, schema.mode, &mut numbers)?;
                let declared = protocol::may_have_vectors(&table.protocol) == Some(true);
                (!declared).then(|| protocol::declaration(table.metadata))
            }
            None => Some(protocol::declaration(metadata)),
        };
        let (maintenance, staged) = (Maintenance::new(self.checkpoint_every), BTreeSet::new());
        Ok(Box::new(DeltaCommitter {
            layout,
            log,
            files,
            numbers,
            staged,
            undeclared,
            maintenance,
        }))
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
        let files = Vec::<Living>::deserialize(brief).map_err(|e| {
            Error::internal(format!("can't read the list of the files of {}", self.name()))
                .because(e)
        })?;
        let index = Arc::new(Index::new(self.store.clone(), key, context.secret, files));
        let recovery = |worker| DeltaRecovery::new(layout.clone(), worker, index.clone());
        Ok(workers.map(|worker| Box::new(recovery(worker)) as _).collect())
    }

    fn store_files(&self, files: &[PartFile]) -> Result<()> {
        committer::put_all(&self.store, files)
    }
}
