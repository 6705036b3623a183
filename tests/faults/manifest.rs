//! The manifests of a lake, read without the library.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

fn path(lake: &Path, n: u64) -> PathBuf {
    lake.join(format!("_watershed/manifest/{n:020}"))
}

/// Returns a manifest, if there is one of this number.
pub(super) fn manifest(lake: &Path, n: u64) -> Option<Json> {
    fs::read(path(lake, n)).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

/// Returns the number of the last manifest, which is not before `from`.
pub(super) fn last_manifest(lake: &Path, from: u64) -> u64 {
    (from..).find(|n| !path(lake, n + 1).exists()).unwrap_or(from)
}

/// Returns the manifest of the commit that the youngest snapshot holds, if the last manifest names
/// one.
pub(super) fn of_snapshot(lake: &Path) -> Option<Json> {
    let last = manifest(lake, last_manifest(lake, 0))?;
    manifest(lake, last["snapshots"][0]["n"].as_u64()?)
}
