//! Layers and snapshots hold the rows of their commits, and none of them is deleted too early.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Mutex;

use super::*;
use crate::operators::{BUCKETS, Cuts, DiffsCut, Merge, Owners, SavedRows, Seeds};
use crate::store::Store;
use crate::sync::lock;

fn fence(store: &Store, generation: u64) -> Fence {
    Fence { store: store.clone(), program: "test".into(), generation, last: 0 }
}

#[test]
fn a_snapshot_that_cannot_be_read_now_keeps_its_layers() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let snapshot = |n: u64| {
        let path = format!("layer/1-{n}");
        store.put(&path, b"rows").unwrap();
        let layer = LayerFile { path, size: 4, digest: String::new(), is_merged: false };
        let (cuts, layers, sources) = (Vec::new(), vec![layer], Ranges::new());
        let (sinks, topics) = (BTreeMap::new(), BTreeMap::new());
        let late = BTreeMap::new();
        let snapshot = Snapshot { n, cuts, layers, sources, sinks, topics, late };
        snapshot.write(&store, 1).unwrap()
    };
    let named = [snapshot(2), snapshot(1)];
    let (cuts, layers, others) = (Vec::new(), Vec::new(), Vec::new());
    let mut saver = Saver::new(fence(&store, 2), cuts, layers, 1, others, Arc::default());
    // Reading a folder as a file is an error of the store, not of the snapshot.
    let (older, moved) = (folder.path().join(&named[1].path), folder.path().join("moved"));
    std::fs::rename(&older, &moved).unwrap();
    std::fs::create_dir(&older).unwrap();
    assert!(saver.collect(&named).is_err());
    std::fs::remove_dir(&older).unwrap();
    std::fs::rename(&moved, &older).unwrap();
    assert_eq!(saver.collect(&named).unwrap(), Some(Ranges::new()));
    assert_eq!(store.list("layer").unwrap().len(), 2);
}

/// The logs of a cut of diffs on one worker.
struct WorkerRows {
    worker: usize,
    cuts: Cuts,
    cut: DiffsCut,
}

impl WorkerRows {
    fn new(worker: usize) -> Self {
        let owners = Owners::new(Seeds::of_a_plan(), Rc::new(|error| panic!("{error}")));
        let cuts = Cuts::new(None, worker, 2, |_, _| false);
        let cut = cuts.open_diffs(id(), &owners);
        WorkerRows { worker, cuts, cut }
    }

    /// Adds a datum to an epoch, and takes all rows up to the epoch.
    fn taken(&self, through: Epoch, datum: &str, is_barrier: bool) -> Taken {
        self.cut.add(through, std::iter::once((&datum.to_string(), 1)));
        let rows = self.cuts.take(through).unwrap();
        Taken { worker: self.worker, through, is_barrier, rows }
    }
}

fn id() -> CutId {
    let text = |text: &str| text.to_string();
    CutId { name: text("rows"), types: text("String"), space: text("data"), merge: Merge::Sum }
}

/// Returns a snapshot of a commit after `barrier`, without its rows.
fn empty(barrier: Epoch) -> Snapshot {
    let (cuts, layers, sources) = (Vec::new(), Vec::new(), Ranges::new());
    let (sinks, topics) = (BTreeMap::new(), BTreeMap::new());
    Snapshot { n: barrier, cuts, layers, sources, sinks, topics, late: BTreeMap::new() }
}

/// Returns the data of the snapshot of a commit after `barrier`.
fn saved(saver: &mut Saver, barrier: Epoch) -> Vec<String> {
    let begun = saver.begin(barrier, empty(barrier)).unwrap();
    data(saver, begun)
}

/// Returns the data of the snapshot that was made.
fn data(saver: &Saver, made: Option<Message>) -> Vec<String> {
    let Some(Message::Saved(name)) = made else { panic!("it is not saved") };
    let snapshot = Snapshot::read(&saver.fence.store, &name).unwrap();
    let layers = Layers::open(&saver.fence.store, &snapshot.layers).unwrap();
    let mut data = Vec::new();
    for bucket in 0..BUCKETS {
        let keys = layers.keys("data", bucket).unwrap();
        data.extend(keys.iter().map(|key| postcard::from_bytes::<String>(key).unwrap()));
    }
    data.sort();
    data
}

#[test]
fn a_snapshot_has_no_rows_of_later_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let (cuts, others) = (vec![id()], Vec::new());
    let mut saver = Saver::new(fence(&store, 1), cuts, Vec::new(), 2, others, Arc::default());
    let [first, second] = [0, 1].map(WorkerRows::new);
    saver.take(first.taken(3, "early", false)).unwrap();
    // Memory is short from now on, so all rows are written at once.
    saver.rows.hold_more();
    saver.take(first.taken(5, "first", true)).unwrap();
    saver.take(first.taken(7, "later", false)).unwrap();
    saver.take(second.taken(5, "second", true)).unwrap();
    saver.take(second.taken(9, "last", true)).unwrap();
    saver.take(first.taken(8, "much later", false)).unwrap();
    assert!(saver.rows.is_empty());
    assert_eq!(saved(&mut saver, 5), ["early", "first", "second"]);
    saver.take(first.taken(9, "very last", true)).unwrap();
    let all = ["early", "first", "last", "later", "much later", "second", "very last"];
    assert_eq!(saved(&mut saver, 9), all);
}

#[test]
fn layers_that_have_the_same_keys_again_and_again_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let data: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    for (turns, layers) in [(1, 1), (2, 2), (3, 1)] {
        let (cuts, others) = (vec![id()], Vec::new());
        let fence = fence(&store, turns);
        let mut saver = Saver::new(fence, cuts, Vec::new(), 1, others, Arc::default());
        let worker = WorkerRows::new(0);
        for epoch in 1..=turns {
            worker.cut.add(epoch, data.iter().map(|datum| (datum, 1)));
            let rows = worker.cuts.take(epoch).unwrap();
            // Memory is short, so each turn is a layer.
            saver.rows.hold_more();
            saver.take(Taken { worker: 0, through: epoch, is_barrier: true, rows }).unwrap();
        }
        assert_eq!(saved(&mut saver, turns).len(), data.len());
        assert_eq!(saver.layers.len(), layers, "{turns} turns");
    }
}

#[test]
fn large_layers_of_different_keys_are_not_merged() {
    const TURNS: u64 = MAX_LAYERS + 2;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let (cuts, others) = (vec![id()], Vec::new());
    let mut saver =
        Saver::new(fence(&store, 1), cuts.clone(), Vec::new(), 1, others, Arc::default());
    let worker = WorkerRows::new(0);
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(32 + (state >> 58) as u8)
    };
    // Six bits of each byte are random, so a layer is larger than three quarters of its text.
    let length = SMALL_LAYER_BYTES as usize * 3 / 2;
    let text: String = (0..length).map(|_| random()).collect();
    for epoch in 1..=TURNS {
        let taken = worker.taken(epoch, &format!("{epoch} {text}"), true);
        saver.rows.hold_more();
        saver.take(taken).unwrap();
    }
    assert_eq!(saved(&mut saver, TURNS).len(), TURNS as usize);
    assert_eq!(saver.layers.len(), TURNS as usize);
    // A run that continues them does not know how many keys are repeated.
    let layers: Vec<LayerFile> = saver.layers.into_iter().map(|layer| layer.file).collect();
    let mut saver = Saver::new(fence(&store, 2), cuts, layers, 1, Vec::new(), Arc::default());
    let taken = WorkerRows::new(0).taken(1, "small", true);
    saver.take(taken).unwrap();
    assert_eq!(saved(&mut saver, 1).len(), TURNS as usize + 1);
    assert!(saver.layers.iter().all(|layer| layer.file.is_merged));
}

/// The barriers up to which another process must write its rows.
#[derive(Clone, Default)]
struct Requests(Arc<Mutex<Vec<Epoch>>>);

impl Outbox<Down> for Requests {
    fn send(&self, message: &Down) -> Result<()> {
        if let Down::Save(barrier) = message {
            lock(&self.0).push(*barrier);
        }
        Ok(())
    }
}

#[test]
fn a_snapshot_waits_for_the_layers_of_each_process() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let (requests, unsaved) = (Requests::default(), Arc::<AtomicU64>::default());
    let (cuts, others): (_, Vec<Box<dyn Outbox<Down>>>) =
        (vec![id()], vec![Box::new(requests.clone())]);
    let mut saver = Saver::new(fence(&store, 1), cuts, Vec::new(), 1, others, unsaved.clone());
    let [first, second] = [0, 1].map(WorkerRows::new);
    let mut other = Unwritten::new(store.clone(), vec![id()], 1, 1, 1..2);
    let mut write = |taken: Taken| {
        let (last, bytes, mut layers) = (taken.through, other.add(taken), Vec::new());
        other.write(last, &mut layers).unwrap();
        (bytes, layers)
    };
    saver.take(first.taken(5, "first", true)).unwrap();
    let (later_bytes, later) = write(second.taken(4, "early", false));
    saver.count(1, later_bytes);
    saver.add(1, None, later);
    assert!(saver.begin(5, empty(5)).unwrap().is_none(), "process 1 has not written all");
    assert_eq!(*lock(&requests.0), [5]);
    let (bytes, layers) = write(second.taken(5, "second", true));
    saver.count(1, bytes);
    // Process 1 may be ahead of this one.
    let (ahead_bytes, ahead) = write(second.taken(7, "ahead", false));
    saver.count(1, ahead_bytes);
    saver.add(1, Some(5), layers);
    saver.add(1, None, ahead);
    let made = saver.save().unwrap();
    assert_eq!(data(&saver, made), ["early", "first", "second"]);
    assert_eq!(unsaved.load(Ordering::Relaxed), ahead_bytes);
    saver.take(first.taken(9, "last", true)).unwrap();
    let (_, layers) = write(second.taken(9, "end", true));
    saver.add(1, Some(9), layers);
    assert_eq!(saved(&mut saver, 9), ["ahead", "early", "end", "first", "last", "second"]);
}

#[test]
fn a_layer_of_another_process_is_kept_until_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let (cuts, others): (_, Vec<Box<dyn Outbox<Down>>>) =
        (vec![id()], vec![Box::new(Requests::default())]);
    let mut saver = Saver::new(fence(&store, 2), cuts, Vec::new(), 1, others, Arc::default());
    let second = WorkerRows::new(1);
    let written = |generation| {
        let mut rows = Unwritten::new(store.clone(), vec![id()], generation, 1, 1..2);
        rows.add(second.taken(generation, "row", true));
        let mut layers = Vec::new();
        rows.write(generation, &mut layers).unwrap();
        layers
    };
    written(1);
    let own = written(2);
    let path = own[0].file.path.clone();
    let named = [empty(0).write(&store, 2).unwrap()];
    saver.collect(&named).unwrap();
    let left = store.list("layer").unwrap();
    assert_eq!(left.iter().map(|(name, _)| format!("layer/{name}")).collect::<Vec<_>>(), [path]);
    saver.add(1, Some(2), own);
    saver.layers.clear();
    saver.collect(&named).unwrap();
    assert!(store.list("layer").unwrap().is_empty(), "no snapshot needs it");
}
