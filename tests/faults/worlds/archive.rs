//! The archive of a world: a hidden copy has all objects, and one after the other is added to the
//! archive that the program reads.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::portions::objects;
use super::{Address, Log};
use crate::support::Dice;

/// An archive to which objects are added.
pub(super) struct ArchiveLog {
    all: PathBuf,
    archive: PathBuf,
    /// The objects that are not added yet.
    rest: VecDeque<PathBuf>,
    partitions: usize,
}

impl ArchiveLog {
    pub(super) fn new(all: &Path, archive: &Path, seed: u64) -> Self {
        let rest = objects(all, &mut Dice::new(seed));
        let mut partitions = 0;
        for object in &rest {
            let folder = archive.join(object.parent().unwrap().strip_prefix(all).unwrap());
            fs::create_dir_all(&folder).unwrap();
            partitions = fs::read_dir(folder.parent().unwrap()).unwrap().count().max(partitions);
        }
        ArchiveLog { all: all.into(), archive: archive.into(), rest, partitions }
    }
}

impl Log for ArchiveLog {
    fn address(&self, _proxy: Option<&crate::support::proxy::Proxy>) -> Address {
        Address { args: ["--from", "archive"].map(String::from).into(), environment: Vec::new() }
    }

    fn held(&self) -> &Path {
        &self.archive
    }

    fn left(&self) -> usize {
        self.rest.len()
    }

    /// Adds the next object. It appears complete, by renaming, as a real writer does it.
    fn feed(&mut self) {
        if let Some(object) = self.rest.pop_front() {
            let target = self.archive.join(object.strip_prefix(&self.all).unwrap());
            let staged = target.with_file_name(".staged");
            fs::copy(object, &staged).unwrap();
            fs::rename(&staged, target).unwrap();
        }
    }

    fn partitions(&self) -> usize {
        self.partitions
    }
}
