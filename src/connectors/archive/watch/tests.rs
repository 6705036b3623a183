//! Promises of followers: a new object wakes its reader, and nothing is missed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};
use std::time::Duration;

use object_store::memory::InMemory;

use super::super::{Archive, ArchiveTopic};
use super::{POLL_INTERVAL_MIN, REQUEST_INTERVAL_MIN, WATCHED_INTERVAL};
use crate::connect::{Partition, Poll, Source};
use crate::store::Store;

const TOPIC: &str = "demo+1.pin";
/// A longer wait means that the event is lost. No interval of a watched reader is shorter.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

struct Folder {
    root: tempfile::TempDir,
    topic: ArchiveTopic,
}

/// A reader, and the calls of its waker.
struct Followed {
    reader: Box<dyn Partition>,
    bell: Arc<Bell>,
    rung: Receiver<()>,
}

struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // The test may be over.
        let _ = self.0.send(());
    }
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let topic = Archive::open(root.path().to_str().unwrap()).unwrap().topic(TOPIC);
        let folder = Folder { root, topic };
        for partition in [3, 4] {
            fs::create_dir_all(folder.partition(partition)).unwrap();
        }
        folder
    }

    fn topic_folder(&self) -> PathBuf {
        self.root.path().join("topics").join(TOPIC)
    }

    fn partition(&self, partition: u32) -> PathBuf {
        self.topic_folder().join(format!("partition={partition}"))
    }

    /// Renames an object into its partition's folder.
    fn put(&self, partition: u32, first: u64, text: &str) {
        self.put_in(&self.partition(partition), &name(partition, first), text);
    }

    fn put_in(&self, folder: &Path, name: &str, text: &str) {
        let staged = self.root.path().join("staged");
        fs::write(&staged, text).unwrap();
        fs::rename(staged, folder.join(name)).unwrap();
    }

    fn follow(&self, partition: u32) -> Followed {
        let reader = Source::open(&self.topic, partition, None, true).unwrap();
        let (sender, rung) = channel();
        Followed { reader, bell: Arc::new(Bell(sender)), rung }
    }

    /// Handles no event until `work` has returned.
    fn while_deaf(&self, work: impl FnOnce() -> io::Result<()>) {
        self.topic.archive.watch.shared.with_folders(|_, _| work());
    }
}

impl Followed {
    /// Polls in vain, and falls asleep.
    fn sleep(&mut self) -> Option<Duration> {
        assert!(matches!(self.reader.poll(), Ok(Poll::Idle)));
        self.reader.register(&Waker::from(self.bell.clone()))
    }

    fn is_woken(&self) -> bool {
        self.rung.try_recv().is_ok()
    }

    /// Waits until it is woken, and reads. It may be woken by the rest of earlier events.
    fn read(&mut self) -> String {
        loop {
            self.rung.recv_timeout(EVENT_TIMEOUT).unwrap();
            if let Poll::Batch(batch) = self.reader.poll().unwrap() {
                let values = batch.iter(0).filter_map(|record| record.value);
                return String::from_utf8(values.collect::<Vec<_>>().join(&b' ')).unwrap();
            }
            self.reader.register(&Waker::from(self.bell.clone())).unwrap();
        }
    }
}

fn name(partition: u32, first: u64) -> String {
    format!("{TOPIC}+{partition}+{first:010}.json")
}

/// A name that only a listing or an event finds.
fn short_name(partition: u32, first: u64) -> String {
    format!("{TOPIC}+{partition}+{first}.json")
}

#[test]
fn a_renamed_object_wakes_its_reader() {
    let folder = Folder::new();
    let (mut three, mut four) = (folder.follow(3), folder.follow(4));
    assert_eq!([three.sleep(), four.sleep()], [Some(WATCHED_INTERVAL); 2]);
    assert!(WATCHED_INTERVAL > EVENT_TIMEOUT);
    folder.put(4, 0, "a\n");
    assert_eq!(four.read(), "a");
    assert!(!three.is_woken(), "partition 3 sleeps on");
    folder.put_in(&folder.partition(3), "README", "no object\n");
    folder.put_in(&folder.partition(3), &name(4, 1), "of another partition\n");
    folder.put_in(&folder.partition(3), &short_name(3, 0), "b\nc\n");
    assert_eq!(three.read(), "b c");
    four.sleep();
    folder.put_in(&folder.topic_folder(), &name(4, 1), "d\n");
    assert_eq!(four.read(), "d");
}

#[test]
fn an_object_that_comes_before_the_sleep_wakes_at_once() {
    let folder = Folder::new();
    let mut three = folder.follow(3);
    for first in 0..100 {
        assert!(matches!(three.reader.poll(), Ok(Poll::Idle)));
        folder.put_in(&folder.partition(3), &short_name(3, first), "a\n");
        three.reader.register(&Waker::from(three.bell.clone())).unwrap();
        assert_eq!(three.read(), "a");
    }
}

#[test]
fn an_event_of_an_object_that_was_read_is_no_second_object() {
    let folder = Folder::new();
    let first = 10_000_000_000;
    folder.put(3, first - 1, "a\n");
    let mut three = folder.follow(3);
    assert!(matches!(three.reader.poll(), Ok(Poll::Batch(batch)) if batch.next == first));
    folder.put(3, first, "b\n");
    assert!(matches!(three.reader.poll(), Ok(Poll::Batch(batch)) if batch.next == first + 1));
    folder.put(3, first + 1, "c\n");
    while !matches!(three.reader.poll().unwrap(), Poll::Batch(batch) if batch.next == first + 2) {}
    folder.topic.archive.watch.shared.refuse(&io::ErrorKind::StorageFull.into());
    assert!(matches!(three.reader.poll(), Ok(Poll::Idle)), "the listing has it too");
}

#[test]
fn an_object_after_the_list_of_partitions_is_read() {
    let folder = Folder::new();
    fs::create_dir_all(folder.topic_folder().join("hour=03")).unwrap();
    assert_eq!(Source::partitions(&folder.topic).unwrap(), [3, 4]);
    folder.put_in(&folder.topic_folder().join("hour=03"), &name(3, 0), "a\n");
    let mut three = folder.follow(3);
    assert!(matches!(three.reader.poll(), Ok(Poll::Batch(batch)) if batch.next == 1));
}

#[test]
fn folders_that_appear_are_watched() {
    let folder = Folder::new();
    let (mut three, mut five) = (folder.follow(3), folder.follow(5));
    three.sleep();
    five.sleep();
    fs::create_dir_all(folder.partition(5)).unwrap();
    folder.put_in(&folder.partition(5), &short_name(5, 0), "a\n");
    assert_eq!(five.read(), "a");
    let hour = folder.topic_folder().join("year=2026/hour=03");
    fs::create_dir_all(&hour).unwrap();
    folder.put_in(&hour, &name(3, 0), "b\n");
    assert_eq!(three.read(), "b");
    // A folder that is moved in has objects already. So has the target of a link.
    for (first, text) in [(1, "c"), (2, "d")] {
        three.sleep();
        let outside = folder.root.path().join(text);
        fs::create_dir_all(outside.join("deep")).unwrap();
        folder.put_in(&outside.join("deep"), &name(3, first), text);
        let inside = folder.topic_folder().join(format!("field={text}"));
        if first == 1 {
            fs::rename(outside, inside).unwrap();
        } else {
            std::os::unix::fs::symlink(outside, inside).unwrap();
        }
        assert_eq!(three.read(), text);
    }
}

#[test]
fn folders_that_come_back_are_watched() {
    let folder = Folder::new();
    let mut three = folder.follow(3);
    folder.put(3, 0, "a\n");
    assert!(matches!(three.reader.poll(), Ok(Poll::Batch(_))));
    three.sleep();
    fs::remove_dir_all(folder.partition(3)).unwrap();
    fs::create_dir(folder.partition(3)).unwrap();
    folder.put_in(&folder.partition(3), &short_name(3, 1), "b\n");
    assert_eq!(three.read(), "b");
    three.sleep();
    fs::rename(folder.topic_folder(), folder.root.path().join("away")).unwrap();
    folder.put_in(&folder.root.path().join("away/partition=3"), &short_name(3, 2), "c\n");
    fs::rename(folder.root.path().join("away"), folder.topic_folder()).unwrap();
    // A run lists the partitions once a second.
    assert_eq!(Source::partitions(&folder.topic).unwrap(), [3, 4]);
    assert_eq!(three.read(), "c");
    three.sleep();
    folder.put_in(&folder.partition(3), &short_name(3, 3), "d\n");
    assert_eq!(three.read(), "d");
}

#[test]
fn a_file_is_read_once_its_writer_has_closed_it() {
    let folder = Folder::new();
    let (mut three, mut four) = (folder.follow(3), folder.follow(4));
    three.sleep();
    four.sleep();
    let mut file = File::create(folder.partition(3).join(short_name(3, 0))).unwrap();
    file.write_all(b"a").unwrap();
    folder.put(4, 0, "b\n");
    assert_eq!(four.read(), "b");
    assert!(!three.is_woken(), "the object is not complete");
    file.write_all(b"c\n").unwrap();
    drop(file);
    assert_eq!(three.read(), "ac");
    // A writer that never closes its file delays it by a second.
    three.sleep();
    let mut file = File::create(folder.partition(3).join(short_name(3, 1))).unwrap();
    file.write_all(b"d\n").unwrap();
    assert_eq!(three.read(), "d");
    three.sleep();
    let staged = folder.root.path().join("complete");
    let mut file = File::create(&staged).unwrap();
    file.write_all(b"e\n").unwrap();
    fs::hard_link(&staged, folder.partition(3).join(short_name(3, 2))).unwrap();
    assert_eq!(three.read(), "e");
}

#[test]
fn after_lost_events_all_folders_are_listed() {
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: usize = most.trim().parse().unwrap();
    let folder = Folder::new();
    let mut three = folder.follow(3);
    three.sleep();
    folder.while_deaf(|| {
        let [one, other] = ["one", "other"].map(|name| folder.partition(3).join(name));
        File::create(&one)?;
        for _ in 0..=most / 2 {
            fs::rename(&one, &other)?;
            fs::rename(&other, &one)?;
        }
        // Events of both are lost.
        fs::create_dir(folder.partition(3).join("new"))?;
        folder.put_in(&folder.partition(3), &short_name(3, 0), "a\n");
        Ok(())
    });
    assert_eq!(three.read(), "a");
    three.sleep();
    folder.put_in(&folder.partition(3).join("new"), &short_name(3, 1), "b\n");
    assert_eq!(three.read(), "b");
}

#[test]
fn where_folders_cannot_be_watched_they_are_polled() {
    let folder = Folder::new();
    let mut three = folder.follow(3);
    assert_eq!(three.sleep(), Some(WATCHED_INTERVAL));
    folder.while_deaf(|| Err(io::ErrorKind::StorageFull.into()));
    assert!(three.is_woken(), "the reader has to poll from now on");
    assert_eq!(three.sleep(), Some(POLL_INTERVAL_MIN));
    folder.put(3, 0, "a\n");
    assert!(matches!(three.reader.poll(), Ok(Poll::Batch(_))));
    // A listing comes after some vain polls.
    folder.put_in(&folder.partition(3), &short_name(3, 1), "b\n");
    let found = (0..20).any(|_| match three.reader.poll().unwrap() {
        Poll::Batch(batch) => batch.next == 2,
        _ => three.reader.register(Waker::noop()).is_none(),
    });
    assert!(found);
    let mut others: Vec<Followed> = (0..999).map(|_| folder.follow(4)).collect();
    assert_eq!(three.sleep(), Some(Duration::from_secs(5)), "1,000 partitions");
    others.clear();
    assert_eq!(three.sleep(), Some(POLL_INTERVAL_MIN));
}

#[test]
fn an_object_store_is_asked_once_a_second() {
    let store = Store::objects(Arc::new(InMemory::new()), "deep").unwrap();
    let topic = Archive::on(store.clone()).topic(TOPIC);
    let put = |folder: &str, first: u64| {
        let path = format!("topics/{TOPIC}/{folder}/{}", short_name(3, first));
        store.put(&path, b"a\n").unwrap();
    };
    put("partition=3", 0);
    let mut reader = Source::open(&topic, 3, None, true).unwrap();
    let (mut read, mut first) = (0, 1);
    loop {
        match reader.poll().unwrap() {
            Poll::Batch(batch) => read = batch.next,
            _ if first == 5 => break,
            _ => {
                assert_eq!(reader.register(Waker::noop()), Some(REQUEST_INTERVAL_MIN));
                // Each request finds what has come since, in any folder.
                assert_eq!(read, first);
                put(["partition=3", "hour=04"][first as usize % 2], first);
                first += 1;
            }
        }
    }
    let many: Vec<_> =
        (0..300).map(|_| Source::open(&topic, 3, Some(read), true).unwrap()).collect();
    assert_eq!(reader.register(Waker::noop()), Some(2 * REQUEST_INTERVAL_MIN));
    drop(many);
}
