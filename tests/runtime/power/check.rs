//! The comparison of a folder after a power loss.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value as Json;
use watershed::connect::{Poll, Source};
use watershed::connectors::archive::Archive;
use watershed::connectors::delta::Table;
use watershed::record::Record;
use xxhash_rust::xxh3::xxh3_128;

use super::super::{SINKS, Shown};
use super::{config, streams, world};
use crate::support::{Dice, shown};

/// A folder after a power loss.
pub(super) struct Check<'a> {
    pub(super) folder: &'a Path,
    /// The number of records whose commit was reported before.
    pub(super) reported: u64,
}

impl Check<'_> {
    /// Checks the folder, continues from it, and compares all rows.
    ///
    /// # Errors
    /// The first difference.
    pub(super) fn run(&self, dice: &mut Dice) -> Result<(), String> {
        self.check_snapshots()?;
        let world = world(4);
        let workers = [1, 2, 3][dice.below(3) as usize];
        let run = streams(&world, self.folder).run(config(self.folder, workers));
        let summary = run.map_err(|error| format!("the run failed: {error}"))?;
        let Check { reported, .. } = self;
        if summary.recovered < *reported {
            let recovered = summary.recovered;
            return Err(format!("{reported} records were committed, {recovered} still are"));
        }
        let (rows, expected) = (self.rows()?, expected());
        for topic in SINKS {
            if rows[topic] != expected[topic] {
                return Err(format!("{topic} is {:?}, not {:?}", rows[topic], expected[topic]));
            }
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join("state").join(path)).ok()
    }

    /// Checks that the snapshots of the last manifest are whole.
    fn check_snapshots(&self) -> Result<(), String> {
        let Ok(manifests) = std::fs::read_dir(self.folder.join("state/manifest")) else {
            return Ok(());
        };
        let names = manifests.map(|name| name.unwrap().file_name().into_string().unwrap());
        let Some(last) = names.filter(|name| !name.starts_with('.')).max() else { return Ok(()) };
        let bytes = self.read(&format!("manifest/{last}")).unwrap_or_default();
        let manifest: Json =
            serde_json::from_slice(&bytes).map_err(|e| format!("manifest {last}: {e}"))?;
        let whole = |path: &Json, digest: &Json| {
            let path = path.as_str().unwrap();
            let bytes = self.read(path);
            let bytes = bytes.filter(|bytes| *digest == format!("{:032x}", xxh3_128(bytes)));
            bytes.ok_or_else(|| format!("{path} is not whole, which manifest {last} names"))
        };
        for name in manifest["snapshots"].as_array().into_iter().flatten() {
            let snapshot = whole(&name["path"], &name["digest"])?;
            let snapshot: Json = serde_json::from_slice(&snapshot).unwrap();
            for layer in snapshot["layers"].as_array().unwrap() {
                whole(&layer["path"], &layer["digest"])?;
            }
        }
        Ok(())
    }

    /// Returns the sorted rows of all tables, and the records of the archive as rows.
    fn rows(&self) -> Result<BTreeMap<&'static str, Vec<String>>, String> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let text = |error: watershed::Error| error.to_string();
        let mut tables = BTreeMap::new();
        for topic in SINKS {
            let mut rows = Vec::new();
            if topic == "all" {
                let archive = Archive::open(&path("archive")).map_err(text)?.topic("all");
                for partition in archive.partitions().map_err(text)? {
                    let mut reader = archive.open(partition, None, false).map_err(text)?;
                    while let Poll::Batch(batch) = reader.poll().map_err(text)? {
                        rows.extend(batch.iter(0).map(bytes));
                    }
                }
            } else {
                let table = Table::open(&path(topic)).map_err(text)?;
                let each = table.for_each(&mut |row| {
                    rows.push(shown(row));
                    Ok(())
                });
                each.map_err(text)?;
            }
            rows.sort();
            tables.insert(topic, rows);
        }
        Ok(tables)
    }
}

/// Returns the bytes of a record as text.
fn bytes(record: Record<'_>) -> String {
    let text = |part: Option<&[u8]>| part.map(|part| part.escape_ascii().to_string());
    format!("{:?}", [text(record.key), text(record.value)])
}

/// Returns the rows of a run without a power loss, and the records of its archive.
fn expected() -> &'static Shown {
    static EXPECTED: OnceLock<Shown> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let mut rows = world(4).fresh_run();
        rows.values_mut().for_each(|rows| rows.sort());
        let folder = tempfile::tempdir().unwrap();
        streams(&world(4), folder.path()).run(config(folder.path(), 1)).unwrap();
        let sound = Check { folder: folder.path(), reported: 0 };
        let records = sound.rows().unwrap().remove("all").unwrap();
        assert_eq!(records.len(), rows["all"].len());
        rows.insert("all", records);
        rows
    })
}
