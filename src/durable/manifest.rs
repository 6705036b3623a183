//! Manifests and generations: their format, their chain, and the one conditional creation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::store::{Create, Store};

use crate::connect::Identity;
use crate::error::{Advice, Error, Result};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The format of generations and manifests. It is another one after each change, as only one is
/// read.
const FORMAT: u32 = 2;
/// How many manifests are kept, the highest always.
const KEPT: u64 = 1000;

/// A commit: what was read and what is shown for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) n: u64,
    pub(crate) generation: u64,
    /// Name of the program's incarnation: the same in every run from one state.
    pub(crate) app: String,
    /// Keys the digests that are recorded here, and all others of a run.
    pub(crate) secret: Secret,
    pub(crate) program: String,
    /// Digest of the topology's plan.
    pub(crate) topology: String,
    /// Digest of the manifest before; empty for the first.
    pub(crate) previous: String,
    /// By topic, the sources in their order.
    pub(crate) sources: BTreeMap<String, Vec<SourceState>>,
    pub(crate) sinks: BTreeMap<String, SinkState>,
}

/// How far a source is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceState {
    /// Its description and location, for people only.
    pub(crate) source: String,
    pub(crate) identities: Vec<Identity>,
    pub(crate) partitions: BTreeMap<u32, Bound>,
    /// What the source needs to find these offsets again.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub(crate) memory: serde_json::Value,
}

/// The range `[from, to)` of a partition that is read, and the sum of its records' digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) digest: u64,
    /// The greatest timestamp of these records. `None` if no record has one, in a state that was
    /// made before it was recorded, and until the commit is handed to the committer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition_time: Option<Timestamp>,
}

impl Bound {
    /// Returns true if both are the same records, whatever is known of their timestamps.
    pub(crate) fn same_records(&self, other: &Bound) -> bool {
        (self.from, self.to, self.digest) == (other.from, other.to, other.digest)
    }
}

/// What a sink shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SinkState {
    /// Its description and location, for people only.
    pub(crate) sink: String,
    pub(crate) identity: Identity,
    pub(crate) rows: u64,
    pub(crate) digest: u64,
    /// What this commit consists of; `None` if it changes nothing here.
    pub(crate) content: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Generation {
    format: u32,
    app: String,
    secret: Secret,
    program: String,
}

/// The format of a generation or a manifest, which is looked at before anything else. The first
/// generations have none.
#[derive(Deserialize)]
struct Format {
    format: Option<u32>,
    app: Option<serde::de::IgnoredAny>,
}

/// The manifests of one state folder, as one run sees them.
pub(crate) struct Ledger {
    store: Store,
    pub(crate) app: String,
    pub(crate) secret: Secret,
    pub(crate) program: String,
    pub(crate) topology: String,
    pub(crate) generation: u64,
    pub(crate) last: Option<Manifest>,
    digest: String,
}

impl Ledger {
    /// Finds the state in `store`, or where one may begin, and changes nothing; `id` names a new
    /// incarnation, whose secret is `secret`.
    ///
    /// # Errors
    /// When it is the state of another program or topology, or something else.
    pub(crate) fn find(
        store: Store,
        program: &str,
        topology: &str,
        id: &str,
        secret: Secret,
    ) -> Result<Self> {
        let mut ledger = Ledger {
            store,
            app: format!("{program}-{id}"),
            secret,
            program: program.to_string(),
            topology: topology.to_string(),
            generation: 0,
            last: None,
            digest: String::new(),
        };
        ledger.generation = ledger.latest("gen")?.unwrap_or(0);
        if ledger.generation > 0 {
            let path = format!("gen/{:020}", ledger.generation);
            let found: Generation = ledger.read(&path)?.ok_or_else(|| ledger.torn(&path))?.0;
            ledger.own(&found.program)?;
            (ledger.app, ledger.secret) = (found.app, found.secret);
        }
        ledger.load()?;
        if ledger.generation == 0 && ledger.last.is_none() {
            ledger.vacant()?;
        }
        Ok(ledger)
    }

    /// Takes the state over as a new generation. False if another run has done so, or has
    /// committed, since it was found: then it is to be found again.
    ///
    /// # Errors
    /// When nobody can say whether it is taken over.
    pub(crate) fn begin(&mut self) -> Result<bool> {
        self.generation += 1;
        let body = Generation {
            format: FORMAT,
            app: self.app.clone(),
            secret: self.secret,
            program: self.program.clone(),
        };
        let body = serde_json::to_vec(&body)
            .map_err(|e| Error::internal("can't write a generation").because(e))?;
        match self.store.create(&format!("gen/{:020}", self.generation), &body)? {
            Create::Created
                if self.latest("manifest")? == self.last.as_ref().map(|last| last.n) =>
            {
                // It was read, and whoever wrote it may have died before it was durable.
                self.last.as_ref().map_or(Ok(()), |last| {
                    self.store.confirm(&format!("manifest/{:020}", last.n))
                })?;
                Ok(true)
            }
            Create::Created => Ok(false),
            Create::Taken => Ok(false),
            Create::Unknown(error) => Err(error),
        }
    }

    /// Makes the commit: from here on it will be shown, by this run or a later one.
    ///
    /// # Errors
    /// When a newer run has begun, or nobody can say whether the manifest is there.
    pub(crate) fn commit(&mut self, mut manifest: Manifest) -> Result<()> {
        if !self.newest()? {
            return Err(self.superseded());
        }
        manifest.previous.clone_from(&self.digest);
        let body = serde_json::to_vec(&manifest)
            .map_err(|e| Error::internal("can't write a manifest").because(e))?;
        let path = format!("manifest/{:020}", manifest.n);
        let mut failure = None;
        for _ in 0..5 {
            let created = self.store.create(&path, &body)?;
            let doubtful = !matches!(created, Create::Created);
            if let Create::Unknown(error) = created {
                failure = Some(error);
            }
            match self.store.get(&path)? {
                Some(there) if there == body => {
                    if doubtful {
                        self.store.confirm(&path)?;
                    }
                    self.digest = hex(&body);
                    if let Some(old) = manifest.n.checked_sub(KEPT) {
                        self.store.delete(&format!("manifest/{old:020}"))?;
                    }
                    self.last = Some(manifest);
                    return Ok(());
                }
                Some(_) => return Err(self.superseded()),
                None => {}
            }
        }
        Err(failure
            .unwrap_or_else(|| Error::connect(format!("can't create {}", self.store.name(&path)))))
    }

    /// Returns true if no newer run has begun.
    ///
    /// # Errors
    /// When that can't be said.
    pub(crate) fn newest(&self) -> Result<bool> {
        Ok(self.latest("gen")?.is_none_or(|newest| newest <= self.generation))
    }

    fn superseded(&self) -> Error {
        Error::superseded(format!(
            "another run of {} has taken over {}",
            self.program,
            self.store.name("")
        ))
        .hint("This one stops; what it had committed stands.")
    }

    /// Reads the highest manifest and checks that it follows the one before.
    fn load(&mut self) -> Result<()> {
        let Some(n) = self.latest("manifest")? else { return Ok(()) };
        let path = format!("manifest/{n:020}");
        let (last, bytes): (Manifest, _) = self.read(&path)?.ok_or_else(|| self.torn(&path))?;
        self.own(&last.program)?;
        if last.n != n {
            return Err(self.torn(&path));
        }
        if last.topology != self.topology {
            return Err(Error::data(format!(
                "the topology of {} is not the one that made {}",
                self.program,
                self.store.name("")
            ))
            .hint("Run the program and options that made it, or begin anew.")
            .advise(Advice::BeginAnew));
        }
        if n > 1 {
            let path = format!("manifest/{:020}", n - 1);
            let before = self.store.get(&path)?.ok_or_else(|| self.torn(&path))?;
            if hex(&before) != last.previous {
                return Err(self.torn(&path));
            }
        }
        self.digest = hex(&bytes);
        self.app.clone_from(&last.app);
        self.secret = last.secret;
        self.last = Some(last);
        Ok(())
    }

    /// Refuses a place that holds what no run has left there. A run that died as it began leaves
    /// folders without a file.
    fn vacant(&self) -> Result<()> {
        let mut files = self.store.list("")?;
        let mut folders = self.store.folders("")?;
        folders.retain(|folder| !["gen", "manifest"].contains(&folder.as_str()));
        files.extend(self.store.list("gen")?);
        files.extend(self.store.list("manifest")?);
        match folders.first().or(files.first().map(|(name, _)| name)) {
            None => Ok(()),
            Some(name) => {
                Err(Error::data(format!("{} is no state: it holds {name}", self.store.name("")))
                    .advise(Advice::OtherState))
            }
        }
    }

    fn latest(&self, what: &str) -> Result<Option<u64>> {
        let names = self.store.list(what)?;
        Ok(names.iter().filter_map(|(name, _)| name.parse().ok()).max())
    }

    fn read<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<(T, Vec<u8>)>> {
        let Some(bytes) = self.store.get(path)? else { return Ok(None) };
        let torn = |e| self.torn(path).because(e);
        understood(&self.store, serde_json::from_slice(&bytes).map_err(torn)?)?;
        let value = serde_json::from_slice(&bytes).map_err(torn)?;
        Ok(Some((value, bytes)))
    }

    fn own(&self, program: &str) -> Result<()> {
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

    fn torn(&self, path: &str) -> Error {
        Error::data(format!(
            "{} is not what a run of {} wrote",
            self.store.name(path),
            self.program
        ))
        .hint("Restore it, or begin anew.")
        .advise(Advice::BeginAnew)
    }
}

/// Refuses the state of a run that wrote another format. Without a format and an application it is
/// no run's at all.
fn understood(state: &Store, Format { format, app }: Format) -> Result<()> {
    let told = match format {
        Some(FORMAT) => return Ok(()),
        None if app.is_none() => return Ok(()),
        Some(later) if later > FORMAT => "a later",
        _ => "an earlier",
    };
    Err(Error::data(format!(
        "{} is the state of {told} version, which this one can't go on with",
        state.name("")
    ))
    .hint("Run the version that made it, or begin anew.")
    .advise(Advice::BeginAnew))
}

/// The topics of which commit `n` changed what is shown, by the `state` it was recorded in; `None`
/// if that knows of no such commit.
///
/// # Errors
/// When the state can't be read.
pub fn changed(state: &Store, n: u64) -> Result<Option<Vec<String>>> {
    let path = format!("manifest/{n:020}");
    let Some(bytes) = state.get(&path)? else { return Ok(None) };
    let torn = |e| Error::data(format!("{} is not what a run wrote", state.name(&path))).because(e);
    understood(state, serde_json::from_slice(&bytes).map_err(torn)?)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(torn)?;
    Ok(Some(
        manifest
            .sinks
            .into_iter()
            .filter(|(_, sink)| sink.content.is_some())
            .map(|(topic, _)| topic)
            .collect(),
    ))
}

impl Manifest {
    /// The manifest after `ledger`'s last, still without contents.
    pub(crate) fn after(ledger: &Ledger) -> Self {
        Manifest {
            format: FORMAT,
            n: ledger.last.as_ref().map_or(0, |last| last.n) + 1,
            generation: ledger.generation,
            app: ledger.app.clone(),
            secret: ledger.secret,
            program: ledger.program.clone(),
            topology: ledger.topology.clone(),
            previous: String::new(),
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(store: &Store, secret: u8) -> Result<Ledger> {
        Ledger::find(store.clone(), "program", "plan", "1", Secret::new([secret; 16]))
    }

    #[test]
    fn a_state_keeps_the_secret_it_was_begun_with() {
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
    fn a_state_of_another_format_is_refused_with_words() {
        let old_generation = r#"{"app":"program-1","program":"program"}"#;
        let old = r#"{"format":1,"n":1,"generation":1,"app":"program-1","program":"program","topology":"plan","previous":""}"#;
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
