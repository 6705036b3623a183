//! The archive of a world: a hidden copy holds all objects, and the feeder adds one after the other
//! to the archive that the program reads.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Dice;

/// Adds objects to an archive.
pub(crate) struct Feeder {
    /// The objects that are not added yet, with their targets.
    rest: VecDeque<(PathBuf, PathBuf)>,
}

impl Feeder {
    /// Returns the feeder of the objects of the archive `all`. The partitions advance in a random
    /// order, each from its first object to its last.
    pub(crate) fn new(all: &Path, archive: &Path, seed: u64) -> Self {
        let mut partitions: Vec<VecDeque<_>> = Vec::new();
        for topic in sorted(&all.join("topics")) {
            for partition in sorted(&topic) {
                let to = archive.join(partition.strip_prefix(all).unwrap());
                fs::create_dir_all(&to).unwrap();
                let target =
                    |object: PathBuf| (object.clone(), to.join(object.file_name().unwrap()));
                partitions.push(sorted(&partition).into_iter().map(target).collect());
            }
        }
        let mut dice = Dice::new(seed);
        let mut rest = VecDeque::new();
        while !partitions.is_empty() {
            let drawn = dice.below(partitions.len() as u64) as usize;
            match partitions[drawn].pop_front() {
                Some(object) => rest.push_back(object),
                None => drop(partitions.swap_remove(drawn)),
            }
        }
        Feeder { rest }
    }

    /// Returns the number of objects that are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Adds the next object. It appears complete, by renaming, as a real writer does it.
    pub(crate) fn feed(&mut self) {
        if let Some((object, target)) = self.rest.pop_front() {
            let staged = target.with_file_name(".staged");
            fs::copy(object, &staged).unwrap();
            fs::rename(&staged, target).unwrap();
        }
    }
}

/// Returns the entries of a folder in the order of their names.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}
