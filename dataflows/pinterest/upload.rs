//! An archive in a bucket: generated in a folder of this machine first, then object by object, each
//! only where there is none.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use watershed::store::Store;
use watershed::{Error, Result};

use crate::generate::{Options, generate};
use crate::print;

/// How many partitions are written at a time: writing an object is mostly waiting.
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
        let write = move |partition: &PathBuf| write(store, archive, partition, bar);
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

/// The folders of all partitions.
fn partitions(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for topic in fs::read_dir(root.join("topics"))? {
        for partition in fs::read_dir(topic?.path())? {
            found.push(partition?.path());
        }
    }
    Ok(found)
}

/// Writes the objects of a partition, the first one first.
fn write(store: &Store, root: &Path, partition: &Path, bar: &ProgressBar) -> Result<()> {
    let read = fs::read_dir(partition)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut objects: Vec<PathBuf> = read.map_err(|e| unreadable(partition, e))?;
    // Their names end with as many digits.
    objects.sort_unstable();
    for object in objects {
        let bytes = fs::read(&object).map_err(|e| unreadable(&object, e))?;
        let name = object.strip_prefix(root).unwrap_or(&object).display().to_string();
        if !store.settle(&name, &bytes)? {
            return Err(Error::data(format!(
                "can't generate {}, which holds other records",
                store.name(&name)
            ))
            .hint("Remove the archive, or generate into another prefix with --to."));
        }
        bar.inc(1);
    }
    Ok(())
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::connect(format!("can't read {}", path.display())).because(cause)
}
