//! The folders that the kernel watches, and the objects that its events name.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::fs;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{ReadFlags, WatchFlags, add_watch, remove_watch};
use rustix::fs::statfs;
use rustix::io::Errno;

use crate::faults;
use crate::sync::now;

use super::super::finder::Listed;
use super::super::layout::{ObjectName, is_of_sink, partition_of};
use super::changes::Followers;

/// The longest time for which a new file is left alone until its writer closes it. A writer should
/// rename a complete file into place, but many copy.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The types of file systems whose changes on other machines cause no events here: NFS, SMB, CIFS,
/// FUSE, 9P, Ceph, Lustre, AFS and GPFS (statfs(2)).
const REMOTE_FILE_SYSTEMS: [u32; 10] = [
    0x6969,
    0x517B,
    0xFE53_4D42,
    0xFF53_4D42,
    0x6573_5546,
    0x0102_1997,
    0x00C3_6400,
    0x0BD0_0BD0,
    0x5346_414F,
    0x4750_4653,
];

/// The watched folders of an archive.
pub(super) struct Folders {
    kernel: Arc<OwnedFd>,
    /// By the number that the kernel gave. Several links may lead to one folder.
    watched: HashMap<i32, Vec<Folder>>,
    roots: HashMap<Arc<str>, Root>,
    /// Objects that were created and not closed yet, each with the time at which they are read.
    created: VecDeque<(Instant, Folder, String)>,
    /// Closed with this value, which ends the thread that reads the events.
    _end: PipeWriter,
}

/// A folder of a topic.
#[derive(Clone, PartialEq)]
struct Folder {
    topic: Arc<str>,
    /// Its path below the topic's folder, which is empty for that itself.
    below: Arc<str>,
}

/// The folder of a topic itself.
struct Root {
    path: PathBuf,
    /// None while it does not exist.
    number: Option<i32>,
}

impl Folder {
    fn child(&self, name: &str) -> Folder {
        let slash = if self.below.is_empty() { "" } else { "/" };
        Folder { topic: self.topic.clone(), below: format!("{}{slash}{name}", self.below).into() }
    }

    /// The partition in whose folder it is.
    fn partition(&self) -> Option<u32> {
        self.below.split('/').next().and_then(partition_of)
    }

    /// Returns true if a file or folder of this name is never read.
    fn ignores(&self, name: &str) -> bool {
        name.starts_with('.') || self.below.is_empty() && is_of_sink(name)
    }
}

impl Folders {
    /// Returns a watch without folders. It closes `end` when it is dropped.
    pub(super) fn new(kernel: Arc<OwnedFd>, end: PipeWriter) -> Self {
        let (watched, roots) = (HashMap::new(), HashMap::new());
        Folders { kernel, watched, roots, created: VecDeque::new(), _end: end }
    }

    /// Watches the folders of a topic, if that is not done yet. Listings that begin after this call
    /// and the events together miss no object.
    ///
    /// # Errors
    /// When the system can't watch one of them.
    pub(super) fn watch_topic(&mut self, topic: &Arc<str>, path: &Path) -> io::Result<()> {
        if self.roots.get(topic).is_some_and(|root| root.number.is_some()) {
            return Ok(());
        }
        self.roots.insert(topic.clone(), Root { path: path.into(), number: None });
        let root = Folder { topic: topic.clone(), below: "".into() };
        self.watch(root, &mut Vec::new(), None)
    }

    /// Watches the folders of a topic again, if its own folder was away, and requests listings by
    /// its readers if it is there.
    ///
    /// # Errors
    /// As [`watch_topic`](Self::watch_topic).
    pub(super) fn renew_if_lost(
        &mut self,
        topic: &Arc<str>,
        followers: &Followers,
    ) -> io::Result<()> {
        let is_lost = |root: &Root| root.number.is_none() && root.path.exists();
        if self.roots.get(topic).is_some_and(is_lost) {
            self.renew(topic, followers)
        } else {
            Ok(())
        }
    }

    /// Watches a folder and those in it; none, if it does not exist. If there are `followers`, the
    /// objects in it are new. `above` has the numbers of the folders that contain it.
    fn watch(
        &mut self,
        folder: Folder,
        above: &mut Vec<i32>,
        followers: Option<&Followers>,
    ) -> io::Result<()> {
        let Some(path) = self.path(&folder) else { return Ok(()) };
        match statfs(&path) {
            Ok(found) if REMOTE_FILE_SYSTEMS.contains(&(found.f_type as u32)) => {
                return Err(io::Error::other(format!("{} is on another machine", path.display())));
            }
            _ => {}
        }
        if self.watched.len() as u64 >= faults::limit("watched_folders", u64::MAX) {
            return Err(Errno::NOSPC.into());
        }
        let wanted = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let number = match add_watch(&self.kernel, &path, wanted) {
            Ok(number) => number,
            // It is gone, or its listing reports the error.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // A link leads back here.
        if above.contains(&number) {
            return Ok(());
        }
        if let Some(root) = self.roots.get_mut(&folder.topic).filter(|_| folder.below.is_empty()) {
            root.number = Some(number);
        }
        let names = self.watched.entry(number).or_default();
        if !names.contains(&folder) {
            names.push(folder.clone());
        }
        // List it after it is watched, so that nothing is missed in between.
        let Ok(entries) = fs::read_dir(&path) else { return Ok(()) };
        above.push(number);
        for entry in entries.flatten() {
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let Some(name) = name.to_str() else { continue };
            let links = || fs::metadata(entry.path()).is_ok_and(|target| target.is_dir());
            if kind.is_dir() || kind.is_symlink() && links() {
                if !folder.ignores(name) {
                    self.watch(folder.child(name), above, followers)?;
                }
            } else if let Some(followers) = followers {
                self.deliver(&folder, name, followers);
            }
        }
        above.pop();
        Ok(())
    }

    fn path(&self, folder: &Folder) -> Option<PathBuf> {
        let root = self.roots.get(&folder.topic)?;
        Some(if folder.below.is_empty() {
            root.path.clone()
        } else {
            root.path.join(&*folder.below)
        })
    }

    /// Handles an event of the folder with this number.
    ///
    /// # Errors
    /// When the system can't watch a new folder.
    pub(super) fn handle(
        &mut self,
        number: i32,
        events: ReadFlags,
        name: Option<&CStr>,
        followers: &Followers,
    ) -> io::Result<()> {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            let topics: Vec<Arc<str>> = self.roots.keys().cloned().collect();
            return topics.iter().try_for_each(|topic| self.renew(topic, followers));
        }
        if events.contains(ReadFlags::IGNORED) {
            self.watched.remove(&number);
            let lost = |root: &&mut Root| root.number == Some(number);
            self.roots.values_mut().filter(lost).for_each(|root| root.number = None);
            return Ok(());
        }
        let folders = self.watched.get(&number).cloned().unwrap_or_default();
        if events.contains(ReadFlags::MOVE_SELF) {
            // The folders below have other paths now, or are no part of the topic any more.
            return folders.iter().try_for_each(|folder| self.renew(&folder.topic, followers));
        }
        let Some(name) = name.and_then(|name| name.to_str().ok()) else { return Ok(()) };
        folders.iter().try_for_each(|folder| self.appeared(folder, name, events, followers))
    }

    /// Watches the folders of a topic anew, and requests listings by its readers.
    fn renew(&mut self, topic: &Arc<str>, followers: &Followers) -> io::Result<()> {
        let numbers: Vec<i32> = self.watched.keys().copied().collect();
        for names in self.watched.values_mut() {
            names.retain(|folder| folder.topic != *topic);
        }
        if let Some(root) = self.roots.get_mut(topic) {
            root.number = None;
            let path = root.path.clone();
            self.watch_topic(topic, &path)?;
        }
        for number in numbers {
            if self.watched.get(&number).is_some_and(Vec::is_empty) {
                self.watched.remove(&number);
                // It may be gone.
                let _ = remove_watch(&self.kernel, number);
            }
        }
        followers.rescan(topic, None);
        Ok(())
    }

    /// Handles a file or a folder that has appeared in `folder`.
    fn appeared(
        &mut self,
        folder: &Folder,
        name: &str,
        events: ReadFlags,
        followers: &Followers,
    ) -> io::Result<()> {
        let is_object = ObjectName::parse(&folder.topic, name).is_some();
        let Some(path) = self.path(folder) else { return Ok(()) };
        let is_link = || fs::symlink_metadata(path.join(name)).is_ok_and(|it| it.is_symlink());
        let is_folder = || match events.contains(ReadFlags::ISDIR) {
            true => true,
            false if events.contains(ReadFlags::CLOSE_WRITE) => false,
            false => is_link() && fs::metadata(path.join(name)).is_ok_and(|it| it.is_dir()),
        };
        if !folder.ignores(name) && is_folder() {
            return self.watch(folder.child(name), &mut Vec::new(), Some(followers));
        }
        if !is_object || events.contains(ReadFlags::ISDIR) {
            return Ok(());
        }
        // A file with a second link was complete before it got this name.
        let is_open = events.contains(ReadFlags::CREATE)
            && fs::symlink_metadata(path.join(name)).is_ok_and(|it| it.is_file() && it.nlink() < 2);
        if is_open {
            self.created.push_back((now() + CLOSE_TIMEOUT, folder.clone(), name.into()));
            return Ok(());
        }
        if self.created.front().is_some_and(|(_, place, file)| place == folder && file == name) {
            self.created.pop_front();
        }
        self.deliver(folder, name, followers);
        Ok(())
    }

    /// Returns the time until the next call of [`deliver_created`](Self::deliver_created).
    pub(super) fn until_due(&self) -> Option<Duration> {
        self.created.front().map(|(due, ..)| due.saturating_duration_since(now()))
    }

    /// Delivers objects that nobody has closed in time.
    pub(super) fn deliver_created(&mut self, followers: &Followers) {
        let time = now();
        while self.created.front().is_some_and(|(due, ..)| *due <= time)
            && let Some((_, folder, name)) = self.created.pop_front()
        {
            self.deliver(&folder, &name, followers);
        }
    }

    /// Adds a file to the changes of its partition, if it is an object.
    fn deliver(&self, folder: &Folder, name: &str, followers: &Followers) {
        let Some(object) = ObjectName::parse(&folder.topic, name) else { return };
        let ObjectName { partition, first, digits, packed } = object;
        if folder.partition().is_some_and(|own| own != partition) {
            return;
        }
        let Some(path) = self.path(folder) else { return };
        match fs::metadata(path.join(name)) {
            Ok(found) if found.is_file() => {
                let below = folder.below.clone();
                let listed = Listed { first, folder: below, digits, packed, size: None };
                followers.add_object(&folder.topic, partition, &listed);
            }
            // Neither a pipe nor a device is an object.
            Ok(_) => {}
            // A listing reports the error, such as that of a broken link.
            Err(_) => followers.rescan(&folder.topic, Some(partition)),
        }
    }
}
