//! An archive in a bucket: generated in a folder of this machine first, then object by object, each only where there is none.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use watershed::connect::{Create, Store};
use watershed::{Error, Result};

use crate::generate::{Options, generate};
use crate::print;

/// How many partitions are written at a time: writing an object is mostly waiting.
const WRITING: usize = 16;

/// Writes the archive to the bucket of `url`. Each partition grows from its first object on, as one does that a sink writes: who
/// follows it sees no gap. Repeated after an interruption, with the same options, it goes on.
pub(crate) fn upload(options: &Options, url: &str, out: &mut dyn Write) -> Result<()> {
    let store = Store::open(url)?;
    let folder = Folder(std::env::temp_dir().join(format!("pinterest-generate-{}", std::process::id())));
    let bar = ProgressBar::new(options.events);
    bar.set_style(style("generating {wide_bar} {human_pos} events  {elapsed}"));
    let summary = generate(&Options { to: folder.0.clone(), ..options.clone() }, &mut |events| bar.set_position(events));
    bar.finish_and_clear();
    let summary = summary?;
    let partitions = partitions(&folder.0).map_err(|e| unreadable(&folder.0, e))?;
    let bar = ProgressBar::new(summary.objects);
    bar.set_style(style("uploading {wide_bar} {human_pos} objects  {elapsed}"));
    let written = thread::scope(|scope| {
        let shares = (0..WRITING).map(|first| partitions.iter().skip(first).step_by(WRITING));
        let (store, folder, bar) = (&store, &folder.0, &bar);
        let write = move |partition: &PathBuf| write(store, folder, partition, bar);
        let threads: Vec<_> = shares.map(|mut share| scope.spawn(move || share.try_for_each(write))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(Error::internal("a thread that writes the archive has panicked")))
        };
        // All are waited for, whichever fails.
        let written: Vec<Result<()>> = threads.into_iter().map(join).collect();
        written.into_iter().collect::<Result<()>>()
    });
    bar.finish_and_clear();
    written?;
    let records = HumanCount(summary.records.iter().sum());
    let (events, objects, bytes) = (HumanCount(options.events), HumanCount(summary.objects), HumanBytes(summary.bytes));
    print(out, &format!("generated {events} events in {url}: {records} records in {objects} objects, {bytes}\n\n"))
}

/// Removes what was generated here.
struct Folder(PathBuf);

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
    let read = fs::read_dir(partition).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut objects: Vec<PathBuf> = read.map_err(|e| unreadable(partition, e))?;
    // Their names end with as many digits.
    objects.sort_unstable();
    for object in objects {
        let bytes = fs::read(&object).map_err(|e| unreadable(&object, e))?;
        let name = object.strip_prefix(root).unwrap_or(&object).display().to_string();
        let failed = match store.create(&name, &bytes)? {
            Create::Created => None,
            Create::Taken => Some(None),
            Create::Unknown(error) => Some(Some(error)),
        };
        if let Some(error) = failed {
            match (store.get(&name)?, error) {
                (Some(there), _) if there == bytes => {}
                (Some(_), _) => {
                    return Err(Error::data(format!("can't generate {}, which holds other records", store.name(&name)))
                        .hint("Remove the archive, or generate into another prefix with --to."));
                }
                (None, Some(error)) => return Err(error),
                (None, None) => return Err(Error::connect(format!("can't create {}", store.name(&name)))),
            }
        }
        bar.inc(1);
    }
    Ok(())
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::connect(format!("can't read {}", path.display())).because(cause)
}
