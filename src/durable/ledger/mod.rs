//! The manifest log of a state: the generations of runs, the chain of manifests, and the
//! conditional creation that decides a commit.

mod refusals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};
use crate::faults;
use crate::secret::Secret;
use crate::store::{Create, Store};

use super::claim::{CLAIM_TIMEOUT, Claim, ExpiredClaims};
use super::fence::{Fence, latest};
use super::manifest::{FORMAT, Manifest, check_format};
use super::steps::TopologyRecord;

/// The number of manifests that are kept, the newest ones.
pub(super) const KEPT_MANIFESTS: u64 = 1000;
/// The number of attempts to create a manifest whose creation has an unknown outcome.
const CREATE_ATTEMPTS: usize = 5;

/// A run of the state.
#[derive(Serialize, Deserialize)]
pub(super) struct Generation {
    format: u32,
    pub(super) app: String,
    secret: Secret,
    pub(super) program: String,
    /// The topology of the run. The first runs recorded none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topology: Option<TopologyRecord>,
}

/// The manifest log of one state, as one run reads and extends it.
pub(crate) struct Ledger {
    store: Store,
    pub(crate) app: String,
    pub(crate) secret: Secret,
    pub(crate) program: String,
    pub(crate) topology: TopologyRecord,
    pub(crate) generation: u64,
    pub(crate) last: Option<Manifest>,
    digest: String,
    expired: ExpiredClaims,
}

impl Ledger {
    /// Finds the state in `store`, or an empty place where one can begin, and changes nothing. `id`
    /// and `secret` name and key a new application.
    ///
    /// # Errors
    /// When it is the state of another program, or no state at all.
    pub(crate) fn find(
        store: Store,
        program: &str,
        topology: &TopologyRecord,
        id: &str,
        secret: Secret,
    ) -> Result<Self> {
        let mut ledger = Ledger {
            store,
            app: format!("{program}-{id}"),
            secret,
            program: program.to_string(),
            topology: topology.clone(),
            generation: 0,
            last: None,
            digest: String::new(),
            expired: ExpiredClaims::default(),
        };
        ledger.generation = ledger.latest("gen")?.unwrap_or(0);
        if ledger.generation > 0 {
            let path = format!("gen/{:020}", ledger.generation);
            let found: Generation = ledger.read(&path)?.ok_or_else(|| ledger.corrupt(&path))?.0;
            ledger.check_program(&found.program)?;
            (ledger.app, ledger.secret) = (found.app, found.secret);
        }
        ledger.load()?;
        if ledger.generation == 0 && ledger.last.is_none() {
            match ledger.check_empty() {
                // Another run has begun here since the listing above.
                Err(_) if ledger.latest("gen")?.is_some() => {
                    return Self::find(ledger.store, program, topology, id, secret);
                }
                empty => empty?,
            }
        }
        Ok(ledger)
    }

    /// Returns true if a run of the same topology made the last manifest, or there is none. After a
    /// reset there are no rows of any topology.
    pub(crate) fn is_same_topology(&self) -> bool {
        self.continued().is_none_or(|last| last.topology == self.topology.fingerprint)
    }

    /// Returns the topology of the run that made the last manifest; none if it recorded none.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn earlier_topology(&self) -> Result<Option<TopologyRecord>> {
        let Some(last) = &self.last else { return Ok(None) };
        let path = format!("gen/{:020}", last.generation);
        let found: Option<(Generation, _)> = self.read(&path)?;
        let recorded = found.and_then(|(generation, _)| generation.topology);
        Ok(recorded.filter(|recorded| recorded.fingerprint == last.topology))
    }

    /// Takes over the state as a new generation. Returns false if another run has taken it over or
    /// committed since [`find`](Ledger::find); then find it again.
    ///
    /// # Errors
    /// When it is unknown whether the state is taken over.
    pub(crate) fn begin(&mut self) -> Result<bool> {
        self.generation += 1;
        let body = Generation {
            format: FORMAT,
            app: self.app.clone(),
            secret: self.secret,
            program: self.program.clone(),
            topology: Some(self.topology.clone()),
        };
        let body = serde_json::to_vec(&body)
            .map_err(|e| Error::internal("can't write a generation").because(e))?;
        match self.store.create(&format!("gen/{:020}", self.generation), &body)? {
            Create::Created
                if self.latest("manifest")? == self.last.as_ref().map(|last| last.n) =>
            {
                // The run that wrote it may have died before it was durable.
                self.last.as_ref().map_or(Ok(()), |last| {
                    self.store.confirm(&format!("manifest/{:020}", last.n))
                })?;
                faults::point("recovery.generation");
                Ok(true)
            }
            Create::Created => Ok(false),
            Create::Taken => Ok(false),
            Create::Unknown(error) => Err(error),
        }
    }

    /// Returns true if another run has taken over the state or committed since it was found.
    ///
    /// # Errors
    /// When the state can't be listed.
    pub(crate) fn has_changed(&self) -> Result<bool> {
        let last = self.last.as_ref().map(|last| last.n);
        Ok(!self.newest()? || self.latest("manifest")? != last)
    }

    /// Claims the next generation under a unique `name`, so that the present run holds its commits
    /// back until the claim is dropped.
    ///
    /// # Errors
    /// When the claim can't be written.
    pub(crate) fn claim(&self, name: &str) -> Result<Claim> {
        Claim::put(&self.store, self.generation + 1, name)
    }

    /// Decides the commit: from here on this run or a later one makes it visible. Waits while
    /// another run claims the state.
    ///
    /// # Errors
    /// When a newer run has begun, it is unknown whether the manifest exists, or it does not
    /// continue the last one.
    pub(crate) fn commit(&mut self, mut manifest: Manifest) -> Result<()> {
        let fence = self.fence();
        if !self.expired.wait(&fence, CLAIM_TIMEOUT)? {
            return Err(fence.superseded());
        }
        if faults::bug("old_generation") {
            manifest.generation = 0;
        }
        self.last.as_ref().map_or(Ok(()), |last| manifest.check_after(last))?;
        manifest.previous.clone_from(&self.digest);
        let body = serde_json::to_vec(&manifest)
            .map_err(|e| Error::internal("can't write a manifest").because(e))?;
        let path = format!("manifest/{:020}", manifest.n);
        let mut failure = None;
        faults::point("commit.manifest.in");
        for _ in 0..CREATE_ATTEMPTS {
            let created = self.store.create(&path, &body)?;
            let read_only = !matches!(created, Create::Created);
            if let Create::Unknown(error) = created {
                failure = Some(error);
            }
            match self.store.get(&path)? {
                Some(there) if there == body => {
                    if read_only {
                        self.store.confirm(&path)?;
                    }
                    self.digest = hex(&body);
                    // A planted bug: the newest manifest is collected in place of the oldest.
                    let kept = if faults::bug("collected_manifest") { 0 } else { KEPT_MANIFESTS };
                    if let Some(old) = manifest.n.checked_sub(kept) {
                        self.store.delete(&format!("manifest/{old:020}"))?;
                    }
                    self.last = Some(manifest);
                    return Ok(());
                }
                Some(_) if self.newest()? => {
                    return Err(self.fence().continued());
                }
                Some(_) => return Err(self.fence().superseded()),
                None => {}
            }
        }
        Err(failure
            .unwrap_or_else(|| Error::connect(format!("can't create {}", self.store.name(&path)))))
    }

    /// Returns the fence of this run, which outlives the ledger.
    pub(crate) fn fence(&self) -> Fence {
        Fence {
            store: self.store.clone(),
            program: self.program.clone(),
            generation: self.generation,
            last: self.last.as_ref().map_or(0, |last| last.n),
        }
    }

    /// Returns true if no newer run has begun.
    ///
    /// # Errors
    /// When the generations can't be listed.
    pub(crate) fn newest(&self) -> Result<bool> {
        self.fence().is_newest()
    }

    /// Reads the newest manifest and checks that it follows its predecessor.
    fn load(&mut self) -> Result<()> {
        let Some(n) = self.latest("manifest")? else { return Ok(()) };
        let path = format!("manifest/{n:020}");
        let (last, bytes): (Manifest, _) = self.read(&path)?.ok_or_else(|| self.corrupt(&path))?;
        self.check_program(&last.program)?;
        if last.n != n {
            return Err(self.corrupt(&path));
        }
        if n > 1 {
            let path = format!("manifest/{:020}", n - 1);
            let before = self.store.get(&path)?.ok_or_else(|| self.corrupt(&path))?;
            if hex(&before) != last.previous {
                return Err(self.corrupt(&path));
            }
        }
        self.digest = hex(&bytes);
        self.app.clone_from(&last.app);
        self.secret = last.secret;
        self.last = Some(last);
        Ok(())
    }

    fn latest(&self, folder: &str) -> Result<Option<u64>> {
        latest(&self.store, folder)
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<(T, Vec<u8>)>> {
        let Some(bytes) = self.store.get(path)? else { return Ok(None) };
        let corrupt = |e| self.corrupt(path).because(e);
        check_format(&self.store, serde_json::from_slice(&bytes).map_err(corrupt)?)?;
        let value = serde_json::from_slice(&bytes).map_err(corrupt)?;
        Ok(Some((value, bytes)))
    }
}

impl Manifest {
    /// Returns the manifest after the last one of `ledger`, still without contents.
    pub(crate) fn after(ledger: &Ledger) -> Self {
        Manifest {
            format: FORMAT,
            n: ledger.last.as_ref().map_or(0, |last| last.n) + 1,
            generation: ledger.generation,
            app: ledger.app.clone(),
            secret: ledger.secret,
            program: ledger.program.clone(),
            topology: ledger.topology.fingerprint.clone(),
            previous: String::new(),
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            time: Default::default(),
            snapshots: Vec::new(),
            reset: None,
        }
    }
}

/// Returns the checksum of an object, as the next manifest names it.
pub(super) fn hex(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::manifest::changed;
    use super::*;

    fn ledger(store: &Store, secret: u8) -> Result<Ledger> {
        let topology = TopologyRecord { fingerprint: "plan".into(), ..TopologyRecord::default() };
        Ledger::find(store.clone(), "program", &topology, "1", Secret::new([secret; 16]))
    }

    #[test]
    fn a_state_keeps_its_first_secret() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        assert!(ledger(&store, 1).unwrap().begin().unwrap());
        let mut second = ledger(&store, 2).unwrap();
        assert_eq!(second.secret, Secret::new([1; 16]));
        assert!(second.begin().unwrap());
        second.commit(Manifest::after(&second)).unwrap();
        assert_eq!(ledger(&store, 3).unwrap().secret, Secret::new([1; 16]));
        assert_eq!(changed(&store, 1).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn a_state_of_another_format_is_refused() {
        let old_generation = r#"{"app":"program-1","program":"program"}"#;
        let old = r#"{"format":1,"n":1,"generation":1,"app":"program-1","program":"program",
            "topology":"plan","previous":""}"#;
        let path = |folder: &str| format!("{folder}/{:020}", 1);
        for (path, text, version) in [
            (path("gen"), old_generation, "an earlier version"),
            (path("manifest"), old, "an earlier version"),
            (path("gen"), r#"{"format":3}"#, "a later version"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path().to_str().unwrap()).unwrap();
            store.put(&path, text.as_bytes()).unwrap();
            let error = ledger(&store, 1).map(|_| ()).unwrap_err();
            assert!(
                error.kind() == crate::error::ErrorKind::Data
                    && error.to_string().contains(version),
                "{error}"
            );
            assert!(!path.starts_with("manifest") || changed(&store, 1).is_err());
        }
    }
}
