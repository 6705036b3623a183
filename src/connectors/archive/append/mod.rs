//! Appending to an archive in a folder, without any other service.
//!
//! ```text
//! <folder>/topics/…                         the archive: the objects that readers see
//! <folder>/_gateway/journal/<number>.log    acknowledged records that are not in the archive yet
//! <folder>/_gateway/deleted/<topic>-<k>     deleted topics
//! <folder>/.writing                         the lock: one process appends
//! ```
//!
//! Archive objects are immutable: acknowledging straight into the archive would cost one object per
//! record. So records are written to a journal and acknowledged after its sync; all records that
//! arrive during a sync share the next one. A moment later they are published: one synced object
//! per partition. Then the journal's segment is dropped.
//!
//! A record has its offset in the journal already. After a crash, recovery publishes the rest of
//! the journal, so each acknowledged record is in the archive once, at its acknowledged offset.
//! Objects are only ever created. If another object has the name, or a partition's folder is gone,
//! appending ends with an error, and the journal keeps the records.

mod command;
mod frame;
mod journal;
mod publish;
mod recover;
mod topics;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use crate::connect::append::{Answer, Append, Appended, NewRecord, PartitionInfo, Refusal};
use crate::error::{Error, ErrorKind, Result};
use crate::store::disk;
use crate::sync::{lock, own_runtime};

use super::layout;
use super::lock::WriterLock;

use command::{Command, Request};
use journal::Journal;
use publish::{Backlog, Published, publish_all};
use writer::Writer;

/// Memory of a record besides its value.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// Most requests that wait for the writer.
const QUEUE_REQUESTS: usize = 4096;

/// The options of an [`ArchiveAppender`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendOptions {
    /// Time that acknowledged records are gathered for an object.
    pub object_interval: Duration,
    /// Most bytes of acknowledged records that are not published yet.
    pub pending_max_bytes: u32,
}

impl Default for AppendOptions {
    fn default() -> Self {
        AppendOptions { object_interval: Duration::from_millis(100), pending_max_bytes: 64 << 20 }
    }
}

/// An archive in a folder, open for appending by one process.
pub struct ArchiveAppender {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Command>>>,
    /// Held while a topic is created or deleted.
    changing: Arc<tokio::sync::Mutex<()>>,
    runtime: Runtime,
    _lock: WriterLock,
}

/// The state of an appender, its writer and its publisher.
struct Shared {
    root: PathBuf,
    /// The offset of the next record, by topic and partition.
    topics: Mutex<BTreeMap<Arc<str>, Vec<u64>>>,
    published: Mutex<Published>,
    backlog: Mutex<Backlog>,
    /// Room for records that are not published yet, in bytes.
    room: Arc<Semaphore>,
    capacity: u32,
    /// Notified when there are records to publish.
    wake: Notify,
    /// Notified when they are to be published without delay.
    hurry: Notify,
    /// Kind and text of the error after which nothing is appended any more.
    broken: watch::Sender<Option<(ErrorKind, String)>>,
}

fn journal_lost() -> Refusal {
    Refusal::Failed("the journal can't be written any more".to_string())
}

impl Shared {
    fn journal(&self) -> PathBuf {
        self.root.join(layout::JOURNAL)
    }

    /// Ends appending; the first error stands.
    fn give_up(&self, error: &Error) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert_with(|| (error.kind(), error.to_string()));
            first
        });
    }
}

impl ArchiveAppender {
    /// Opens the archive in the folder `root`, which need not exist, and publishes the records that
    /// an earlier process has acknowledged.
    ///
    /// # Errors
    /// When another process writes the archive, or it can't be read or written. When a topic's
    /// folder has objects of another layout, or lacks the objects that the journal continues.
    ///
    /// ```
    /// use futures::executor::block_on;
    /// use watershed::connect::append::{Append, NewRecord, Position};
    /// use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// let archive = ArchiveAppender::open(folder.path(), AppendOptions::default())?;
    /// block_on(archive.create("pin", 1)).unwrap();
    /// let record = NewRecord { value: Some("{}".into()), ..NewRecord::default() };
    /// let appended = block_on(archive.append("pin", vec![record])).unwrap();
    /// assert_eq!(appended[0].as_ref().unwrap().position, Position::Offset(0));
    /// block_on(archive.close()).unwrap();
    /// # Ok::<(), watershed::Error>(())
    /// ```
    pub fn open(root: &Path, options: AppendOptions) -> Result<Self> {
        if root.as_os_str().is_empty() {
            return Err(Error::config("can't open an archive: its folder has no name")
                .hint("Give a dot for the current folder."));
        }
        let failed = |e: std::io::Error| {
            Error::connect(format!("can't open the archive {}", root.display())).because(e)
        };
        let writer_lock = WriterLock::for_appender(root)?;
        let journal_folder = root.join(layout::JOURNAL);
        disk::create_dir_all(&journal_folder).map_err(failed)?;
        // An earlier process may have created or deleted a topic and failed before its sync.
        let folders = [layout::TOPICS, layout::DELETED].map(|folder| root.join(folder));
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            disk::create_dir_all(folder).and_then(|()| disk::sync(folder)).map_err(failed)?;
        }
        let (topics, last) = recover::recover(root, &journal_folder)?;
        let journal = Journal::begin(&journal_folder, last).map_err(failed)?;
        journal::drop_before(&journal_folder, journal.segment()).map_err(failed)?;
        let shared = Arc::new(Shared {
            root: root.to_path_buf(),
            published: Mutex::new(Published::at(&topics)),
            topics: Mutex::new(topics),
            backlog: Mutex::new(Backlog::at(journal.segment())),
            room: Arc::new(Semaphore::new(options.pending_max_bytes as usize)),
            capacity: options.pending_max_bytes,
            wake: Notify::new(),
            hurry: Notify::new(),
            broken: watch::channel(None).0,
        });
        let runtime = own_runtime("archive", 1)?;
        let (queue, commands) = mpsc::channel(QUEUE_REQUESTS);
        let writer = Writer { shared: shared.clone(), journal, turns: BTreeMap::new() };
        runtime.spawn_blocking(move || writer.work(commands));
        runtime.spawn(publish_all(shared.clone(), queue.downgrade(), options.object_interval));
        Ok(ArchiveAppender {
            shared,
            queue: Mutex::new(Some(queue)),
            changing: Arc::default(),
            runtime,
            _lock: writer_lock,
        })
    }

    async fn take(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
    ) -> Result<Vec<Result<Appended, Refusal>>, Refusal> {
        let shared = &self.shared;
        let values = || records.iter().filter_map(|record| record.value.as_ref());
        if values().any(|value| memchr::memchr(b'\n', value).is_some()) {
            return Err(Refusal::Invalid("a record of an archive is a line".to_string()));
        }
        if let Some((_, why)) = &*shared.broken.borrow() {
            return Err(Refusal::Failed(why.clone()));
        }
        let found = lock(&shared.topics).get_key_value(topic).map(|(name, _)| name.clone());
        let topic = found.ok_or(Refusal::NoTopic)?;
        let bytes =
            RECORD_OVERHEAD_BYTES * records.len() + values().map(|v| v.len()).sum::<usize>();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = shared.room.clone().try_acquire_many_owned(bytes).map_err(|_| {
            Refusal::Busy("too many bytes are on their way to the archive".to_string())
        })?;
        let (done, placed) = oneshot::channel();
        let request = Command::Append(Request { topic, records, room, done });
        let sent = self.queue()?.try_send(request);
        sent.map_err(|_| Refusal::Busy("the journal is behind".to_string()))?;
        let places = placed.await.map_err(|_| journal_lost())??;
        Ok(places.into_iter().map(Ok).collect())
    }

    fn queue(&self) -> Result<mpsc::Sender<Command>, Refusal> {
        lock(&self.queue).clone().ok_or_else(|| Refusal::Busy("the archive is closed".to_string()))
    }

    /// Runs a change of topics to its end, even if its client disconnects.
    fn change<F>(&self, change: F) -> Answer<'static, ()>
    where
        F: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let (shared, changing) = (self.shared.clone(), self.changing.clone());
        let changed = self.runtime.spawn(async move {
            let _changing = changing.lock().await;
            let changed = change.await;
            if let Err(error) = disk::check_usable() {
                let failed = format!("can't go on with the archive {}", shared.root.display());
                let hint = "Acknowledged records are safe. Repair the disk and start again.";
                shared.give_up(&Error::connect(failed).because(error).hint(hint));
            }
            changed
        });
        async move { changed.await.unwrap_or_else(|e| Err(Refusal::Failed(e.to_string()))) }.boxed()
    }
}

impl Append for ArchiveAppender {
    fn describe(&self) -> String {
        format!("archive {}", self.shared.root.display())
    }

    fn topics(&self) -> Answer<'_, Vec<String>> {
        let topics = lock(&self.shared.topics).keys().map(ToString::to_string).collect();
        async move { Ok(topics) }.boxed()
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<PartitionInfo>> {
        let count = lock(&self.shared.topics).get(topic).map(Vec::len);
        async move { count.map(|count| PartitionInfo::even(count as u32)).ok_or(Refusal::NoTopic) }
            .boxed()
    }

    fn append<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<NewRecord>,
    ) -> Answer<'a, Vec<Result<Appended, Refusal>>> {
        self.take(topic, records).boxed()
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()> {
        let (shared, topic) = (self.shared.clone(), Arc::<str>::from(topic));
        self.change(async move {
            if !topics::is_name(&topic) {
                let rule = "a name has 1 to 200 letters, digits, '.', '_' and '-', the first of \
                            them no '.'";
                return Err(Refusal::Invalid(rule.to_string()));
            }
            if !(1..=topics::MAX_PARTITIONS).contains(&partitions) {
                let most = topics::MAX_PARTITIONS;
                return Err(Refusal::Invalid(format!("a topic has 1 to {most} partitions")));
            }
            if lock(&shared.topics).contains_key(&topic) {
                return Err(Refusal::Exists);
            }
            topics::create(&shared.root, &topic, partitions)
                .map_err(|e| Refusal::Failed(e.to_string()))?;
            // A topic of this name may have been deleted, perhaps only in part.
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
            if deleted.is_err() && shared.root.join(layout::topic_path(&topic)).exists() {
                lock(&shared.topics).insert(topic, ends);
            }
            deleted
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        let queue = lock(&self.queue).take();
        async move {
            match queue {
                Some(queue) => drain(&self.shared, &queue).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn broken(&self) -> BoxFuture<'_, Error> {
        let mut broken = self.shared.broken.subscribe();
        async move {
            match broken.wait_for(Option::is_some).await.map(|broken| broken.clone()) {
                Ok(Some((kind, why))) => Error::new(kind, why),
                _ => futures::future::pending().await,
            }
        }
        .boxed()
    }

    fn unseen(&self) -> u64 {
        u64::from(self.shared.capacity).saturating_sub(self.shared.room.available_permits() as u64)
    }
}

/// Waits until all acknowledged records are published.
async fn drain(shared: &Shared, queue: &mpsc::Sender<Command>) -> Result<(), Refusal> {
    let (done, drained) = oneshot::channel();
    queue.send(Command::Drain(done)).await.map_err(|_| journal_lost())?;
    let mut broken = shared.broken.subscribe();
    tokio::select! {
        drained = drained => drained.map_err(|_| journal_lost()),
        broken = broken.wait_for(Option::is_some) => {
            let why = broken.ok().and_then(|broken| broken.clone());
            Err(why.map_or_else(journal_lost, |(_, why)| Refusal::Failed(why)))
        }
    }
}

/// Moves a topic aside that takes no records any more, once that is in the journal.
async fn delete(
    shared: &Shared,
    queue: &mpsc::Sender<Command>,
    topic: &Arc<str>,
) -> Result<(), Refusal> {
    let failed = |e: std::io::Error| Refusal::Failed(e.to_string());
    drain(shared, queue).await?;
    let aside = topics::aside(&shared.root, topic).map_err(failed)?;
    let (done, noted) = oneshot::channel();
    let note = Command::Delete { topic: topic.clone(), aside: aside.clone(), done };
    queue.send(note).await.map_err(|_| journal_lost())?;
    noted.await.map_err(|_| journal_lost())??;
    topics::set_aside(&shared.root, topic, &aside).map_err(failed)
}
