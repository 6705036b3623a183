//! The embedded log: an archive in a folder that grows by what it is sent, without any other service.
//!
//! ```text
//! <folder>/topics/<topic>/partition=<p>/<topic>+<p>+<10-digit first offset>.json     the archive: what readers see
//! <folder>/_gateway/journal/<number>.log                                            what was acknowledged and is not there yet
//! <folder>/_gateway/deleted/<topic>-<k>                                             topics that were deleted
//! ```
//!
//! Objects are immutable, so an object a record would be the price of an acknowledgement in the archive itself. Instead records
//! are acknowledged when the journal is synced, all that came during a sync with the next one; and a moment later they are
//! added to the archive, synced, an object for each partition; then the journal's segment is dropped. A log that was killed
//! first puts what is left in the journal where it belongs. Each record has its offset in the journal already, so it is
//! in the archive exactly where it was acknowledged, once.

mod archive;
mod disk;
mod journal;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use crate::connect::log::{Answer, Entry, Log, Part, Place, Refusal};
use crate::error::{Error, Result};

use archive::Key;
use journal::Journal;
use writer::{Append, Backlog, Command, Writer};

/// What a record takes beside its value.
const OVERHEAD: usize = 64;
/// Requests that wait for the writer.
const QUEUE: usize = 4096;
/// After which time it is tried again to add to the archive.
const AGAIN: Duration = Duration::from_secs(1);

/// How a [`Folder`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderOptions {
    /// How long records are gathered for an object; they were acknowledged before.
    pub object_every: Duration,
    /// Bytes of records that may wait on their way into the archive.
    pub room: u32,
}

impl Default for FolderOptions {
    fn default() -> Self {
        FolderOptions { object_every: Duration::from_millis(100), room: 64 << 20 }
    }
}

/// An archive in a folder, open for appending by one process.
pub struct Folder {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Command>>>,
    /// Creations and deletions, one after the other.
    changing: Arc<tokio::sync::Mutex<()>>,
    runtime: Runtime,
    _lock: File,
}

/// What all that work for a folder know.
struct Shared {
    root: PathBuf,
    /// The offset of the next record, by topic and partition.
    topics: Mutex<BTreeMap<Arc<str>, Vec<u64>>>,
    /// Where each partition ends in the archive.
    published: Mutex<BTreeMap<Key, u64>>,
    backlog: Mutex<Backlog>,
    room: Arc<Semaphore>,
    capacity: u32,
    /// There is something to add to the archive; it is to be done now.
    wake: Notify,
    hurry: Notify,
    broken: watch::Sender<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn journal(&self) -> PathBuf {
        self.root.join("_gateway/journal")
    }
}

impl Folder {
    /// Opens the archive in a folder, which need not exist, and adds what an earlier process had acknowledged.
    ///
    /// # Errors
    /// When another process has it open, when it can't be read or written, or when it lacks what the journal goes on from.
    pub fn open(root: &Path, options: FolderOptions) -> Result<Self> {
        if root.as_os_str().is_empty() {
            return Err(Error::config("can't open an archive: its folder has no name").hint("For this folder here give a dot."));
        }
        let failed = |e: std::io::Error| Error::connect(format!("can't open the archive {}", root.display())).because(e);
        let journal = root.join("_gateway/journal");
        disk::make(&journal).map_err(failed)?;
        let lock = File::options().create(true).append(true).open(root.join("_gateway/lock")).map_err(failed)?;
        lock.try_lock().map_err(|_| {
            Error::connect(format!("can't open the archive {}: another gateway has it open", root.display()))
                .hint("Stop the other one first, or send the records to it.")
        })?;
        let topics = recover(root, &journal)?;
        let journal = Journal::begin(&journal).map_err(failed)?;
        journal::drop_before(&root.join("_gateway/journal"), journal.segment()).map_err(failed)?;
        let key = |topic: &Arc<str>, p: usize| (topic.clone(), p as u32);
        let published = topics.iter().flat_map(|(t, ends)| ends.iter().enumerate().map(move |(p, end)| (key(t, p), *end)));
        let shared = Arc::new(Shared {
            root: root.to_path_buf(),
            published: Mutex::new(published.collect()),
            topics: Mutex::new(topics),
            backlog: Mutex::new(Backlog::at(journal.segment())),
            room: Arc::new(Semaphore::new(options.room as usize)),
            capacity: options.room,
            wake: Notify::new(),
            hurry: Notify::new(),
            broken: watch::channel(None).0,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().map_err(failed)?;
        let (queue, commands) = mpsc::channel(QUEUE);
        let writer = Writer { shared: shared.clone(), journal, turns: BTreeMap::new() };
        runtime.spawn_blocking(move || writer.work(commands));
        runtime.spawn(add_to_archive(shared.clone(), options.object_every));
        Ok(Folder { shared, queue: Mutex::new(Some(queue)), changing: Arc::default(), runtime, _lock: lock })
    }

    async fn take(&self, topic: &str, entries: Vec<Entry>) -> Result<Vec<Result<Place, Refusal>>, Refusal> {
        let broken = |entry: &Entry| entry.value.as_ref().is_some_and(|value| memchr::memchr(b'\n', value).is_some());
        if entries.iter().any(broken) {
            return Err(Refusal::Unfit("a record of an archive is a line".to_string()));
        }
        let topic = lock(&self.shared.topics).get_key_value(topic).map(|(name, _)| name.clone()).ok_or(Refusal::NoTopic)?;
        let bytes: usize = entries.iter().map(|entry| OVERHEAD + entry.value.as_ref().map_or(0, |value| value.len())).sum();
        let room = self.shared.room.clone().try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        let room = room.map_err(|_| Refusal::Busy("too many bytes are on their way to the archive".to_string()))?;
        let (done, answer) = oneshot::channel();
        let queue = self.queue()?;
        queue
            .try_send(Command::Append(Append { topic, entries, room, done }))
            .map_err(|_| Refusal::Busy("the journal is behind".to_string()))?;
        let places = answer.await.map_err(|_| Refusal::Failed("the journal can't be written any more".to_string()))??;
        Ok(places.into_iter().map(Ok).collect())
    }

    fn queue(&self) -> Result<mpsc::Sender<Command>, Refusal> {
        lock(&self.queue).clone().ok_or_else(|| Refusal::Busy("the archive is closed".to_string()))
    }

    /// Does a change of topics to its end, whether or not somebody waits for it.
    fn change<F>(&self, change: F) -> Answer<'static, ()>
    where
        F: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let changing = self.changing.clone();
        let changed = self.runtime.spawn(async move {
            let _alone = changing.lock().await;
            change.await
        });
        async move { changed.await.unwrap_or_else(|e| Err(Refusal::Failed(e.to_string()))) }.boxed()
    }
}

impl Log for Folder {
    fn describe(&self) -> String {
        format!("archive {}", self.shared.root.display())
    }

    fn topics(&self) -> Answer<'_, Vec<String>> {
        let topics = lock(&self.shared.topics).keys().map(ToString::to_string).collect();
        async move { Ok(topics) }.boxed()
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<Part>> {
        let count = lock(&self.shared.topics).get(topic).map(Vec::len);
        async move { count.map(|count| Part::even(count as u32)).ok_or(Refusal::NoTopic) }.boxed()
    }

    fn append<'a>(&'a self, topic: &'a str, entries: Vec<Entry>) -> Answer<'a, Vec<Result<Place, Refusal>>> {
        self.take(topic, entries).boxed()
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()> {
        let (shared, topic) = (self.shared.clone(), Arc::<str>::from(topic));
        self.change(async move {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if topic.is_empty() || topic.len() > 200 || topic.starts_with('.') || !topic.chars().all(plain) {
                return Err(Refusal::Unfit(
                    "a name has 1 to 200 letters, digits, '.', '_' and '-', the first of them no '.'".to_string(),
                ));
            }
            if !(1..=archive::PARTITIONS).contains(&partitions) {
                return Err(Refusal::Unfit(format!("a topic has 1 to {} partitions", archive::PARTITIONS)));
            }
            if lock(&shared.topics).contains_key(&topic) {
                return Err(Refusal::Exists);
            }
            archive::create(&shared.root, &topic, partitions).map_err(|e| Refusal::Failed(e.to_string()))?;
            lock(&shared.topics).insert(topic, vec![0; partitions as usize]);
            Ok(())
        })
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        let (shared, topic, queue) = (self.shared.clone(), Arc::<str>::from(topic), self.queue());
        self.change(async move {
            let queue = queue?;
            lock(&shared.topics).remove(&topic).ok_or(Refusal::NoTopic)?;
            settle(&queue).await?;
            lock(&shared.published).retain(|(name, _), _| *name != topic);
            archive::set_aside(&shared.root, &topic).map_err(|e| Refusal::Failed(e.to_string()))
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        let queue = lock(&self.queue).take();
        async move {
            match queue {
                Some(queue) => settle(&queue).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn broken(&self) -> BoxFuture<'_, Error> {
        let mut broken = self.shared.broken.subscribe();
        let journal = self.shared.journal();
        async move {
            let Ok(why) = broken.wait_for(Option::is_some).await.map(|why| why.clone().unwrap_or_default()) else {
                return futures::future::pending().await;
            };
            Error::connect(format!("can't write the journal {}: {why}", journal.display()))
                .hint("What was acknowledged is safe; see to the disk and start again.")
        }
        .boxed()
    }

    fn unseen(&self) -> u64 {
        u64::from(self.shared.capacity).saturating_sub(self.shared.room.available_permits() as u64)
    }
}

/// Waits until all that was taken is in the archive.
async fn settle(queue: &mpsc::Sender<Command>) -> Result<(), Refusal> {
    let (done, settled) = oneshot::channel();
    let lost = || Refusal::Failed("the journal can't be written any more".to_string());
    queue.send(Command::Settle(done)).await.map_err(|_| lost())?;
    settled.await.map_err(|_| lost())
}

/// Adds what is in the journal to the archive, some time after it came.
async fn add_to_archive(shared: Arc<Shared>, every: Duration) {
    loop {
        shared.wake.notified().await;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.hurry.notified() => {}
        }
        let publisher = shared.clone();
        let published = tokio::task::spawn_blocking(move || publisher.publish()).await;
        if let Ok(Err(error)) = published {
            tracing::warn!(%error, folder = %shared.root.display(), "can't add to the archive: try again");
            tokio::time::sleep(AGAIN).await;
            shared.wake.notify_one();
        }
    }
}

/// Adds what is left in the journal to the archive; says where each partition ends.
fn recover(root: &Path, journal: &Path) -> Result<BTreeMap<Arc<str>, Vec<u64>>> {
    let mut topics = archive::ends(root)?;
    let mut left: BTreeMap<Key, Vec<journal::Run>> = BTreeMap::new();
    journal::replay(journal, |run| {
        let end = topics.get(&run.topic).and_then(|ends| ends.get(run.partition as usize)).copied();
        // A topic whose folder is gone was deleted.
        let Some(end) = end else { return Ok(()) };
        let runs = left.entry((run.topic.clone(), run.partition)).or_default();
        let next = runs.last().map_or(end, journal::Run::end);
        if run.first > next {
            let lacks =
                format!("topic {} in {} lacks partition {} from offset {next} on", run.topic, root.display(), run.partition);
            return Err(Error::data(lacks).hint("Bring its missing objects back: the journal goes on behind them."));
        }
        if run.end() > next {
            let seen = (next - run.first) as usize;
            runs.push(journal::Run { first: next, values: run.values[seen..].to_vec(), ..run });
        }
        Ok(())
    })?;
    for (key, runs) in left.into_iter().filter(|(_, runs)| !runs.is_empty()) {
        if let Some(end) = topics.get_mut(&key.0).and_then(|ends| ends.get_mut(key.1 as usize)) {
            archive::add(root, &key, end, &runs)
                .map_err(|e| Error::connect(format!("can't add to topic {} in {}", key.0, root.display())).because(e))?;
        }
    }
    Ok(topics)
}
