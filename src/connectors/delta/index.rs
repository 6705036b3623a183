//! Where the table has each key: read once, from the living files, when a run finds its rows again.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use roaring::RoaringTreemap;
use xxhash_rust::xxh3::xxh3_128;

use crate::connect::{Column, Put, Row, Store};
use crate::error::Result;

use super::rows::{self, Cells};

/// A row's place: the number of a file in this run, and the number of the row in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: u32,
    pub(super) row: u32,
}

/// A file that the table consists of.
#[derive(Clone)]
pub(super) struct Living {
    pub(super) id: u32,
    pub(super) path: String,
    pub(super) rows: u32,
    pub(super) dead: RoaringTreemap,
}

/// The places of all keys.
pub(super) type Places = Arc<HashMap<u128, Place>>;

/// Makes [`Places`] when they are first asked for, of the files that the table has by then.
pub(super) struct Index {
    store: Store,
    key: Vec<Column>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Vec<Living>,
    places: Option<Places>,
}

impl Index {
    pub(super) fn new(store: Store, key: &[Column]) -> Self {
        Index { store, key: key.to_vec(), state: Mutex::default() }
    }

    /// Sets the files that the table consists of.
    pub(super) fn set(&self, files: Vec<Living>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { files, places: None };
    }

    /// The places of all keys.
    ///
    /// # Errors
    /// When a file can't be read.
    pub(super) fn places(&self) -> Result<Places> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = &state.places {
            return Ok(places.clone());
        }
        let places = Arc::new(self.load(&state.files)?);
        state.places = Some(places.clone());
        Ok(places)
    }

    fn load(&self, files: &[Living]) -> Result<HashMap<u128, Place>> {
        let living = files.iter().map(|f| f.rows as usize - f.dead.len() as usize).sum();
        let mut places = HashMap::with_capacity(living);
        let mut key = Key::default();
        for file in files {
            let mut numbers = (0..file.rows).filter(|row| !file.dead.contains(u64::from(*row)));
            for batch in rows::open(&self.store, &file.path, &self.key, file.rows, &file.dead)? {
                let batch = batch?;
                let cells = Cells::new(&self.key, &batch)?;
                for (at, row) in (0..batch.num_rows()).zip(&mut numbers) {
                    let hash = key.hash(self.key.len(), |out| cells.put(at, out));
                    places.insert(hash, Place { file: file.id, row });
                }
            }
        }
        Ok(places)
    }
}

/// Makes 128 bits of the leading values of a row, the same whether the row comes from the dataflow or from a file.
#[derive(Default)]
pub(super) struct Key {
    left: usize,
    bytes: Vec<u8>,
}

impl Key {
    /// The hash of the first `columns` values that `put` pushes.
    pub(super) fn hash(&mut self, columns: usize, put: impl FnOnce(&mut dyn Put)) -> u128 {
        self.left = columns;
        self.bytes.clear();
        put(self);
        xxh3_128(&self.bytes)
    }

    /// The hash of the first `columns` values of `row`.
    pub(super) fn of(&mut self, columns: usize, row: &dyn Row) -> u128 {
        self.hash(columns, |out| row.put(out))
    }

    fn add<const N: usize>(&mut self, tag: u8, value: Option<[u8; N]>) {
        self.add_bytes(tag, value.as_ref().map(|v| v.as_slice()));
    }

    /// Tag, length and bytes, so that no two rows look alike; a null has no type.
    fn add_bytes(&mut self, tag: u8, value: Option<&[u8]>) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        match value {
            None => self.bytes.push(0),
            Some(value) => {
                self.bytes.push(tag);
                self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
                self.bytes.extend_from_slice(value);
            }
        }
    }
}

impl Put for Key {
    fn long(&mut self, value: Option<i64>) {
        self.add(1, value.map(i64::to_le_bytes));
    }
    fn double(&mut self, value: Option<f64>) {
        self.add(2, value.map(f64::to_le_bytes));
    }
    fn text(&mut self, value: Option<&str>) {
        self.add_bytes(3, value.map(str::as_bytes));
    }
    fn timestamp(&mut self, value: Option<i64>) {
        self.add(4, value.map(i64::to_le_bytes));
    }
    fn doubles(&mut self, value: Option<&[f64]>) {
        let bytes: Option<Vec<u8>> = value.map(|v| v.iter().flat_map(|v| v.to_le_bytes()).collect());
        self.add_bytes(5, bytes.as_deref());
    }
    fn binary(&mut self, value: Option<&[u8]>) {
        self.add_bytes(6, value);
    }
}
