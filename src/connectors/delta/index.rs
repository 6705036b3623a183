//! The place of each key in the table. It is read once from the live files, when a run recovers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use hashbrown::HashMap;
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use crate::row::{Column, RowKey, Value};

use crate::error::{Advice, Error, Result};
use crate::secret::Secret;
use crate::store::Store;
use crate::sync::lock;

use super::rows::{self, Cells};
use super::vectors;

/// The place of a row: the number of a file in this run, and the number of the row in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: u32,
    pub(super) row: u32,
}

/// A file of the table with all that is needed to read its live rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LiveFile {
    pub(super) id: u32,
    pub(super) path: String,
    pub(super) rows: u32,
    #[serde(with = "vectors::text")]
    pub(super) dead: RoaringTreemap,
}

/// The places of all keys, by keyed hash, so that nobody can make a key that collides with another.
pub(super) type Places = Arc<HashMap<u128, Place>>;

/// Reads [`Places`] at the first request. The writers of one process share it, so that the table is
/// read once; another process reads its own from the same files.
pub(super) struct Index {
    store: Store,
    key: Vec<Column>,
    secret: Secret,
    files: Vec<LiveFile>,
    places: Mutex<Option<Places>>,
}

impl Index {
    /// Returns the index of `files`, which are all files of the table.
    pub(super) fn new(store: Store, key: &[Column], secret: Secret, files: Vec<LiveFile>) -> Self {
        Index { store, key: key.to_vec(), secret, files, places: Mutex::default() }
    }

    /// Returns a hasher of keys, the one that [`places`](Self::places) uses.
    pub(super) fn hasher(&self) -> RowKey {
        RowKey::new(self.secret)
    }

    /// Returns the places of all keys.
    ///
    /// # Errors
    /// When a file can't be read, or a key has two rows.
    pub(super) fn places(&self) -> Result<Places> {
        let mut shared = lock(&self.places);
        if let Some(places) = &*shared {
            return Ok(places.clone());
        }
        let places = Arc::new(self.load()?);
        *shared = Some(places.clone());
        Ok(places)
    }

    /// Reads the rows at the places of `wanted`, which also has their slots, and passes each to
    /// `put` with its slot until `put` breaks. Files without such a row are not opened.
    ///
    /// # Errors
    /// When a file can't be read.
    pub(super) fn read(
        &self,
        columns: &[Column],
        mut wanted: Vec<(u32, Place)>,
        put: &mut dyn FnMut(u32, &Vec<Value>) -> ControlFlow<()>,
    ) -> Result<()> {
        let files: BTreeMap<u32, &LiveFile> = self.files.iter().map(|f| (f.id, f)).collect();
        wanted.sort_unstable_by_key(|(_, place)| *place);
        let mut values = Vec::new();
        for rows in wanted.chunk_by(|(_, a), (_, b)| a.file == b.file) {
            let file = rows.first().and_then(|(_, place)| files.get(&place.file));
            let file = file.ok_or_else(|| {
                Error::internal(format!("can't find a file of {} again", self.store.name("")))
            })?;
            let mut others = RoaringTreemap::new();
            others.insert_range(..u64::from(file.rows));
            for (_, place) in rows {
                others.remove(place.row.into());
            }
            let mut slots = rows.iter().map(|(slot, _)| *slot);
            for batch in rows::open(&self.store, &file.path, columns, file.rows, &others)? {
                let batch = batch?;
                let cells = Cells::new(&self.store.name(""), columns, &batch)?;
                for (at, slot) in (0..batch.num_rows()).zip(&mut slots) {
                    values.clear();
                    cells.put(at, &mut values);
                    if put(slot, &values).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn load(&self) -> Result<HashMap<u128, Place>> {
        let files = &self.files;
        let living = files.iter().map(|f| f.rows as usize - f.dead.len() as usize).sum();
        let mut places = HashMap::with_capacity(living);
        let mut key = self.hasher();
        for file in files {
            let mut numbers = (0..file.rows).filter(|row| !file.dead.contains(u64::from(*row)));
            for batch in rows::open(&self.store, &file.path, &self.key, file.rows, &file.dead)? {
                let batch = batch?;
                let cells = Cells::new(&self.store.name(""), &self.key, &batch)?;
                for (at, row) in (0..batch.num_rows()).zip(&mut numbers) {
                    let hash = key.hash(self.key.len(), |out| cells.put(at, out));
                    if let Some(Place { file: first, .. }) =
                        places.insert(hash, Place { file: file.id, row })
                    {
                        let name = |id| {
                            files
                                .iter()
                                .find(|file| file.id == id)
                                .map_or("", |file| file.path.as_str())
                        };
                        let (table, first, second) = (self.store.name(""), name(first), &file.path);
                        return Err(Error::data(format!(
                            "the table {table} has a key twice: in {first} and in {second}"
                        ))
                        .hint("Another program has changed the table. Restore it, or begin anew.")
                        .advise(Advice::BeginAnew));
                    }
                }
            }
        }
        Ok(places)
    }
}
