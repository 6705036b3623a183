//! An object store whose requests are turns: one before each request, at which its run may crash
//! without it, and one after it, at which the response may be lost with its run.

use std::fmt;
use std::pin::Pin;

use futures::future::{Future, FutureExt, ready};
use futures::stream::{BoxStream, StreamExt, iter};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use watershed::simulation::point;
use watershed::store::Store;
use xxhash_rust::xxh3::xxh3_64;

use crate::support::lossy::Lossy;

/// A lossy connection in a simulation.
#[derive(Debug)]
pub(super) struct Connection(Lossy);

impl Connection {
    pub(super) fn store(lossy: Lossy) -> Store {
        Store::objects(std::sync::Arc::new(Connection(lossy)), "").unwrap()
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connection")
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Returns the name of a request at a path: a folder of the state, or a part of a Delta table.
fn place(request: &str, path: &Path) -> String {
    let folders: Vec<_> = path.parts().take(3).collect();
    match &folders[..] {
        [lake, _, log] if lake.as_ref() == "lake" && log.as_ref() == "_delta_log" => {
            format!("{request} a log of Delta")
        }
        [lake, ..] if lake.as_ref() == "lake" => format!("{request} a file of Delta"),
        [_, folder, ..] => format!("{request} {}", folder.as_ref()),
        _ => format!("{request} state"),
    }
}

/// Passes a request to the connection, which completes it at once.
fn request<'a, T: Send + 'a>(
    kind: &str,
    path: &Path,
    bytes: &[u8],
    request: impl FnOnce() -> Answer<'a, T>,
) -> Answer<'a, T> {
    let name = place(kind, path);
    point(&name, format!("{path} {:x}", xxh3_64(bytes)).as_bytes());
    let answer = request().now_or_never().unwrap();
    point(&format!("{name}, done"), &[u8::from(answer.is_ok())]);
    Box::pin(ready(answer))
}

impl ObjectStore for Connection {
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
        let kind = if options.mode == PutMode::Create { "create" } else { "put" };
        let bytes: Vec<u8> = payload.iter().flat_map(|bytes| bytes.to_vec()).collect();
        request(kind, location, &bytes, || self.0.put_opts(location, payload, options))
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
        self.0.put_multipart_opts(location, options)
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
        request("get", location, &[], || self.0.get_opts(location, options))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let locations: Vec<_> = locations.collect::<Vec<_>>().now_or_never().unwrap();
        for path in locations.iter().flatten() {
            point(&place("delete", path), path.as_ref().as_bytes());
        }
        let deleted = self.0.delete_stream(iter(locations).boxed());
        point("delete, done", &[]);
        deleted
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        point("list", prefix.map_or("", |prefix| prefix.as_ref()).as_bytes());
        self.0.list(prefix)
    }

    fn list_with_delimiter<'a, 'p, 'f>(&'a self, prefix: Option<&'p Path>) -> Answer<'f, ListResult>
    where
        'a: 'f,
        'p: 'f,
    {
        let path = prefix.cloned().unwrap_or_default();
        request("list", &path, &[], || self.0.list_with_delimiter(prefix))
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
        self.0.copy_opts(from, to, options)
    }
}
