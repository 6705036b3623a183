//! Writes the three topics as a Confluent S3 sink does: immutable objects of some records, renamed into place when whole.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use watershed::{Error, Result};

use super::draw::{Draw, Stream};
use super::{KINDS, Options, Summary};

/// Bytes a partition keeps in memory; an object that is larger grows in its temporary file.
const SPILL: usize = 256 << 10;

/// The topics of one archive, open for appending.
pub(super) struct Archive {
    topics: [Vec<Partition>; 3],
    records_per_object: u64,
    draw: Draw,
    written: Summary,
}

struct Partition {
    folder: PathBuf,
    /// `<topic>+<p>`: what the names of its objects begin with.
    stem: String,
    /// Offset of the first record of the open object.
    first: u64,
    /// Offset of the next record.
    next: u64,
    buffer: Vec<u8>,
}

impl Archive {
    /// Makes the folders of an archive that has no file yet.
    pub(super) fn create(options: &Options) -> Result<Self> {
        if !(1..=1000).contains(&options.partitions) {
            return Err(
                Error::usage(format!("can't write {} partitions", options.partitions)).hint("Give a number from 1 to 1000.")
            );
        }
        if options.records_per_object == 0 {
            return Err(Error::usage("can't write objects of 0 records").hint("Give a number of 1 or more."));
        }
        let root = options.to.join("topics");
        let names = KINDS.map(|kind| format!("{}.{kind}", options.user_id));
        for folder in names.iter().map(|name| root.join(name)) {
            if holds_a_file(&folder).map_err(|e| unwritable(&folder, e))? {
                return Err(Error::data(format!("can't generate into {}, which holds records already", folder.display()))
                    .hint("Remove the archive, or generate into another folder with --to."));
            }
        }
        let mut topics = [Vec::new(), Vec::new(), Vec::new()];
        for (topic, name) in topics.iter_mut().zip(&names) {
            for p in 0..options.partitions {
                let folder = root.join(name).join(format!("partition={p}"));
                fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, e))?;
                topic.push(Partition { folder, stem: format!("{name}+{p}"), first: 0, next: 0, buffer: Vec::new() });
            }
        }
        let draw = Draw::new(options.seed, Stream::Partitions, 0);
        Ok(Archive { topics, records_per_object: options.records_per_object, draw, written: Summary::default() })
    }

    /// Appends one record, a line without its end, to a partition that is drawn: records of one number part ways.
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
            partition.close()?;
        } else if partition.buffer.len() >= SPILL {
            partition.spill()?;
        }
        Ok(())
    }

    /// Closes the last objects.
    pub(super) fn finish(mut self) -> Result<Summary> {
        for partition in self.topics.iter_mut().flatten().filter(|partition| partition.next > partition.first) {
            self.written.objects += 1;
            partition.close()?;
        }
        Ok(self.written)
    }
}

impl Partition {
    fn name(&self) -> String {
        format!("{}+{:010}.json", self.stem, self.first)
    }

    /// Moves what is in memory to the temporary file, which is open only for that long: there may be thousands.
    fn spill(&mut self) -> Result<PathBuf> {
        let path = self.folder.join(format!(".{}", self.name()));
        let file = fs::File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(&self.buffer)).map_err(|e| unwritable(&path, e))?;
        self.buffer.clear();
        Ok(path)
    }

    fn close(&mut self) -> Result<()> {
        let path = self.folder.join(self.name());
        let whole = self.spill()?;
        fs::rename(whole, &path).map_err(|e| unwritable(&path, e))?;
        self.first = self.next;
        Ok(())
    }
}

/// Whether there is a file, however deep; a folder that isn't there holds none.
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

fn unwritable(path: &Path, cause: io::Error) -> Error {
    Error::connect(format!("can't write {}", path.display())).because(cause)
}
