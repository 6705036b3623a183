//! Writes the three topics as Confluent's S3 sink does: as immutable objects of a few records each.
//! All objects become visible at once.

use std::fs;
use std::io::{self, ErrorKind as Io, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::thread;

use watershed::connectors::archive::WriterLock;
use watershed::connectors::archive::layout::{self, ObjectName, TOPICS};
use watershed::store::disk;
use watershed::{Error, Result};

use super::draw::{Draw, Stream};
use super::{KINDS, Options, Summary};

/// Bytes that a partition holds in memory. A larger object is written to its file in parts.
const SPILL_BYTES: usize = 256 << 10;
/// Objects that are synced together, and the number of threads for it. A sync mostly waits for the
/// disk.
const SYNC_FILES: usize = 256;
const SYNCING: usize = 8;

/// The topics of one archive, open for appending. They are written to the folder `.<user>.partial`
/// beside `topics`, which no reader opens, and renamed when they are complete and synced. This is
/// one rename, or one for each topic if `topics` exists already.
pub(super) struct Archive {
    to: PathBuf,
    names: [String; 3],
    partial: PathBuf,
    topics: [Vec<Partition>; 3],
    records_per_object: u64,
    draw: Draw,
    written: Summary,
    /// Objects that are written, but not synced.
    unsynced: Vec<PathBuf>,
    /// Keeps others from writing the archive until it is dropped, or the process dies.
    _lock: WriterLock,
}

struct Partition {
    folder: PathBuf,
    topic: String,
    number: u32,
    /// Offset of the first record of the open object.
    first: u64,
    /// Offset of the next record.
    next: u64,
    buffer: Vec<u8>,
}

impl Archive {
    /// Creates the folders of an archive that has no file yet. Files that an interrupted process
    /// left behind are removed.
    pub(super) fn create(options: &Options) -> Result<Self> {
        if !(1..=1000).contains(&options.partitions) {
            return Err(Error::usage(format!("can't write {} partitions", options.partitions))
                .hint("Give a number from 1 to 1000."));
        }
        if options.records_per_object == 0 {
            return Err(Error::usage("can't write objects of 0 records")
                .hint("Give a number of 1 or more."));
        }
        let to = options.to.clone();
        let lock = WriterLock::exclusive(&to, "generate")?;
        let names = KINDS.map(|kind| format!("{}.{kind}", options.user_id));
        for folder in names.iter().map(|name| to.join(layout::topic_path(name))) {
            if holds_a_file(&folder).map_err(|e| unwritable(&folder, e))? {
                return Err(full(&folder));
            }
        }
        let partial = to.join(format!(".{}.partial", options.user_id));
        remove(&partial).map_err(|e| unwritable(&partial, e))?;
        let mut archive = Archive {
            to,
            names,
            partial,
            topics: Default::default(),
            records_per_object: options.records_per_object,
            draw: Draw::new(options.seed, Stream::Partitions, 0),
            written: Summary::default(),
            unsynced: Vec::new(),
            _lock: lock,
        };
        for (topic, name) in archive.topics.iter_mut().zip(&archive.names) {
            for p in 0..options.partitions {
                let folder = archive.partial.join(name).join(layout::partition_folder(p));
                fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, e))?;
                topic.push(Partition {
                    folder,
                    topic: name.clone(),
                    number: p,
                    first: 0,
                    next: 0,
                    buffer: Vec::new(),
                });
            }
        }
        Ok(archive)
    }

    /// Appends one record, a line without its end, to a random partition. So the records of one
    /// event may be in different partitions.
    pub(super) fn append(&mut self, kind: usize, line: &[u8]) -> Result<()> {
        let topic = &mut self.topics[kind];
        let drawn = self.draw.below(topic.len() as u64) as usize;
        let partition = &mut topic[drawn];
        partition.buffer.extend_from_slice(line);
        partition.buffer.push(b'\n');
        partition.next += 1;
        self.written.records[kind] += 1;
        self.written.bytes += line.len() as u64 + 1;
        if partition.next - partition.first == self.records_per_object {
            self.written.objects += 1;
            self.unsynced.push(partition.close()?);
            if self.unsynced.len() >= SYNC_FILES {
                sync(&mem::take(&mut self.unsynced))?;
            }
        } else if partition.buffer.len() >= SPILL_BYTES {
            partition.spill()?;
        }
        Ok(())
    }

    /// Closes the last objects, and makes the archive visible.
    pub(super) fn finish(mut self) -> Result<Summary> {
        for partition in self.topics.iter_mut().flatten() {
            if partition.next > partition.first {
                self.written.objects += 1;
                self.unsynced.push(partition.close()?);
            }
            self.unsynced.push(partition.folder.clone());
        }
        self.unsynced.extend(self.names.iter().map(|name| self.partial.join(name)));
        self.unsynced.push(self.partial.clone());
        sync(&self.unsynced)?;
        self.publish().map_err(|e| match e.kind() {
            Io::NotADirectory | Io::DirectoryNotEmpty => full(&self.to.join(TOPICS)),
            _ => unwritable(&self.to.join(TOPICS), e),
        })?;
        Ok(self.written)
    }

    fn publish(&self) -> io::Result<()> {
        let topics = self.to.join(TOPICS);
        if topics.exists() {
            for name in &self.names {
                remove_folders(&topics.join(name))?;
                fs::rename(self.partial.join(name), topics.join(name))?;
            }
            disk::sync(&topics)?;
        } else {
            fs::rename(&self.partial, topics)?;
        }
        disk::sync(&self.to)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // After a failure this frees space. The next `create` removes any files that are left.
        let _ = remove(&self.partial);
    }
}

impl Partition {
    fn name(&self) -> String {
        ObjectName::new(self.number, self.first).print(&self.topic)
    }

    /// Moves the bytes in memory to the object's file, and closes the file: thousands of open files
    /// would exceed the system's limit.
    fn spill(&mut self) -> Result<PathBuf> {
        let path = self.folder.join(self.name());
        let file = fs::File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(&self.buffer)).map_err(|e| unwritable(&path, e))?;
        self.buffer.clear();
        Ok(path)
    }

    fn close(&mut self) -> Result<PathBuf> {
        let path = self.spill()?;
        self.first = self.next;
        Ok(path)
    }
}

/// Syncs files and folders.
fn sync(paths: &[PathBuf]) -> Result<()> {
    let sync = |path: &PathBuf| disk::sync(path).map_err(|e| unwritable(path, e));
    thread::scope(|scope| {
        let parts = paths.chunks(paths.len().div_ceil(SYNCING).max(1));
        let begun = parts.map(|part| {
            thread::Builder::new().spawn_scoped(scope, move || part.iter().try_for_each(sync))
        });
        let threads: Vec<_> = begun.collect();
        let join = |thread: io::Result<thread::ScopedJoinHandle<'_, Result<()>>>| {
            let thread =
                thread.map_err(|e| Error::no_thread("a thread that syncs the archive", e))?;
            thread.join().unwrap_or_else(|_| {
                Err(Error::internal("a thread that syncs the archive has panicked"))
            })
        };
        threads.into_iter().try_for_each(join)
    })
}

/// Removes a folder, if it exists.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != Io::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Removes a folder that holds only folders, if it exists. A file in it is an error, and is kept.
fn remove_folders(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == Io::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        remove_folders(&entry?.path())?;
    }
    fs::remove_dir(folder)
}

/// Returns true if there is a file in the folder, at any depth. A missing folder holds no file.
fn holds_a_file(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || holds_a_file(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn full(folder: &Path) -> Error {
    Error::data(format!("can't generate into {}, which holds records already", folder.display()))
        .hint("Remove the archive, or generate into another folder with --to.")
}

fn unwritable(path: &Path, cause: io::Error) -> Error {
    let error = Error::connect(format!("can't write {}", path.display()));
    let error = match cause.kind() {
        Io::StorageFull | Io::QuotaExceeded => {
            error.hint("Make room there, or give fewer --events or another --to.")
        }
        _ => error,
    };
    error.because(cause)
}
