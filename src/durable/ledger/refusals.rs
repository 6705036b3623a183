//! The refusals of a state: another program, another topology, other files, damage.

use super::Ledger;
use crate::error::{Advice, Error, Result};

impl Ledger {
    /// Fails if a run of another topology made the last manifest, and names the difference.
    ///
    /// # Errors
    /// See above, and when the state can't be read.
    pub(crate) fn check_topology(&self) -> Result<()> {
        if self.is_same_topology() {
            return Ok(());
        }
        let earlier = self.earlier_topology()?;
        let changes = earlier.map(|earlier| self.topology.changes_since(&earlier).text());
        let changes = changes.map_or_else(String::new, |text| format!(": {text}"));
        Err(Error::data(format!(
            "the topology of {} is not the one that made {}{changes}",
            self.program,
            self.store.name("")
        ))
        .hint("Run the program and options that made it, or choose another way.")
        .advise(Advice::ChangedTopology))
    }

    /// Fails if the place of a new state holds files of other programs. A run that died at its
    /// start leaves folders without files.
    pub(super) fn check_empty(&self) -> Result<()> {
        let mut files = self.store.list("")?;
        let mut folders = self.store.folders("")?;
        folders.retain(|folder| !["gen", "manifest"].contains(&folder.as_str()));
        files.extend(self.store.list("gen")?);
        files.extend(self.store.list("manifest")?);
        match folders.first().or(files.first().map(|(name, _)| name)) {
            None => Ok(()),
            Some(name) => {
                Err(Error::data(format!("{} is not a state: it holds {name}", self.store.name("")))
                    .advise(Advice::OtherState))
            }
        }
    }

    pub(super) fn check_program(&self, program: &str) -> Result<()> {
        if program == self.program {
            return Ok(());
        }
        Err(Error::data(format!(
            "{} is the state of {program}, not of {}",
            self.store.name(""),
            self.program
        ))
        .advise(Advice::OtherState))
    }

    pub(super) fn corrupt(&self, path: &str) -> Error {
        Error::data(format!(
            "{} is not as a run of {} wrote it",
            self.store.name(path),
            self.program
        ))
        .hint("Restore it, or begin anew.")
        .advise(Advice::OtherPlaces)
    }
}
