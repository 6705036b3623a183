//! Writes a look-alike of the archive: invented events, the dirt of real topics, and always the
//! same bytes for the same arguments.

mod archive;
mod countries;
mod dirt;
mod draw;
mod events;
mod names;
mod texts;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use watershed::{Error, Result};

use archive::Archive;
use dirt::Sender;
use draw::{Draw, Stream};
use events::World;

/// The three kinds of record, in the order of every `[_; 3]` here.
pub(crate) const KINDS: [&str; 3] = ["pin", "geo", "user"];
const PIN: usize = 0;
const GEO: usize = 1;
const USER: usize = 2;

/// Events between two calls of `progress`.
const PROGRESS_EVERY_EVENTS: u64 = 10_000;

/// The content of an archive, and its place.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Number of events; each is one record of each kind, linked by its number `0..events`.
    pub(crate) events: u64,
    /// Decides every draw.
    pub(crate) seed: u64,
    /// Root folder of the archive.
    pub(crate) to: PathBuf,
    /// The topics are `<user_id>.pin`, `.geo` and `.user`.
    pub(crate) user_id: String,
    /// Records of a full object, 1 or more.
    pub(crate) records_per_object: u64,
    /// Partitions of each topic, 1 to 1000.
    pub(crate) partitions: u32,
    /// Fraction of the events that get one kind of dirt, 0 to 1.
    pub(crate) dirt: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            events: 11_154,
            seed: 100,
            to: PathBuf::from("data/archive"),
            user_id: "demo".to_owned(),
            records_per_object: 1000,
            partitions: 3,
            dirt: 0.02,
        }
    }
}

/// The size of an archive that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Records of the pin, geo and user topic.
    pub(crate) records: [u64; 3],
    /// Objects of all topics.
    pub(crate) objects: u64,
    /// Bytes of all objects.
    pub(crate) bytes: u64,
    /// Events that got dirt.
    pub(crate) dirty: u64,
}

/// Writes the archive, and calls `progress` with the number of written events, regularly and at the
/// end.
///
/// Memory doesn't grow with the number of events. Content, dirt and partitions come from separate
/// random sequences, so another `dirt` or another number of partitions does not change the events.
/// A topic that already has a file is an error of kind `Data`. After an error there is no archive.
pub(crate) fn generate(options: &Options, progress: &mut dyn FnMut(u64)) -> Result<Summary> {
    if !(0.0..=1.0).contains(&options.dirt) {
        return Err(Error::usage(format!("can't make {} of the events dirty", options.dirt))
            .hint("Give a fraction from 0 to 1."));
    }
    let mut archive = Archive::create(options)?;
    let world = World::new(options.seed, options.events);
    let mut draw = Draw::new(options.seed, Stream::Events, 0);
    let mut sender = Sender::new(options.seed, options.dirt);
    let mut lines = [Vec::new(), Vec::new(), Vec::new()];
    for ind in 0..options.events {
        world.event(ind, &mut draw, &mut lines);
        sender.send(ind, &lines, &mut archive)?;
        if (ind + 1) % PROGRESS_EVERY_EVENTS == 0 {
            progress(ind + 1);
        }
    }
    let dirty = sender.finish(&mut archive)?;
    let summary = Summary { dirty, ..archive.finish()? };
    progress(options.events);
    Ok(summary)
}

/// Passes the three records of each of `events` events to `take`: clean, as [`generate`] writes
/// them.
pub(crate) fn rows(seed: u64, events: u64, take: &mut dyn FnMut(&[Vec<u8>; 3])) {
    let world = World::new(seed, events);
    let mut draw = Draw::new(seed, Stream::Events, 0);
    let mut lines = [Vec::new(), Vec::new(), Vec::new()];
    for ind in 0..events {
        world.event(ind, &mut draw, &mut lines);
        take(&lines);
    }
}
