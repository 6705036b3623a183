//! The fence of a run: its generation, which ends with the first greater one in the state.

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// A generation of a state, from the last manifest of earlier ones on.
#[derive(Clone)]
pub(crate) struct Fence {
    pub(crate) store: Store,
    pub(crate) program: String,
    pub(crate) generation: u64,
    /// The number of the last manifest; 0 before the first.
    pub(crate) last: u64,
}

/// Another run that has changed the tables or the state.
enum OtherRun {
    /// A later run has begun.
    Newer,
    /// The previous run has made its last commit after this one began.
    Previous,
}

/// The name and the size of the claim of a run that examines the state.
pub(super) type ClaimObject = (String, u64);

/// The runs after a run.
pub(super) struct Successors {
    /// True if one has begun, which ends the run.
    pub(super) has_begun: bool,
    /// The claims of others.
    pub(super) claims: Vec<ClaimObject>,
}

/// The part of a manifest that names its run.
#[derive(Deserialize)]
struct MadeBy {
    generation: u64,
}

/// Returns a digest of the object that began a generation; none if it does not exist. Processes
/// that see the same one see the same state.
///
/// # Errors
/// When the object can't be read.
pub(crate) fn mark(store: &Store, generation: u64) -> Result<Option<String>> {
    let object = store.get(&format!("gen/{generation:020}"))?;
    Ok(object.map(|bytes| format!("{:032x}", xxh3_128(&bytes))))
}

impl Fence {
    /// Returns true if no newer run has begun.
    ///
    /// # Errors
    /// When the generations can't be listed.
    pub(super) fn is_newest(&self) -> Result<bool> {
        Ok(!self.successors()?.has_begun)
    }

    /// Returns the runs after this one.
    ///
    /// # Errors
    /// When the generations can't be listed.
    pub(super) fn successors(&self) -> Result<Successors> {
        let mut successors = Successors { has_begun: false, claims: Vec::new() };
        for (name, size) in self.store.list("gen")? {
            let (number, claim) = name.split_once('.').map_or((&*name, false), |it| (it.0, true));
            match number.parse::<u64>() {
                Ok(number) if number <= self.generation => {}
                Ok(_) if claim => successors.claims.push((name, size)),
                Ok(_) => successors.has_begun = true,
                Err(_) => {}
            }
        }
        Ok(successors)
    }

    /// Returns the cause of an `error` of the run. Another run may have changed the tables or the
    /// snapshots: a newer one, or the previous one in its last commit.
    ///
    /// A store that can't answer leaves this open. If the error has another cause, the next run
    /// finds it again.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.find_other_run() {
            Ok(None) => error,
            Ok(Some(OtherRun::Newer)) => self.superseded().because(error),
            Ok(Some(OtherRun::Previous)) => self.continued().because(error),
            Err(_) if error.kind() == ErrorKind::Connect => error,
            Err(_) => {
                let state = self.store.name("");
                Error::connect(format!("can't find out if another run has changed {state}"))
                    .because(error)
                    .hint("Run it again once the store responds.")
            }
        }
    }

    /// Returns true if the previous run has committed since this one began.
    pub(crate) fn previous_has_committed(&self) -> bool {
        // A store that can't answer now is reported with the error that led here.
        matches!(self.find_other_run(), Ok(Some(OtherRun::Previous)))
    }

    fn find_other_run(&self) -> Result<Option<OtherRun>> {
        if !self.is_newest()? {
            return Ok(Some(OtherRun::Newer));
        }
        let Some(n) = latest(&self.store, "manifest")?.filter(|n| *n > self.last) else {
            return Ok(None);
        };
        let bytes = self.store.get(&format!("manifest/{n:020}"))?.unwrap_or_default();
        let made_by = serde_json::from_slice::<MadeBy>(&bytes).ok();
        let is_earlier = made_by.is_some_and(|made_by| made_by.generation < self.generation);
        Ok(is_earlier.then_some(OtherRun::Previous))
    }

    /// Returns the error of a run that has begun before the last commit of the previous one.
    pub(super) fn continued(&self) -> Error {
        let program = &self.program;
        Error::connect(format!(
            "the previous run of {program} has committed while it was taken over"
        ))
        .hint("Start the program again: it continues from that commit.")
    }

    /// Returns the error of a run that another one has superseded.
    pub(crate) fn superseded(&self) -> Error {
        Error::superseded(format!(
            "another run of {} has taken over {}",
            self.program,
            self.store.name("")
        ))
        .hint("This run stops; its commits are kept.")
    }
}

/// Returns the greatest number among the objects of a folder.
pub(super) fn latest(store: &Store, folder: &str) -> Result<Option<u64>> {
    let names = store.list(folder)?;
    Ok(names.iter().filter_map(|(name, _)| name.parse().ok()).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_of_the_previous_run_explains_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let create = |path: &str, n: u64, body: &[u8]| {
            store.put(&format!("{path}/{n:020}"), body).unwrap();
        };
        let fence = Fence { store: store.clone(), program: "pins".into(), generation: 2, last: 4 };
        let kind = || fence.explain(Error::data("the table has 1 rows, not 0")).kind();
        create("gen", 2, b"{}");
        create("manifest", 4, br#"{"generation":1}"#);
        assert_eq!(kind(), ErrorKind::Data);
        create("manifest", 5, br#"{"generation":1}"#);
        assert_eq!(kind(), ErrorKind::Connect, "the previous run has committed");
        create("manifest", 6, br#"{"generation":2}"#);
        assert_eq!(kind(), ErrorKind::Data, "this run has committed");
        create("gen", 3, b"{}");
        assert_eq!(kind(), ErrorKind::Superseded);
    }
}
