//! The durable objects of the model: state store, Delta table, log, and source.

/// The number of manifests that are kept, the newest ones. The library keeps 1000.
pub const KEPT_MANIFESTS: u8 = 2;
/// The number of keys of the table's rows: record `r` replaces record `r - KEYS`.
pub const KEYS: u8 = 2;

/// Everything that outlives a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// The newest `gen/<g>`.
    pub generation: u8,
    /// `manifest/<n>` at index n - 1; `None` after its collection.
    pub manifests: Vec<Option<Manifest>>,
    /// The end of the first manifest ever made at each number. Runs can't read it.
    pub decided: Vec<u8>,
    /// `layer/…`, in order.
    pub layers: Vec<Layer>,
    /// Layers with a flipped bit.
    pub damaged: Vec<Layer>,
    /// `snap/…`, in order.
    pub snapshots: Vec<Snapshot>,
    /// The data files in the folder of the table, in order.
    pub files: Vec<File>,
    /// The sink with a Delta table.
    pub table: Table,
    /// The sink with offsets in its transactions.
    pub log: Log,
    /// The oldest record that the source still has.
    pub source_begin: u8,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Manifest {
    /// The run that made it.
    pub generation: u8,
    /// The source is bound up to here.
    pub end: u8,
    /// Digest of the previous manifest.
    pub previous: Digest,
    /// The staged changes of both sinks; `None` if it only names a snapshot.
    pub changes: Option<Changes>,
    /// The newest snapshot, and the one before it, to which a damaged one falls back.
    pub named: [Option<Named>; 2],
    /// The application that owns the state: the number of the manifest that has reset it last.
    pub app: u8,
}

/// Digest of a manifest: its generation and its end.
pub type Digest = (u8, u8);

impl Manifest {
    /// Returns the digest that the next manifest records.
    pub fn digest(&self) -> Digest {
        (self.generation, self.end)
    }
}

/// Staged changes: records `from..` up to the end of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Changes {
    /// The first record.
    pub from: u8,
    /// The version of the table for which they were staged.
    pub version: u8,
    /// The new file.
    pub file: File,
    /// Rows that the new ones replace, by their places.
    pub removes: Vec<Row>,
}

/// A reference to a snapshot in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Named {
    /// The run that made it.
    pub generation: u8,
    /// The manifest whose state it is.
    pub manifest: u8,
    /// The end of that manifest.
    pub end: u8,
    /// A number that no other snapshot has. With it the name of the object is unique.
    pub attempt: u8,
}

/// A snapshot object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Snapshot {
    /// Its name.
    pub name: Named,
    /// The layers that together are its state.
    pub layers: Vec<Layer>,
}

/// A layer object: the changes by records `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Layer {
    /// The run that wrote it.
    pub generation: u8,
    /// The manifest up to which it reaches.
    pub manifest: u8,
    /// The first record; 0 for a merged layer.
    pub from: u8,
    /// The end.
    pub to: u8,
}

/// A data file of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct File {
    /// The run that wrote it.
    pub generation: u8,
    /// Its manifest, or the version of its compaction.
    pub number: u8,
    /// True if it replaces other files.
    pub compacted: bool,
}

/// A row: a record in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// The record.
    pub record: u8,
    /// The file.
    pub file: File,
}

/// The table: its log, and the rows of the last version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// All versions.
    pub versions: Vec<Version>,
    /// The rows of the last one, in order.
    pub rows: Vec<Row>,
    /// The last commit.
    pub txn: u8,
    /// The application that owns it.
    pub app: u8,
    /// True once a commit was made again, or after a later one.
    pub repeated: bool,
}

/// A version of the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// A run has taken the table over; run 0 is another program.
    Fence(u8),
    /// Generation, commit, its file with its records, and the rows that are removed.
    Commit(u8, u8, File, Vec<u8>, Vec<Row>),
    /// Generation, the replaced files, and the file and records that replace them.
    Compaction(u8, Vec<File>, File, Vec<u8>),
    /// Generation, and the application to which the emptied table belongs.
    Reset(u8, u8),
}

impl Version {
    /// Returns the run that made it.
    pub fn generation(&self) -> u8 {
        match self {
            Version::Fence(g) | Version::Commit(g, ..) => *g,
            Version::Compaction(g, ..) | Version::Reset(g, _) => *g,
        }
    }

    /// Applies the actions of the version to `rows`, as a reader of Delta does.
    pub fn apply(&self, rows: &mut Vec<Row>) {
        let (file, records) = match self {
            Version::Fence(_) => return,
            Version::Reset(..) => return rows.clear(),
            Version::Commit(_, _, file, adds, removes) => {
                rows.retain(|row| !removes.contains(row));
                (*file, adds)
            }
            Version::Compaction(_, from, to, moved) => {
                rows.retain(|row| !from.contains(&row.file));
                (*to, moved)
            }
        };
        rows.extend(records.iter().map(|&record| Row { record, file }));
        rows.sort_unstable();
        rows.dedup();
    }
}

impl Table {
    /// Returns the number of versions.
    pub fn version(&self) -> u8 {
        self.versions.len() as u8
    }

    /// Creates version `number` if it is the next one.
    pub fn create(&mut self, number: u8, version: &Version) -> bool {
        if number != self.version() + 1 {
            return false;
        }
        version.apply(&mut self.rows);
        if let Version::Commit(_, n, ..) = version {
            self.repeated |= *n <= self.txn;
            self.txn = *n;
        }
        if let Version::Reset(_, app) = version {
            (self.txn, self.app) = (0, *app);
        }
        self.versions.push(version.clone());
        true
    }
}

/// A topic with transactions: its records, and the number of the last commit as its offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    /// The run whose producer is not fenced.
    pub epoch: u8,
    /// The last commit.
    pub commit: u8,
    /// The application that owns it.
    pub app: u8,
    /// The records in the order in which they were appended.
    pub records: Vec<u8>,
}

impl World {
    /// Returns the number of the highest manifest; 0 if there is none.
    pub fn highest(&self) -> u8 {
        self.manifests.iter().rposition(Option::is_some).map_or(0, |at| at as u8 + 1)
    }

    /// Returns manifest `n`.
    pub fn manifest(&self, n: u8) -> Option<&Manifest> {
        self.manifests.get(usize::from(n).checked_sub(1)?)?.as_ref()
    }

    /// Creates manifest `n` if it is absent.
    pub fn create_manifest(&mut self, n: u8, manifest: &Manifest) -> bool {
        let at = usize::from(n) - 1;
        if self.manifests.len() <= at {
            self.manifests.resize(at + 1, None);
        }
        if self.manifests[at].is_some() {
            return false;
        }
        self.manifests[at] = Some(manifest.clone());
        if self.decided.len() == at {
            self.decided.push(manifest.end);
        }
        true
    }

    /// Deletes manifest `n`.
    pub fn delete_manifest(&mut self, n: u8) {
        self.manifests[usize::from(n) - 1] = None;
    }

    /// Returns true if the manifest `n` follows the one before it.
    pub fn is_chained(&self, n: u8) -> bool {
        let Some(manifest) = self.manifest(n) else { return n == 0 };
        let before = self.manifest(n - 1).map(Manifest::digest);
        before.or((n == 1).then_some((0, 0))) == Some(manifest.previous)
    }

    /// Returns the layers of a snapshot that can be loaded.
    pub fn load(&self, name: Named) -> Option<&[Layer]> {
        let snapshot = self.snapshots.iter().find(|snapshot| snapshot.name == name)?;
        let mut end = 0;
        for layer in &snapshot.layers {
            let whole = self.layers.contains(layer) && !self.damaged.contains(layer);
            if !whole || layer.from != end {
                return None;
            }
            end = layer.to;
        }
        (end == name.end).then_some(&snapshot.layers)
    }

    /// Returns the layers that a snapshot names.
    pub fn layers_of(&self, name: Named) -> &[Layer] {
        let snapshot = self.snapshots.iter().find(|snapshot| snapshot.name == name);
        snapshot.map_or(&[][..], |snapshot| &snapshot.layers)
    }

    /// Returns true if two snapshots have a layer in common.
    pub fn share(&self, one: Named, other: Named) -> bool {
        self.layers_of(one).iter().any(|layer| self.layers_of(other).contains(layer))
    }

    /// Returns the layers of the named snapshots without a flipped bit.
    pub fn undamaged(&self) -> impl Iterator<Item = Layer> {
        let named = self.manifest(self.highest()).map_or([None; 2], |manifest| manifest.named);
        let used = move |layer: &&Layer| {
            named.into_iter().flatten().any(|name| self.layers_of(name).contains(layer))
        };
        let whole = |layer: &&Layer| !self.damaged.contains(layer);
        self.layers.iter().filter(used).filter(whole).copied()
    }

    /// Adds a layer.
    pub fn put_layer(&mut self, layer: Layer) {
        insert(&mut self.layers, layer);
    }

    /// Returns the files that the last version of the table does not name.
    pub fn orphans(&self) -> impl Iterator<Item = &File> {
        let named = |file: &File| self.table.rows.iter().any(|row| row.file == *file);
        self.files.iter().filter(move |file| !named(file))
    }
}

/// Inserts `item` into a sorted list, once.
pub fn insert<T: Ord>(items: &mut Vec<T>, item: T) {
    if let Err(at) = items.binary_search(&item) {
        items.insert(at, item);
    }
}

/// Returns the records below `end`, from `from` on, that no later one below `end` replaces.
pub fn latest(from: u8, end: u8) -> impl Iterator<Item = u8> {
    (from..end).filter(move |record| record + KEYS >= end)
}
