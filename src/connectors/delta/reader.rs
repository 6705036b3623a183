//! A reader of a table: the rows at its last version, or at a commit.

use crate::connect::Mode;
use crate::error::{Advice, Error, Result};
use crate::row::{Column, Value};
use crate::store::Store;

use super::files::Files;
use super::layout::FileNumbers;
use super::rows::{self, Cells};
use super::{log, snapshot};

/// A Delta table at a version, for reading.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connectors::delta::{Delta, Table};
/// use watershed::prelude::*;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = |name: &str| folder.path().join(name).display().to_string();
/// # let (url, state) = (path("count"), Store::open(&path("state"))?);
/// let topology = Topology::new("words", |builder: &StreamsBuilder| {
///     let words = builder.table("word", Consumed::with(Utf8, Utf8));
///     let count = words.group_by(|_, word| (word.clone(), ())).count();
///     count.to("count", Produced::columns(["word", "n"]));
/// });
/// let log = MemoryLog::default();
/// log.append(0, Some(b"1"), Some(b"river"));
/// log.append(0, Some(b"2"), Some(b"river"));
/// let config = Config { state: Some(state), ..Config::default() };
/// Streams::new(topology).source("word", log).sink("count", Delta::table(&url)?).run(config)?;
///
/// let table = Table::open(&url)?;
/// let mut rows = Vec::new();
/// table.for_each(&mut |row| {
///     rows.push(row.to_vec());
///     Ok(())
/// })?;
/// assert_eq!(rows, [[Value::Text("river".into()), Value::Long(2)]]);
/// assert_eq!(table.manifest(), Some(1));
/// assert_eq!(Table::at_version(&url, table.version())?.manifest(), Some(1));
/// # Ok::<(), Error>(())
/// ```
pub struct Table {
    store: Store,
    version: u64,
    manifest: Option<u64>,
    columns: Vec<Column>,
    files: Files,
}

impl Table {
    /// Opens the table at `url` at its last version.
    ///
    /// # Errors
    /// When there is no table, or it can't be read.
    pub fn open(url: &str) -> Result<Table> {
        Table::on(Store::open(url)?)
    }

    /// Opens the table in `store` at its last version.
    ///
    /// # Errors
    /// When there is no table, or it can't be read.
    pub fn on(store: Store) -> Result<Table> {
        Table::at(store, None)
    }

    /// Opens the table at `url` as it was when manifest `n` was the last one; `None` if there is no
    /// table.
    ///
    /// ```
    /// use watershed::connect::memory::MemoryLog;
    /// use watershed::connectors::delta::{Delta, Table};
    /// use watershed::prelude::*;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = |name: &str| folder.path().join(name).display().to_string();
    /// # let (url, state) = (path("title"), Store::open(&path("state"))?);
    /// let topology = Topology::new("copy", |builder: &StreamsBuilder| {
    ///     let titles = builder.table("pin", Consumed::with(Utf8, Utf8));
    ///     titles.to("title", Produced::columns(["id", "title"]));
    /// });
    /// let log = MemoryLog::default();
    /// for title in ["A river", "A lake"] {
    ///     log.append(0, Some(b"7"), Some(title.as_bytes()));
    ///     let config = Config { state: Some(state.clone()), ..Config::default() };
    ///     let streams = Streams::new(topology.clone()).source("pin", log.clone());
    ///     streams.sink("title", Delta::table(&url)?).run(config)?;
    /// }
    /// let titles = |table: Table| {
    ///     let mut titles = Vec::new();
    ///     table.for_each(&mut |row| {
    ///         titles.push(row[1].clone());
    ///         Ok(())
    ///     })?;
    ///     Ok::<_, Error>(titles)
    /// };
    /// assert_eq!(titles(Table::open(&url)?)?, [Value::Text("A lake".into())]);
    /// let earlier = Table::as_of(&url, 1)?.expect("there is a table");
    /// assert_eq!(titles(earlier)?, [Value::Text("A river".into())]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When it can't be read, or its log no longer reaches back to `n`.
    pub fn as_of(url: &str, n: u64) -> Result<Option<Table>> {
        Table::committed(Store::open(url)?, n)
    }

    /// Opens the table in `store` as [`as_of`](Table::as_of) does.
    pub(super) fn committed(store: Store, n: u64) -> Result<Option<Table>> {
        let versions = versions(&store)?;
        // The numbers of manifests ascend with versions: find the first version of a later
        // manifest.
        let (mut low, mut high) = (0, versions.len());
        while low < high {
            let middle = low.midpoint(high);
            if manifest(&store, &versions[..=middle])?.unwrap_or(0) <= n {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match versions[..low].last() {
            Some(version) => Table::at(store, Some(*version)).map(Some),
            None if versions.is_empty() => Ok(None),
            None => Err(Error::data(format!(
                "the log of {} no longer reaches back to commit {n}",
                store.name("")
            ))
            .hint("Read a later commit: each stays readable for a week.")),
        }
    }

    /// Opens the table at `url` at a version of Delta's log.
    ///
    /// # Errors
    /// When there is no such version, or it can't be read.
    pub fn at_version(url: &str, version: u64) -> Result<Table> {
        Table::at(Store::open(url)?, Some(version))
    }

    /// Returns the number of the last manifest in the log of the table at `url`; `None` if there is
    /// no table, 0 if no version has a manifest. The table itself is not read.
    #[cfg(feature = "program")]
    pub(crate) fn last_manifest(url: &str) -> Result<Option<u64>> {
        let store = Store::open(url)?;
        let versions = versions(&store)?;
        if versions.is_empty() {
            return Ok(None);
        }
        Ok(Some(manifest(&store, &versions)?.unwrap_or(0)))
    }

    fn at(store: Store, version: Option<u64>) -> Result<Table> {
        let table = snapshot::load(&store, version, None)?;
        let columns = table.columns.ok_or_else(|| {
            Error::data(format!("{} has columns of other types", store.name("")))
                .hint(rows::CHANGED)
                .advise(Advice::EarlierCommit)
        })?;
        let mut versions = versions(&store)?;
        versions.retain(|v| *v <= table.version);
        let manifest = manifest(&store, &versions)?;
        let mut files = Files::default();
        files.apply(&store, &table.files, Mode::Snapshot, &mut FileNumbers::of(0, 0))?;
        Ok(Table { store, version: table.version, manifest, columns, files })
    }

    /// Returns its version in Delta's log.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the number of the manifest for which this version was made, or else the last version
    /// before it that has a manifest.
    pub fn manifest(&self) -> Option<u64> {
        self.manifest
    }

    /// Returns the columns of a row.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Passes every row to `f`, in no particular order.
    ///
    /// # Errors
    /// When a file can't be read. The errors of `f`.
    pub fn for_each(&self, f: &mut dyn FnMut(&[Value]) -> Result<()>) -> Result<()> {
        let mut row = Vec::new();
        for file in self.files.live_files() {
            for batch in rows::open(&self.store, &file.path, &self.columns, file.rows, &file.dead)?
            {
                let batch = batch?;
                let cells = Cells::new(&self.store.name(""), &self.columns, &batch)?;
                for at in 0..batch.num_rows() {
                    row.clear();
                    cells.put(at, &mut row);
                    f(&row)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the versions in the log, ascending.
fn versions(store: &Store) -> Result<Vec<u64>> {
    let files = store.list("_delta_log")?;
    Ok(files.iter().filter_map(|(name, _)| name.strip_suffix(".json")?.parse().ok()).collect())
}

/// Returns the manifest of the last of `versions` that has one.
fn manifest(store: &Store, versions: &[u64]) -> Result<Option<u64>> {
    for version in versions.iter().rev() {
        if let Some(n) =
            log::read(store, *version)?.as_deref().and_then(log::manifest).filter(|n| *n > 0)
        {
            return Ok(Some(n));
        }
    }
    Ok(None)
}
