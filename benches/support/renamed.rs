//! Corrections in files: each is one object, which is renamed into an archive that a run follows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use watershed::connect::{Partition, Poll, Source};
use watershed::connectors::archive::layout::{ObjectName, partition_path};
use watershed::connectors::archive::{Archive, ArchiveTopic};

use crate::Result;
use crate::support::archive::KINDS;
use crate::support::latency::Log;

/// A topic with one partition.
#[derive(Clone)]
pub(crate) struct Renamed {
    topic: ArchiveTopic,
    name: &'static str,
    /// The folder of the archive.
    root: PathBuf,
    next: Arc<AtomicU64>,
    read: Arc<Mutex<Option<Instant>>>,
}

impl Renamed {
    /// Creates a topic of each kind in an archive in `work`.
    pub(crate) fn three(work: &Path) -> Result<[Renamed; 3]> {
        let root = work.join("corrections");
        let archive = Archive::open(&root.display().to_string())?;
        for name in KINDS {
            fs::create_dir_all(root.join(partition_path(name, 0)))?;
        }
        Ok(KINDS.map(|name| Renamed {
            topic: archive.topic(name),
            name,
            root: root.clone(),
            next: Arc::default(),
            read: Arc::default(),
        }))
    }
}

impl Log for Renamed {
    fn append(&self, line: &[u8]) -> Result {
        let object = ObjectName::new(0, self.next.fetch_add(1, Ordering::Relaxed));
        let staged = self.root.join("staged");
        fs::write(&staged, line)?;
        let folder = self.root.join(partition_path(self.name, 0));
        Ok(fs::rename(staged, folder.join(object.print(self.name)))?)
    }

    fn read_at(&self) -> Option<Instant> {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Renamed {
    fn describe(&self) -> String {
        self.topic.describe()
    }

    fn partitions(&self) -> watershed::Result<Vec<u32>> {
        Source::partitions(&self.topic)
    }

    fn open(
        &self,
        partition: u32,
        from: Option<u64>,
        follow: bool,
    ) -> watershed::Result<Box<dyn Partition>> {
        let reader = self.topic.open(partition, from, follow)?;
        Ok(Box::new(Reader { reader, read: self.read.clone() }))
    }
}

/// A reader that records the time of its last read.
struct Reader {
    reader: Box<dyn Partition>,
    read: Arc<Mutex<Option<Instant>>>,
}

impl Partition for Reader {
    fn poll(&mut self) -> watershed::Result<Poll> {
        let poll = self.reader.poll()?;
        if matches!(poll, Poll::Batch(_)) {
            *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(poll)
    }

    fn register(&mut self, waker: &Waker) -> Option<Duration> {
        self.reader.register(waker)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.reader.wait(timeout)
    }
}
