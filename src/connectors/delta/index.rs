//! The place of each key in the table. It is read once from the live files, when a run recovers.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use hashbrown::HashMap;
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use crate::row::{Column, RowKey, Value};

use crate::error::{Advice, Error, Result};
use crate::secret::Secret;
use crate::store::Store;
use crate::sync::{lock_in_turn, side_by_side};

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

/// The number of maps in [`Places`]. Each is small enough for the caches of a processor while it is
/// filled, and while many keys are looked up in it.
pub(super) const SHARDS: usize = 256;

/// The most threads that read the files.
const THREADS_MAX: usize = 4;

/// A keyed hash of a key, so that nobody can make a key that collides with another.
pub(super) type KeyHash = u128;

/// The places of all keys.
#[derive(Default)]
pub(super) struct Places(Vec<HashMap<KeyHash, Place>>);

impl Places {
    pub(super) fn get(&self, key: KeyHash) -> Option<Place> {
        self.0.get(shard(key))?.get(&key).copied()
    }
}

/// Returns the number of the map that has a key.
pub(super) fn shard(key: KeyHash) -> usize {
    (key >> 64) as usize % SHARDS
}

/// Keys with their places, by shard.
type Found = Vec<Vec<(KeyHash, Place)>>;

/// Reads [`Places`] at the first request. The writers of one process share it, so that the table is
/// read once; another process reads its own from the same files.
pub(super) struct Index {
    store: Store,
    key: Vec<Column>,
    secret: Secret,
    files: Vec<LiveFile>,
    places: Mutex<Option<Arc<Places>>>,
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
    pub(super) fn places(&self) -> Result<Arc<Places>> {
        let mut shared = lock_in_turn(&self.places);
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

    /// Reads all keys: first the files side by side, then the maps are filled side by side.
    fn load(&self) -> Result<Places> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        let mut largest: Vec<&LiveFile> = self.files.iter().collect();
        largest.sort_by_key(|file| std::cmp::Reverse(file.rows));
        let parts = threads.min(largest.len()).max(1);
        let of = |part: usize| largest.iter().skip(part).step_by(parts).copied();
        let read = (0..parts).map(|part| move || self.read_keys(of(part)));
        let mut shards: Vec<Found> = (0..SHARDS).map(|_| Vec::new()).collect();
        for found in side_by_side("a thread that reads keys", read) {
            shards.iter_mut().zip(found?).for_each(|(shard, found)| shard.push(found));
        }
        let mut rest = shards.into_iter();
        let work: Vec<Vec<Found>> =
            (0..parts).map(|_| rest.by_ref().take(SHARDS.div_ceil(parts)).collect()).collect();
        let fill = |shards: Vec<Found>| shards.into_iter().map(|found| self.fill(found)).collect();
        let fill = work.into_iter().map(|shards| move || fill(shards));
        let mut places = Places::default();
        for maps in side_by_side("a thread that numbers keys", fill) {
            let maps: Vec<HashMap<KeyHash, Place>> = maps?;
            places.0.extend(maps);
        }
        Ok(places)
    }

    fn read_keys<'f>(&self, files: impl Iterator<Item = &'f LiveFile>) -> Result<Found> {
        let mut key = self.hasher();
        let files: Vec<&LiveFile> = files.collect();
        let rows = files.iter().map(|file| file.rows as usize).sum::<usize>() / SHARDS;
        // Keys are random, so no shard has many more than another.
        let mut found: Found = (0..SHARDS).map(|_| Vec::with_capacity(rows + rows / 8)).collect();
        for file in files {
            let mut dead = file.dead.iter().peekable();
            let mut numbers = (0..file.rows)
                .filter(move |row| dead.next_if(|dead| *dead == u64::from(*row)).is_none());
            for batch in rows::open(&self.store, &file.path, &self.key, file.rows, &file.dead)? {
                let batch = batch?;
                let cells = Cells::new(&self.store.name(""), &self.key, &batch)?;
                for (at, row) in (0..batch.num_rows()).zip(&mut numbers) {
                    let hash = key.hash(self.key.len(), |out| cells.put(at, out));
                    if let Some(found) = found.get_mut(shard(hash)) {
                        found.push((hash, Place { file: file.id, row }));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Returns the map of one shard.
    fn fill(&self, found: Found) -> Result<HashMap<KeyHash, Place>> {
        let mut places = HashMap::with_capacity(found.iter().map(Vec::len).sum());
        for (hash, place) in found.into_iter().flatten() {
            if let Some(first) = places.insert(hash, place) {
                return Err(self.twice(first, place));
            }
        }
        Ok(places)
    }

    /// Returns the error for a key with two rows.
    fn twice(&self, first: Place, second: Place) -> Error {
        let path =
            |id| self.files.iter().find(|file| file.id == id).map_or("", |file| file.path.as_str());
        let (a, b) = (first.min(second), first.max(second));
        let (table, first, second) = (self.store.name(""), path(a.file), path(b.file));
        Error::data(format!("the table {table} has a key twice: in {first} and in {second}"))
            .hint("Another program has changed the table. Restore it, or begin anew.")
            .advise(Advice::BeginAnew)
    }
}
