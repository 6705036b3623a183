//! A table in memory: the reference of a sink.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::connect::{
    Committer, CountRows, FoundRows, Mode, Part, Recovered, Recovering, Schema, Sink, SinkContext,
    Writer,
};
use crate::error::{Error, Result};
use crate::row::{Put, Row, Value};
use crate::sync::lock;

/// The identity of a row (empty in append mode) and its new values; `None` if the row was removed.
///
/// ```
/// use watershed::connect::memory::{Change, MemoryLog, MemoryTable};
/// use watershed::prelude::*;
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder| {
///     let teas = builder.table("tea", Consumed::with(Utf8, Utf8));
///     teas.to("colour", Produced::columns(["tea", "colour"]));
/// });
/// let (log, table) = (MemoryLog::default(), MemoryTable::default());
/// log.append(0, Some(b"sencha"), Some(b"green"));
/// Streams::new(topology).source("tea", log).sink("colour", table.clone()).run(Config::default())?;
/// let [tea, colour] = ["sencha", "green"].map(|text| Value::Text(text.into()));
/// let change: Change = (vec![tea.clone()], Some(vec![tea, colour]));
/// assert_eq!(table.commits()[0].1, [change]);
/// # Ok::<(), Error>(())
/// ```
pub type Change = (Vec<Value>, Option<Vec<Value>>);

/// The changes of a commit.
struct Staged {
    changes: Vec<Change>,
    /// All earlier rows are removed first.
    replaces: bool,
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<Vec<Value>, Vec<Value>>,
    appended: Vec<Vec<Value>>,
    commits: Vec<(u64, Vec<Change>)>,
    /// The changes that are not committed yet, by generation and commit number. So a superseded run
    /// never stages for its successor.
    staged: BTreeMap<(u64, u64), Staged>,
    last: u64,
}

impl Table {
    /// Removes all rows by commit `n`, unless that was made.
    fn clear(&mut self, n: u64) {
        if self.last < n {
            let rows = std::mem::take(&mut self.rows);
            let removed = rows.into_keys().map(|key| (key, None)).collect();
            let commits = std::mem::take(&mut self.commits);
            let commits = [commits, vec![(n, removed)]].concat();
            *self = Table { commits, last: n, ..Table::default() };
        }
    }
}

/// A table in memory. Clones are handles of the same table. One run after another may open it.
///
/// ```
/// use watershed::connect::memory::{MemoryLog, MemoryTable};
/// use watershed::prelude::*;
///
/// let topology = Topology::new("words", |builder: &StreamsBuilder| {
///     let words = builder.table("word", Consumed::with(Utf8, Utf8));
///     let count = words.group_by(|_, word| (word.clone(), ())).count();
///     count.to("count", Produced::columns(["word", "n"]));
/// });
/// let (log, table) = (MemoryLog::default(), MemoryTable::default());
/// for (key, word) in [(b"1", b"to"), (b"2", b"be"), (b"3", b"to")] {
///     log.append(0, Some(key), Some(word));
/// }
/// Streams::new(topology).source("word", log).sink("count", table.clone()).run(Config::default())?;
/// let row = |word: &str, n| vec![Value::Text(word.into()), Value::Long(n)];
/// assert_eq!(table.rows(), [row("be", 1), row("to", 2)]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryTable(Arc<Mutex<Table>>);

impl MemoryTable {
    /// Returns the current rows, sorted; in append mode all rows that were ever written, sorted.
    pub fn rows(&self) -> Vec<Vec<Value>> {
        let table = lock(&self.0);
        let mut rows: Vec<_> = table.rows.values().chain(&table.appended).cloned().collect();
        rows.sort();
        rows
    }

    /// Returns the number and the changes of every commit, in the order of commits. Changes are
    /// sorted.
    pub fn commits(&self) -> Vec<(u64, Vec<Change>)> {
        lock(&self.0).commits.clone()
    }

    /// Returns the changes of each commit but the first `seen`.
    pub(crate) fn commits_from(&self, seen: usize) -> Vec<Vec<Change>> {
        let table = lock(&self.0);
        table.commits.iter().skip(seen).map(|(_, changes)| changes.clone()).collect()
    }
}

impl Sink for MemoryTable {
    fn describe(&self) -> String {
        "memory".into()
    }

    /// Accepts every table, also one with rows that other states have appended.
    fn check_clear(&self, _: &Schema, _: &SinkContext, _replaced: &str) -> Result<()> {
        Ok(())
    }

    fn clear(&self, _: &Schema, context: &SinkContext, _replaced: &str) -> Result<()> {
        lock(&self.0).clear(context.committed);
        Ok(())
    }

    fn can_replace(&self) -> bool {
        true
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(TableCommitter {
            table: self.0.clone(),
            mode: schema.mode,
            generation: context.generation,
            replaces: false,
        }))
    }

    fn writers(
        &self,
        schema: &Schema,
        _context: &SinkContext,
        _brief: &serde_json::Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        let recovery = || -> Box<dyn Recovering> {
            let (schema, slots) = (schema.clone(), BTreeMap::new());
            match schema.mode {
                Mode::Snapshot => Box::new(TableRecovery { table: self.0.clone(), schema, slots }),
                Mode::Append => {
                    Box::new(CountRows::before(TableWriter { schema, slots, changes: Vec::new() }))
                }
            }
        };
        Ok(workers.map(|_| recovery()).collect())
    }
}

/// Returns the identity of a row and the row.
fn keyed(schema: &Schema, row: &dyn Row) -> (Vec<Value>, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    row.put(&mut values as &mut dyn Put);
    (values[..schema.key].to_vec(), values)
}

/// Collects the keys of the recovered rows, by slot.
struct TableRecovery {
    table: Arc<Mutex<Table>>,
    schema: Schema,
    slots: BTreeMap<u32, Vec<Value>>,
}

impl Recovering for TableRecovery {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        self.slots.insert(slot, keyed(&self.schema, row).0);
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        self.slots.remove(&slot);
    }

    fn skip(&mut self, _rows: u64) -> Result<()> {
        Err(Error::internal("can't skip rows of the table in memory"))
    }

    fn finish(self: Box<Self>) -> Result<Recovered> {
        let table = lock(&self.table);
        if let Some(key) = self.slots.values().find(|key| !table.rows.contains_key(*key)) {
            return Err(Error::data(format!("the table in memory has lost the row {key:?}")));
        }
        drop(table);
        let found = FoundRows::count(self.slots.len() as u64);
        let writer = TableWriter { schema: self.schema, slots: self.slots, changes: Vec::new() };
        Ok(Recovered { writer: Box::new(writer), found })
    }
}

struct TableWriter {
    schema: Schema,
    /// The key of the row at each slot; none in append mode.
    slots: BTreeMap<u32, Vec<Value>>,
    changes: Vec<Change>,
}

impl Writer for TableWriter {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        let (key, values) = keyed(&self.schema, row);
        if self.schema.mode == Mode::Snapshot {
            self.slots.insert(slot, key.clone());
        }
        self.changes.push((key, Some(values)));
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        if let Some(key) = self.slots.remove(&slot) {
            self.changes.push((key, None));
        }
    }

    fn stage(&mut self) -> Result<Option<Part>> {
        let changes = std::mem::take(&mut self.changes);
        (!changes.is_empty()).then(|| Part::new(&changes, &[])).transpose()
    }
}

struct TableCommitter {
    table: Arc<Mutex<Table>>,
    mode: Mode,
    generation: u64,
    /// The next commit replaces all rows.
    replaces: bool,
}

impl Committer for TableCommitter {
    fn replace(&mut self) -> Result<()> {
        self.replaces = true;
        Ok(())
    }

    /// In append mode several states may write to the table, so that nothing can be compared.
    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        if self.mode == Mode::Append || self.replaces {
            return Ok(());
        }
        let (in_table, found) = (lock(&self.table).rows.len() as u64, found.rows);
        if in_table == found {
            Ok(())
        } else {
            Err(Error::data(format!("the table in memory has {in_table} rows, not {found}")))
        }
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<serde_json::Value>> {
        let mut changes: Vec<Change> = Vec::new();
        for part in parts {
            changes.extend(part.read::<Vec<Change>>()?.0);
        }
        let replaces = std::mem::take(&mut self.replaces);
        lock(&self.table).staged.insert((self.generation, n), Staged { changes, replaces });
        Ok(Some(self.generation.into()))
    }

    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()> {
        let mut table = lock(&self.table);
        if table.last >= n {
            return Ok(());
        }
        let missing = || {
            Error::data(format!(
                "can't make commit {n} visible: another process staged it, and its memory is gone"
            ))
        };
        let Staged { changes, replaces } = content
            .as_u64()
            .and_then(|generation| table.staged.remove(&(generation, n)))
            .ok_or_else(missing)?;
        // The last change of a key within the commit wins, so a row that was added and removed in
        // it is no change.
        let mut net: BTreeMap<Vec<Value>, Option<Vec<Value>>> = BTreeMap::new();
        let mut visible: Vec<Change> = Vec::new();
        if replaces {
            table.appended.clear();
            net.extend(table.rows.keys().map(|key| (key.clone(), None)));
        }
        for (key, row) in changes {
            if key.is_empty() && row.is_some() {
                table.appended.extend(row.clone());
                visible.push((key, row));
            } else {
                net.insert(key, row);
            }
        }
        for (key, row) in net {
            let before = match &row {
                Some(row) => table.rows.insert(key.clone(), row.clone()),
                None => table.rows.remove(&key),
            };
            if before != row {
                visible.push((key, row));
            }
        }
        visible.sort();
        table.commits.push((n, visible));
        table.last = n;
        Ok(())
    }
}
