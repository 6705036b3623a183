//! An object store in memory that loses, delays, repeats and refuses requests, by a seed.
//!
//! A [`Bucket`] outlives the runs. Each run has a connection of its own, a [`Lossy`], whose
//! [`Weather`] decides the faults. A fault depends only on the seed, the request, its path and the
//! number of the attempt, so that the order of threads changes little.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::{Future, FutureExt, ready};
use futures::stream::{BoxStream, StreamExt, iter};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use watershed::store::Store;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::broken::Fuse;

mod bucket;
pub(crate) mod fault;
mod stall;

pub(crate) use bucket::Bucket;
use bucket::LatePut;
use fault::Request;
pub(crate) use fault::{Fault, Weather};
pub(crate) use stall::Stall;

/// A store on `objects` whose requests fail when `fuse` does.
pub(crate) fn shaky(objects: &Arc<InMemory>, fuse: Fuse) -> Store {
    let bucket = Bucket { objects: objects.clone(), ..Bucket::default() };
    Lossy { fuse, ..Lossy::to(&bucket) }.store("state")
}

/// A store on `objects` that overwrites an existing object on create, like servers that ignore the
/// condition.
pub(crate) fn careless(objects: &Arc<InMemory>) -> Store {
    let bucket = Bucket { objects: objects.clone(), ..Bucket::default() };
    Lossy { is_careless: true, ..Lossy::to(&bucket) }.store("state")
}

/// A connection to a bucket.
pub(crate) struct Lossy {
    bucket: Bucket,
    pub(crate) weather: Weather,
    /// The death of the run: later requests have no effect.
    pub(crate) fuse: Fuse,
    pub(crate) stall: Mutex<Option<Stall>>,
    puts: AtomicU64,
    attempts: Arc<Mutex<BTreeMap<String, u64>>>,
    is_careless: bool,
}

impl fmt::Debug for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lossy")
    }
}

impl fmt::Display for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lossy")
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl Lossy {
    /// A sound connection.
    pub(crate) fn to(bucket: &Bucket) -> Self {
        Lossy {
            bucket: bucket.clone(),
            weather: Weather::default(),
            fuse: Fuse::sound(),
            stall: Mutex::default(),
            puts: AtomicU64::new(0),
            attempts: Arc::default(),
            is_careless: false,
        }
    }

    pub(crate) fn store(self, prefix: &str) -> Store {
        Store::objects(Arc::new(self), prefix).unwrap()
    }

    /// Draws the fault of a request, and a number for its extent.
    fn draw(&self, request: Request, path: &Path) -> Option<(Fault, u64)> {
        self.bucket.arrive(1);
        let Weather { seed, permille, faults } = &self.weather;
        let request_name = format!("{} {path}", request as u8);
        let mut attempts = self.attempts.lock().unwrap();
        let attempt = attempts.entry(request_name.clone()).or_default();
        *attempt += 1;
        let drawn = xxh3_64_with_seed(format!("{request_name} {attempt}").as_bytes(), *seed);
        let faults: Vec<Fault> =
            faults.iter().copied().filter(|fault| fault.concerns(request)).collect();
        // Most requests are reads.
        let weight = match request {
            Request::Create => 10,
            Request::Put => 4,
            _ => 1,
        };
        if drawn % 1000 >= permille * weight || faults.is_empty() || self.fuse.broken() {
            return None;
        }
        let fault = faults[(drawn / 1000) as usize % faults.len()];
        *self.bucket.fired.lock().unwrap().entry(fault).or_default() += 1;
        Some((fault, drawn >> 32))
    }

    /// Runs the whole request at once, so that its thread is the one that stalls or fails.
    fn request<'a, T: Send + 'a>(&'a self, request: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(ready(fused(&self.fuse, request)))
    }

    fn stall(&self) {
        let put = self.puts.fetch_add(1, Ordering::SeqCst) + 1;
        let stall = self.stall.lock().unwrap().take_if(|stall| stall.at == put);
        if let Some(Stall { begun, end, .. }) = stall {
            // The test may have given up.
            let _ = begun.send(());
            let _ = end.recv();
        }
    }

    async fn put(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let is_create = options.mode == PutMode::Create;
        let request = if is_create { Request::Create } else { Request::Put };
        let put = |payload, options| self.bucket.objects.put_opts(path, payload, options);
        let Some((fault, extent)) = self.draw(request, path) else {
            return put(payload, options).await;
        };
        let late = |payload, options| {
            let late = LatePut { left: 1 + extent % 120, path: path.clone(), payload, options };
            self.bucket.late.lock().unwrap().push(late);
        };
        match fault {
            Fault::LostReply => drop(put(payload, options).await),
            Fault::LatePut => late(payload, options),
            Fault::RepeatedPut => {
                let done = put(payload.clone(), options.clone()).await;
                late(payload, options);
                return done;
            }
            Fault::LateListing => {
                self.bucket.unlisted.lock().unwrap().insert(path.clone(), 1 + extent % 8);
                return put(payload, options).await;
            }
            _ => {}
        }
        Err(fault.error(path))
    }

    async fn get(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.draw(Request::Get, path);
        let has_body = !options.head;
        let found = self.bucket.objects.get_opts(path, options).await;
        let Some((fault, extent)) = fault else { return found };
        if !has_body || !matches!(fault, Fault::Truncated | Fault::BrokenBody) {
            return Err(fault.error(path));
        }
        let found = found?;
        let (meta, range, attributes) =
            (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let bytes = found.bytes().await?;
        let mut pieces = vec![Ok(bytes.slice(..extent as usize % bytes.len().max(1)))];
        if fault == Fault::BrokenBody || path.as_ref().contains("_delta_log") {
            pieces.push(Err(fault.error(path)));
        }
        let payload = GetResultPayload::Stream(iter(pieces).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }
}

/// Runs a request in memory, which completes at the first poll.
fn now<T>(request: impl Future<Output = T>) -> T {
    request.now_or_never().expect("a request in memory completes at once")
}

fn fused<T>(fuse: &Fuse, request: impl Future<Output = Result<T>>) -> Result<T> {
    let mut answer = None;
    let broken = fuse.call("request", || {
        answer = Some(now(request));
        Ok(())
    });
    let lost = |e: watershed::Error| Error::Generic { store: "lossy", source: e.into() };
    match (broken, answer) {
        (Ok(()), Some(answer)) => answer,
        (Err(error), _) => Err(lost(error)),
        (Ok(()), None) => unreachable!("a sound request has an answer"),
    }
}

impl ObjectStore for Lossy {
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
        self.stall();
        let options = if self.is_careless { PutOptions::default() } else { options };
        self.request(Box::pin(self.put(location, payload, options)))
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
        self.bucket.objects.put_multipart_opts(location, options)
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
        self.request(Box::pin(self.get(location, options)))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let locations: Vec<_> = now(locations.collect());
        let delete = |location: Result<Path>| {
            let path = location?;
            let delete = async {
                match self.draw(Request::Delete, &path) {
                    Some((fault, _)) if fault != Fault::LostReply => Err(fault.error(&path)),
                    fault => {
                        let deleted = self.bucket.objects.delete(&path).await;
                        fault.map_or(deleted, |(fault, _)| Err(fault.error(&path)))
                    }
                }
            };
            fused(&self.fuse, delete).map(|()| path)
        };
        iter(locations.into_iter().map(delete).collect::<Vec<_>>()).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        let listed = async {
            match self.draw(Request::List, &path) {
                Some((fault, _)) => Err(fault.error(&path)),
                None => Ok(self.bucket.objects.list(prefix).collect::<Vec<_>>().await),
            }
        };
        let mut listed = fused(&self.fuse, listed).unwrap_or_else(|error| vec![Err(error)]);
        listed.retain(|o| o.as_ref().map_or(true, |o| self.bucket.is_listed(&o.location)));
        iter(listed).boxed()
    }

    fn list_with_delimiter<'a, 'p, 'f>(&'a self, prefix: Option<&'p Path>) -> Answer<'f, ListResult>
    where
        'a: 'f,
        'p: 'f,
    {
        self.request(Box::pin(async move {
            let path = prefix.cloned().unwrap_or_default();
            if let Some((fault, _)) = self.draw(Request::List, &path) {
                return Err(fault.error(&path));
            }
            let mut listed = self.bucket.objects.list_with_delimiter(prefix).await?;
            listed.objects.retain(|object| self.bucket.is_listed(&object.location));
            Ok(listed)
        }))
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
        self.bucket.objects.copy_opts(from, to, options)
    }
}
