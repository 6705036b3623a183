//! The objects, and the requests that are still on their way to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::FutureExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, PutPayload};

use super::fault::Fault;

/// A put on its way.
pub(super) struct LatePut {
    /// The number of requests before it has its effect.
    pub(super) left: u64,
    pub(super) path: Path,
    pub(super) payload: PutPayload,
    pub(super) options: PutOptions,
}

/// Objects, and requests that have not arrived yet. Clones are handles of the same bucket.
#[derive(Clone, Default)]
pub(crate) struct Bucket {
    pub(crate) objects: Arc<InMemory>,
    pub(super) late: Arc<Mutex<Vec<LatePut>>>,
    /// Objects that are not listed yet, with the number of listings that miss them.
    pub(super) unlisted: Arc<Mutex<BTreeMap<Path, u64>>>,
    pub(super) fired: Arc<Mutex<BTreeMap<Fault, u64>>>,
}

impl Bucket {
    /// Returns the number of faults of each kind.
    pub(crate) fn fired(&self) -> BTreeMap<Fault, u64> {
        self.fired.lock().unwrap().clone()
    }

    /// Lets all requests arrive.
    pub(crate) fn settle(&self) {
        self.arrive(u64::MAX);
        self.unlisted.lock().unwrap().clear();
    }

    /// Returns true while puts are on their way.
    pub(crate) fn has_late_puts(&self) -> bool {
        !self.late.lock().unwrap().is_empty()
    }

    /// Lets late puts arrive, after so many more requests.
    pub(super) fn arrive(&self, requests: u64) {
        let mut late = self.late.lock().unwrap();
        late.iter_mut().for_each(|put| put.left = put.left.saturating_sub(requests));
        for LatePut { path, payload, options, .. } in late.extract_if(.., |put| put.left == 0) {
            // Nobody waits for the response.
            drop(self.objects.put_opts(&path, payload, options).now_or_never());
        }
    }

    /// Returns false if the listing misses the object.
    pub(super) fn is_listed(&self, path: &Path) -> bool {
        let mut unlisted = self.unlisted.lock().unwrap();
        let Some(left) = unlisted.get_mut(path) else { return true };
        *left -= 1;
        if *left == 0 {
            unlisted.remove(path);
        }
        false
    }
}
