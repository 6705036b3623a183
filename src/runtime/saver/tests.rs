//! Layers and snapshots hold the rows of their commits, and none of them is deleted too early.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::*;
use crate::operators::{BUCKETS, Cuts, DiffsCut, Merge, Owners, SavedRows, Seeds};
use crate::store::Store;

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
        let snapshot = Snapshot { n, cuts, layers, sources, sinks, topics };
        snapshot.write(&store, 1).unwrap()
    };
    let named = [snapshot(2), snapshot(1)];
    let mut saver = Saver::new(fence(&store, 2), Vec::new(), Vec::new(), 1, Arc::default());
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
    cuts: Cuts,
    cut: DiffsCut,
}

impl WorkerRows {
    fn new(worker: usize) -> Self {
        let owners = Owners::new(Seeds::of_a_plan(), Rc::new(|error| panic!("{error}")));
        let cuts = Cuts::new(None, worker, 2, |_, _| false);
        let cut = cuts.open_diffs(id(), &owners);
        WorkerRows { cuts, cut }
    }

    /// Adds a datum to an epoch, and takes all rows up to the epoch.
    fn sealed(&self, epoch: Epoch, datum: &str) -> Sealed {
        self.cut.add(epoch, std::iter::once((&datum.to_string(), 1)));
        Sealed { through: epoch, rows: self.cuts.take(epoch).unwrap() }
    }
}

fn id() -> CutId {
    let text = |text: &str| text.to_string();
    CutId { name: text("rows"), types: text("String"), space: text("data"), merge: Merge::Sum }
}

/// Returns the data of the snapshot of a commit after `barrier`.
fn saved(saver: &mut Saver, barrier: Epoch) -> Vec<String> {
    let (cuts, layers, sources) = (Vec::new(), Vec::new(), Ranges::new());
    let (sinks, topics) = (BTreeMap::new(), BTreeMap::new());
    let snapshot = Snapshot { n: barrier, cuts, layers, sources, sinks, topics };
    saver.waiting = Some((barrier, snapshot));
    let Ok(Some(Message::Saved(name))) = saver.save() else { panic!("it is not saved") };
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
    let mut saver = Saver::new(fence(&store, 1), vec![id()], Vec::new(), 2, Arc::default());
    let [first, second] = [0, 1].map(WorkerRows::new);
    saver.take(0, first.sealed(3, "early"), false).unwrap();
    // Memory is short from now on, so all rows are written at once.
    saver.held += LAYER_BYTES;
    saver.take(0, first.sealed(5, "first"), true).unwrap();
    saver.take(0, first.sealed(7, "later"), false).unwrap();
    saver.take(1, second.sealed(5, "second"), true).unwrap();
    saver.take(1, second.sealed(9, "last"), true).unwrap();
    saver.take(0, first.sealed(8, "much later"), false).unwrap();
    assert_eq!(saver.sealed.iter().map(VecDeque::len).sum::<usize>(), 0);
    assert_eq!(saved(&mut saver, 5), ["early", "first", "second"]);
    saver.take(0, first.sealed(9, "very last"), true).unwrap();
    let all = ["early", "first", "last", "later", "much later", "second", "very last"];
    assert_eq!(saved(&mut saver, 9), all);
}
