//! An object store that holds back versions of a log without an answer, and makes them later.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::executor::block_on;
use futures::future::Future;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};

use crate::store::Store;

/// The object store. Clones are handles of the same store.
#[derive(Clone, Default)]
pub(super) struct Late {
    objects: Arc<InMemory>,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    holds: bool,
    requests: Vec<(Path, PutPayload, PutOptions)>,
}

impl Late {
    pub(super) fn store(&self) -> Store {
        Store::objects(Arc::new(self.clone()), "a lake/of/tables").unwrap()
    }

    /// Copies the missing objects from another store.
    pub(super) fn fill(&self, other: &Late) {
        let found: Vec<_> = block_on(other.objects.list(None).collect());
        for path in found.into_iter().map(|meta| meta.unwrap().location) {
            let bytes =
                block_on(async { other.objects.get(&path).await.unwrap().bytes().await.unwrap() });
            // An object that exists stays.
            drop(block_on(self.objects.put_opts(&path, bytes.into(), PutMode::Create.into())));
        }
    }

    /// Holds back the versions that `work` makes: it receives errors.
    pub(super) fn holding<T>(&self, work: impl FnOnce() -> T) -> T {
        self.held.lock().unwrap().holds = true;
        let result = work();
        self.held.lock().unwrap().holds = false;
        result
    }

    /// Creates the versions that were held back, unless they exist. Returns their number.
    pub(super) fn land(&self) -> usize {
        let requests = std::mem::take(&mut self.held.lock().unwrap().requests);
        let count = requests.len();
        for (path, payload, options) in requests {
            // Nobody receives the answer that one exists.
            drop(block_on(self.objects.put_opts(&path, payload, options)));
        }
        count
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("late")
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("late")
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl ObjectStore for Late {
    fn put_opts<'a, 'p, 'f>(
        &'a self,
        location: &'p Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<'f, PutResult>
    where
        'a: 'f,
        'p: 'f,
    {
        let mut held = self.held.lock().unwrap();
        if held.holds && location.extension() == Some("json") {
            held.requests.push((location.clone(), payload, options));
            let lost = Error::Generic { store: "late", source: "no answer".into() };
            return Box::pin(std::future::ready(Err(lost)));
        }
        self.objects.put_opts(location, payload, options)
    }

    fn put_multipart_opts<'a, 'p, 'f>(
        &'a self,
        location: &'p Path,
        options: PutMultipartOptions,
    ) -> Answer<'f, Box<dyn MultipartUpload>>
    where
        'a: 'f,
        'p: 'f,
    {
        self.objects.put_multipart_opts(location, options)
    }

    fn get_opts<'a, 'p, 'f>(
        &'a self,
        location: &'p Path,
        options: GetOptions,
    ) -> Answer<'f, GetResult>
    where
        'a: 'f,
        'p: 'f,
    {
        self.objects.get_opts(location, options)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    fn list_with_delimiter<'a, 'p, 'f>(&'a self, prefix: Option<&'p Path>) -> Answer<'f, ListResult>
    where
        'a: 'f,
        'p: 'f,
    {
        self.objects.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'p, 'q, 'f>(
        &'a self,
        from: &'p Path,
        to: &'q Path,
        options: CopyOptions,
    ) -> Answer<'f, ()>
    where
        'a: 'f,
        'p: 'f,
        'q: 'f,
    {
        self.objects.copy_opts(from, to, options)
    }
}
