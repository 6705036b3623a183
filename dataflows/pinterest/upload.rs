//! Generates an archive into a bucket: first into a folder of this machine, then object by object,
//! each by conditional creation.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use watershed::connectors::archive::layout::{self, ObjectName, TOPICS};
use watershed::store::Store;
use watershed::{Error, Result};

use crate::generate::{Options, generate};
use crate::print;

/// Partitions that are written at a time: a write mostly waits for the bucket.
const WRITING: usize = 16;

/// Writes the archive to the bucket of `url`. Each partition grows from its first object on, as one
/// does that a sink writes: who follows it sees no gap. Repeated after an interruption, with the
/// same options, it goes on.
pub(crate) fn upload(options: &Options, url: &str, out: &mut dyn Write) -> Result<()> {
    let store = Store::open(url)?;
    let folder = Folder::new()?;
    let bar = ProgressBar::new(options.events);
    bar.set_style(style("generating {wide_bar} {human_pos} events  {elapsed}"));
    let summary = generate(&Options { to: folder.archive(), ..options.clone() }, &mut |events| {
        bar.set_position(events)
    });
    bar.finish_and_clear();
    let summary = summary?;
    let archive = folder.archive();
    let partitions = partitions(&archive).map_err(|e| unreadable(&archive, e))?;
    let bar = ProgressBar::new(summary.objects);
    bar.set_style(style("uploading {wide_bar} {human_pos} objects  {elapsed}"));
    let written = thread::scope(|scope| {
        let shares = (0..WRITING).map(|first| partitions.iter().skip(first).step_by(WRITING));
        let (store, archive, bar) = (&store, &archive, &bar);
        let write = move |partition: &Partition| write(store, archive, partition, bar);
        let begun = shares.map(|mut share| {
            thread::Builder::new().spawn_scoped(scope, move || share.try_for_each(write))
        });
        let threads: Vec<_> = begun.collect();
        let join = |thread: io::Result<thread::ScopedJoinHandle<'_, Result<()>>>| {
            let thread =
                thread.map_err(|e| Error::no_thread("a thread that writes the archive", e))?;
            thread.join().unwrap_or_else(|_| {
                Err(Error::internal("a thread that writes the archive has panicked"))
            })
        };
        // All are waited for, whichever fails.
        let written: Vec<Result<()>> = threads.into_iter().map(join).collect();
        written.into_iter().collect::<Result<()>>()
    });
    bar.finish_and_clear();
    written?;
    let records = HumanCount(summary.records.iter().sum());
    let (events, objects, bytes) =
        (HumanCount(options.events), HumanCount(summary.objects), HumanBytes(summary.bytes));
    print(
        out,
        &format!(
            "generated {events} events in {url}: {records} records in {objects} objects, {bytes}\n\n"
        ),
    )
}

/// A folder of this process alone, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path =
            |n| std::env::temp_dir().join(format!("pinterest-generate-{}-{n}", std::process::id()));
        let mut last = None;
        // What a process of the same number has left is passed by.
        for path in (0..100).map(path) {
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(e) => last = Some((path, e)),
            }
        }
        let error = |(path, e): (PathBuf, _)| {
            Error::connect(format!("can't make the folder {}", path.display())).because(e)
        };
        Err(last.map_or_else(|| Error::internal("no folder was tried"), error))
    }

    fn archive(&self) -> PathBuf {
        self.0.join("archive")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A partition of the archive in the folder.
struct Partition {
    topic: String,
    number: u32,
}

/// The partitions of all topics.
fn partitions(root: &Path) -> io::Result<Vec<Partition>> {
    let mut found = Vec::new();
    for topic in names(&root.join(TOPICS))? {
        let numbers = names(&root.join(layout::topic_path(&topic)))?;
        let numbers = numbers.iter().filter_map(|folder| layout::partition_of(folder));
        found.extend(numbers.map(|number| Partition { topic: topic.clone(), number }));
    }
    Ok(found)
}

/// The names in a folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Writes the objects of a partition in the order of their offsets.
fn write(store: &Store, root: &Path, partition: &Partition, bar: &ProgressBar) -> Result<()> {
    let Partition { topic, number } = partition;
    let folder = layout::partition_path(topic, *number);
    let files = names(&root.join(&folder)).map_err(|e| unreadable(&root.join(&folder), e))?;
    let objects = files.iter().filter_map(|file| ObjectName::parse(topic, file));
    let mut objects: Vec<ObjectName> = objects.collect();
    objects.sort_unstable_by_key(|object| object.first);
    for object in objects {
        let path = format!("{folder}/{}", object.print(topic));
        let file = root.join(&path);
        let bytes = fs::read(&file).map_err(|e| unreadable(&file, e))?;
        if !store.ensure(&path, &bytes)? {
            let message =
                format!("can't generate {}, which holds other records", store.name(&path));
            return Err(Error::data(message)
                .hint("Remove the archive, or generate into another prefix with --to."));
        }
        bar.inc(1);
    }
    Ok(())
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::connect(format!("can't read {}", path.display())).because(cause)
}
