//! The records of a world in the order in which they are added: objects of a generated archive,
//! partition by partition in a random interleaving.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::TOPICS;
use crate::support::Dice;

/// The number of earlier portions that may be delivered again.
const REMEMBERED: usize = 40;
/// One portion of so many is an earlier one.
const REDELIVERY: u64 = 12;

/// Returns the objects below `all`. The partitions advance in a random order, each from its first
/// object to its last.
pub(super) fn objects(all: &Path, dice: &mut Dice) -> VecDeque<PathBuf> {
    let mut partitions: Vec<VecDeque<_>> = Vec::new();
    for topic in sorted(&all.join("topics")) {
        partitions.extend(sorted(&topic).iter().map(|partition| sorted(partition).into()));
    }
    let mut objects = VecDeque::new();
    while !partitions.is_empty() {
        let drawn = dice.below(partitions.len() as u64) as usize;
        match partitions[drawn].pop_front() {
            Some(object) => objects.push_back(object),
            None => drop(partitions.swap_remove(drawn)),
        }
    }
    objects
}

/// Returns the entries of a folder in the order of their names.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// Records that are added together.
#[derive(Clone)]
pub(super) struct Portion {
    /// The topic without its user.
    pub(super) topic: &'static str,
    pub(super) values: Vec<Vec<u8>>,
    /// It was added before.
    pub(super) again: bool,
}

/// The portions of a world.
pub(super) struct Portions {
    rest: VecDeque<PathBuf>,
    earlier: VecDeque<Portion>,
}

impl Portions {
    pub(super) fn new(all: &Path, dice: &mut Dice) -> Self {
        Portions { rest: objects(all, dice), earlier: VecDeque::new() }
    }

    /// Returns the number of portions that are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Returns the next portion. Some are earlier ones again, as producers deliver them after a
    /// lost reply.
    pub(super) fn next(&mut self, dice: &mut Dice) -> Option<Portion> {
        if !self.earlier.is_empty() && dice.below(REDELIVERY) == 0 {
            let drawn = dice.below(self.earlier.len() as u64) as usize;
            return Some(Portion { again: true, ..self.earlier[drawn].clone() });
        }
        let object = self.rest.pop_front()?;
        let name = object.file_name()?.to_str()?.to_string();
        let topic = TOPICS.into_iter().find(|topic| name.starts_with(&format!("demo.{topic}+")))?;
        let bytes = fs::read(object).unwrap();
        let line = |line: &[u8]| line.strip_suffix(b"\n").unwrap_or(line).to_vec();
        let values = bytes.split_inclusive(|byte| *byte == b'\n').map(line).collect();
        let portion = Portion { topic, values, again: false };
        self.earlier.push_back(portion.clone());
        if self.earlier.len() > REMEMBERED {
            self.earlier.pop_front();
        }
        Some(portion)
    }
}
