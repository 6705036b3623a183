//! Every commit, read by our own reader and by independent ones, against the oracle over the bound
//! records.

use std::fs;
use std::process::Command;

use serde_json::{Map, Value as Json};

use super::{Place, assert_same, parse_tables, python, support};
use crate::support::services::skipped;

/// Compares every commit of the lake with the oracle over the ranges that its manifest binds. Our
/// own reader reads each commit; DuckDB and delta-rs read every version of every table. Returns the
/// counts of those two, or none where they are not installed.
pub(super) fn assert_every_commit_equals_the_oracle(place: &Place, archive: &str) -> Option<Json> {
    let (upto, folder) = (place.path("upto.json"), place.path("oracle"));
    fs::create_dir_all(&folder).unwrap();
    for path in place.manifests() {
        let manifest: Json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let bound = |(topic, sources): (&String, &Json)| {
            let partitions = sources[0]["partitions"].as_object().unwrap();
            let ends: Map<_, _> =
                partitions.iter().map(|(p, bound)| (p.clone(), bound["to"].clone())).collect();
            (format!("demo.{topic}"), Json::Object(ends))
        };
        let ends: Map<_, _> = manifest["sources"].as_object().unwrap().iter().map(bound).collect();
        fs::write(&upto, serde_json::to_vec(&ends).unwrap()).unwrap();
        let n = manifest["n"].as_u64().unwrap();
        let printed = place.ask_oracle(archive, &["--upto", upto.to_str().unwrap()]);
        assert_same(&format!("commit {n}"), &parse_tables(&printed), &place.lake("lake", Some(n)));
        fs::write(folder.join(format!("{n}.json")), printed).unwrap();
    }

    let Some(python) = python() else {
        skipped("no Python environment with duckdb and deltalake could be made");
        return None;
    };
    let mut readers = Command::new(python);
    let readers = readers
        .arg(support("readers.py"))
        .arg(place.path("lake"))
        .arg("--oracle")
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        readers.status.success(),
        "other readers see something else: {}",
        String::from_utf8_lossy(&readers.stderr)
    );
    let seen: Json = serde_json::from_slice(&readers.stdout).unwrap();
    assert!(
        seen["readers"].as_array().unwrap().len() >= 2,
        "one reader has nobody to agree with: {seen}"
    );
    Some(seen)
}
