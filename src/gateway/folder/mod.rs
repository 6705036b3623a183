//! The embedded log: an archive in a folder that grows by what it is sent, without any other
//! service.
//!
//! ```text
//! <folder>/topics/<topic>/partition=<p>/<topic>+<p>+<10-digit first offset>.json     the archive: what readers see
//! <folder>/_gateway/journal/<number>.log                                            what was acknowledged and is not there yet
//! <folder>/_gateway/deleted/<topic>-<k>                                             topics that were deleted
//! <folder>/.writing                                                                 the mark: one process writes
//! ```
//!
//! Objects are immutable, so an object a record would be the price of an acknowledgement in the
//! archive itself. Instead records are acknowledged when the journal is synced, all that came
//! during a sync with the next one; and a moment later they are added to the archive, synced, an
//! object for each partition; then the journal's segment is dropped. A log that was killed first
//! puts what is left in the journal where it belongs. Each record has its offset in the journal
//! already, so it is in the archive exactly where it was acknowledged, once. Objects are only ever
//! created: one that is there in the place of another, like a folder that is gone, ends the log
//! with an error, and the journal keeps what was acknowledged.

mod archive;
mod disk;
mod frame;
mod journal;
mod recover;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use crate::connect::log::{Answer, Entry, Log, Part, Place, Refusal};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Mark;

use journal::Journal;
use writer::{Append, Backlog, Command, Published, Writer};

/// What a record takes beside its value.
const OVERHEAD: usize = 64;
/// Requests that wait for the writer.
const QUEUE: usize = 4096;
/// After which time it is tried again to add to the archive.
const AGAIN: Duration = Duration::from_secs(1);
/// After which time without records the journal is emptied: whoever comes after a kill then finds
/// nothing to go on with.
const IDLE: Duration = Duration::from_secs(1);

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
    _mark: Mark,
}

/// What all that work for a folder know.
struct Shared {
    root: PathBuf,
    /// The offset of the next record, by topic and partition.
    topics: Mutex<BTreeMap<Arc<str>, Vec<u64>>>,
    published: Mutex<Published>,
    backlog: Mutex<Backlog>,
    room: Arc<Semaphore>,
    capacity: u32,
    /// There is something to add to the archive; it is to be done now.
    wake: Notify,
    hurry: Notify,
    /// Kind and text of the error after which nothing is appended any more.
    broken: watch::Sender<Option<(ErrorKind, String)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn journal(&self) -> PathBuf {
        self.root.join("_gateway/journal")
    }

    /// Ends the log; the first error stands.
    fn give_up(&self, error: &Error) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert_with(|| (error.kind(), error.to_string()));
            first
        });
    }
}

impl Folder {
    /// Opens the archive in a folder, which need not exist, and adds what an earlier process had
    /// acknowledged.
    ///
    /// # Errors
    /// When another process writes it, when it can't be read or written, when a topic's folder is
    /// not as a log leaves it, or when it lacks what the journal goes on from.
    pub fn open(root: &Path, options: FolderOptions) -> Result<Self> {
        if root.as_os_str().is_empty() {
            return Err(Error::config("can't open an archive: its folder has no name")
                .hint("For this folder here give a dot."));
        }
        let failed = |e: std::io::Error| {
            Error::connect(format!("can't open the archive {}", root.display())).because(e)
        };
        let mark = Mark::of_gateway(root)?;
        let journal = root.join("_gateway/journal");
        disk::make(&journal).map_err(failed)?;
        // An earlier process may have made or deleted a topic and failed before that was durable.
        for folder in [root.join("topics"), root.join("_gateway/deleted")]
            .iter()
            .filter(|folder| folder.is_dir())
        {
            disk::make(folder).and_then(|()| disk::sync(folder)).map_err(failed)?;
        }
        let (topics, last) = recover::recover(root, &journal)?;
        let journal = Journal::begin(&journal, last).map_err(failed)?;
        journal::drop_before(&root.join("_gateway/journal"), journal.segment()).map_err(failed)?;
        let key = |topic: &Arc<str>, p: usize| (topic.clone(), p as u32);
        let published = topics
            .iter()
            .flat_map(|(t, ends)| ends.iter().enumerate().map(move |(p, end)| (key(t, p), *end)));
        let shared = Arc::new(Shared {
            root: root.to_path_buf(),
            published: Mutex::new(Published::at(published.collect())),
            topics: Mutex::new(topics),
            backlog: Mutex::new(Backlog::at(journal.segment())),
            room: Arc::new(Semaphore::new(options.room as usize)),
            capacity: options.room,
            wake: Notify::new(),
            hurry: Notify::new(),
            broken: watch::channel(None).0,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .map_err(failed)?;
        let (queue, commands) = mpsc::channel(QUEUE);
        let writer = Writer { shared: shared.clone(), journal, turns: BTreeMap::new() };
        runtime.spawn_blocking(move || writer.work(commands));
        runtime.spawn(add_to_archive(shared.clone(), queue.downgrade(), options.object_every));
        Ok(Folder {
            shared,
            queue: Mutex::new(Some(queue)),
            changing: Arc::default(),
            runtime,
            _mark: mark,
        })
    }

    async fn take(
        &self,
        topic: &str,
        entries: Vec<Entry>,
    ) -> Result<Vec<Result<Place, Refusal>>, Refusal> {
        let broken = |entry: &Entry| {
            entry.value.as_ref().is_some_and(|value| memchr::memchr(b'\n', value).is_some())
        };
        if entries.iter().any(broken) {
            return Err(Refusal::Unfit("a record of an archive is a line".to_string()));
        }
        if let Some((_, why)) = &*self.shared.broken.borrow() {
            return Err(Refusal::Failed(why.clone()));
        }
        let topic = lock(&self.shared.topics)
            .get_key_value(topic)
            .map(|(name, _)| name.clone())
            .ok_or(Refusal::NoTopic)?;
        let bytes: usize = entries
            .iter()
            .map(|entry| OVERHEAD + entry.value.as_ref().map_or(0, |value| value.len()))
            .sum();
        let room = self
            .shared
            .room
            .clone()
            .try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        let room = room.map_err(|_| {
            Refusal::Busy("too many bytes are on their way to the archive".to_string())
        })?;
        let (done, answer) = oneshot::channel();
        let queue = self.queue()?;
        queue
            .try_send(Command::Append(Append { topic, entries, room, done }))
            .map_err(|_| Refusal::Busy("the journal is behind".to_string()))?;
        let places = answer
            .await
            .map_err(|_| Refusal::Failed("the journal can't be written any more".to_string()))??;
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
        let (shared, changing) = (self.shared.clone(), self.changing.clone());
        let changed = self.runtime.spawn(async move {
            let _alone = changing.lock().await;
            let changed = change.await;
            if let Err(error) = disk::sound() {
                let what = format!("can't go on with the archive {}", shared.root.display());
                let hint = "What was acknowledged is safe; see to the disk and start again.";
                shared.give_up(&Error::connect(what).because(error).hint(hint));
            }
            changed
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

    fn append<'a>(
        &'a self,
        topic: &'a str,
        entries: Vec<Entry>,
    ) -> Answer<'a, Vec<Result<Place, Refusal>>> {
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
            // Of one of that name that was deleted, even if that failed half-way.
            lock(&shared.published).ends.retain(|(name, _), _| *name != topic);
            lock(&shared.topics).insert(topic, vec![0; partitions as usize]);
            Ok(())
        })
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        let (shared, topic, queue) = (self.shared.clone(), Arc::<str>::from(topic), self.queue());
        self.change(async move {
            let queue = queue?;
            let ends = lock(&shared.topics).remove(&topic).ok_or(Refusal::NoTopic)?;
            let deleted = delete(&shared, &queue, &topic).await;
            if deleted.is_err() && shared.root.join(format!("topics/{topic}")).exists() {
                lock(&shared.topics).insert(topic, ends);
            }
            deleted
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        let queue = lock(&self.queue).take();
        async move {
            match queue {
                Some(queue) => settle(&self.shared, &queue).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn broken(&self) -> BoxFuture<'_, Error> {
        let mut broken = self.shared.broken.subscribe();
        async move {
            match broken.wait_for(Option::is_some).await.map(|broken| broken.clone()) {
                Ok(Some((kind, what))) => Error::new(kind, what),
                _ => futures::future::pending().await,
            }
        }
        .boxed()
    }

    fn unseen(&self) -> u64 {
        u64::from(self.shared.capacity).saturating_sub(self.shared.room.available_permits() as u64)
    }
}

/// Waits until all that was taken is in the archive.
async fn settle(shared: &Shared, queue: &mpsc::Sender<Command>) -> Result<(), Refusal> {
    let (done, settled) = oneshot::channel();
    let lost = || Refusal::Failed("the journal can't be written any more".to_string());
    queue.send(Command::Settle(done)).await.map_err(|_| lost())?;
    let mut broken = shared.broken.subscribe();
    tokio::select! {
        settled = settled => settled.map_err(|_| lost()),
        broken = broken.wait_for(Option::is_some) => {
            Err(broken.ok().and_then(|broken| broken.clone()).map_or_else(lost, |(_, what)| Refusal::Failed(what)))
        }
    }
}

/// Sets a topic aside that takes no records any more, when that is in the journal.
async fn delete(
    shared: &Shared,
    queue: &mpsc::Sender<Command>,
    topic: &Arc<str>,
) -> Result<(), Refusal> {
    let failed = |e: std::io::Error| Refusal::Failed(e.to_string());
    settle(shared, queue).await?;
    let aside = archive::aside(&shared.root, topic).map_err(failed)?;
    let (done, noted) = oneshot::channel();
    let lost = || Refusal::Failed("the journal can't be written any more".to_string());
    let note = Command::Delete { topic: topic.clone(), aside: aside.clone(), done };
    queue.send(note).await.map_err(|_| lost())?;
    noted.await.map_err(|_| lost())??;
    archive::set_aside(&shared.root, topic, &aside).map_err(failed)
}

/// Adds what is in the journal to the archive, some time after it came, and empties the journal
/// when nothing comes any more.
async fn add_to_archive(shared: Arc<Shared>, queue: mpsc::WeakSender<Command>, every: Duration) {
    // True while the journal still holds records that are in the archive.
    let mut full = false;
    loop {
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(IDLE), if full => {
                // This comes back to wake, and a queue that is full is not idle.
                full = queue.upgrade().is_some_and(|queue| queue.try_send(Command::Settle(oneshot::channel().0)).is_err());
                continue;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.hurry.notified() => {}
        }
        let publisher = shared.clone();
        match tokio::task::spawn_blocking(move || publisher.publish()).await {
            Ok(Ok(any)) => full |= any,
            Ok(Err(error)) if error.kind() == ErrorKind::Data || disk::is_lost() => {
                return shared.give_up(&error);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, folder = %shared.root.display(), "can't add to the archive: try again");
                tokio::time::sleep(AGAIN).await;
                shared.wake.notify_one();
            }
            Err(_) => {}
        }
    }
}
