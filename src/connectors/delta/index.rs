//! Where the table has each key: read once, from the living files, when a run finds its rows again.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use roaring::RoaringTreemap;

use crate::row::{Column, RowKey};

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::Store;

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

/// The places of all keys, by keyed hash: nobody can make a key that is taken for another.
pub(super) type Places = Arc<HashMap<u128, Place>>;

/// Makes [`Places`] when they are first asked for, of the files that the table has by then.
pub(super) struct Index {
    store: Store,
    key: Vec<Column>,
    secret: Secret,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Vec<Living>,
    places: Option<Places>,
}

impl Index {
    pub(super) fn new(store: Store, key: &[Column], secret: Secret) -> Self {
        Index { store, key: key.to_vec(), secret, state: Mutex::default() }
    }

    /// Sets the files that the table consists of.
    pub(super) fn set(&self, files: Vec<Living>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { files, places: None };
    }

    /// Makes what hashes keys as [`places`](Self::places) does.
    pub(super) fn hasher(&self) -> RowKey {
        RowKey::new(self.secret)
    }

    /// The places of all keys.
    ///
    /// # Errors
    /// When a file can't be read, or a key is there twice.
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
                        return Err(Error::data(format!("the table {table} has a key twice: in {first} and in {second}")).hint(
                            "Something else has changed the table. Restore it, or begin anew with another --state and --lake.",
                        ));
                    }
                }
            }
        }
        Ok(places)
    }
}
