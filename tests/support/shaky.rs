//! An object store in memory whose requests fail on request: either the request is lost or only its
//! response.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::Future;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use watershed::store::Store;

use super::broken::Fuse;

/// A store on `objects` whose puts and gets fail when `fuse` does.
pub(crate) fn shaky(objects: &Arc<InMemory>, fuse: Fuse) -> Store {
    Store::objects(Arc::new(Shaky { objects: objects.clone(), fuse, careless: false }), "state")
        .unwrap()
}

/// A store on `objects` that overwrites an existing object on create, like servers that ignore the
/// condition.
pub(crate) fn careless(objects: &Arc<InMemory>) -> Store {
    Store::objects(
        Arc::new(Shaky { objects: objects.clone(), fuse: Fuse::sound(), careless: true }),
        "state",
    )
    .unwrap()
}

struct Shaky {
    objects: Arc<InMemory>,
    fuse: Fuse,
    careless: bool,
}

impl fmt::Debug for Shaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shaky")
    }
}

impl fmt::Display for Shaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shaky")
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl Shaky {
    /// Requests in memory complete at the first poll, so one call runs the whole request.
    fn request<'a, T: Send + 'a>(&'a self, request: Answer<'a, T>) -> Answer<'a, T> {
        let mut answer = None;
        let broken = self.fuse.call("request", || {
            answer = Some(futures::executor::block_on(request));
            Ok(())
        });
        let lost = |e: watershed::Error| Error::Generic { store: "shaky", source: e.into() };
        let answer = match (broken, answer) {
            (Ok(()), Some(answer)) => answer,
            (Err(error), _) => Err(lost(error)),
            (Ok(()), None) => unreachable!("a sound request has an answer"),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl ObjectStore for Shaky {
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
        let options = if self.careless { PutOptions::default() } else { options };
        self.request(self.objects.put_opts(location, payload, options))
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
        self.request(self.objects.get_opts(location, options))
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
