//! The inspection of generations and manifests: each manifest names the checksum of the one before.

use serde::de::DeserializeOwned;

use super::report::{Consequence, Damage, Depth, Finding, ManifestRange, StateReport};
use crate::durable::ledger::{Generation, KEPT_MANIFESTS, hex};
use crate::durable::manifest::{Format, Manifest, check_format};
use crate::error::{ErrorKind, Result};
use crate::store::Store;

/// Returns the numbers and sizes of the objects in a folder, in ascending order.
pub(super) fn numbers(store: &Store, folder: &str) -> Result<Vec<(u64, u64)>> {
    let names = store.list(folder)?;
    let mut numbers: Vec<_> =
        names.iter().filter_map(|(name, bytes)| Some((name.parse().ok()?, *bytes))).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Inspects the newest generation, whose application every run continues.
pub(super) fn generation(store: &Store, report: &mut StateReport) -> Result<()> {
    let Some((newest, _)) = numbers(store, "gen")?.pop() else { return Ok(()) };
    report.generation = newest;
    let path = format!("gen/{newest:020}");
    match read::<Generation>(store, &path)? {
        Object::Sound(generation, _) => {
            report.program = Some(generation.program);
            report.app = Some(generation.app);
        }
        Object::Damaged(finding) => {
            report.damage.push(damage(path, finding, Consequence::NoRun));
        }
    }
    Ok(())
}

/// Inspects the manifests, and returns the last one unless it is damaged. A run reads the last two;
/// the others are read if checksums are compared.
pub(super) fn manifests(
    store: &Store,
    depth: Depth,
    report: &mut StateReport,
) -> Result<Option<Manifest>> {
    let found = numbers(store, "manifest")?;
    let (Some((first, _)), Some((last, _))) = (found.first(), found.last()) else {
        return Ok(None);
    };
    let (first, last) = (*first, *last);
    let stored_at = store.stored_at(&path(last))?;
    let bytes = found.iter().map(|(_, bytes)| bytes).sum();
    let from = match depth {
        Depth::Listing => first.max(last.saturating_sub(1)),
        // A run that dies may leave older ones.
        Depth::Checksums => last.saturating_sub(KEPT_MANIFESTS - 1).max(1),
    };
    let (mut newest, mut damaged) = (None, Vec::new());
    // From the last one back, because a damaged manifest may name a wrong checksum.
    let mut expected: Option<String> = None;
    for n in (from..=last).rev() {
        let found = match read::<Manifest>(store, &path(n)) {
            // The last one has the version of this program.
            Err(error) if n < last && error.kind() == ErrorKind::Data => {
                Object::Damaged(Finding::Changed)
            }
            found => found?,
        };
        let finding = match found {
            Object::Sound(manifest, bytes) => {
                let digest = hex(&bytes);
                if manifest.n == n && expected.is_none_or(|expected| expected == digest) {
                    if let Some(verified) = &mut report.verified {
                        verified.manifests += 1;
                        verified.bytes += bytes.len() as u64;
                    }
                    expected = Some(manifest.previous.clone());
                    newest = newest.or((n == last).then_some(manifest));
                    continue;
                }
                Finding::Changed
            }
            Object::Damaged(finding) => finding,
        };
        expected = None;
        // A run reads the last two.
        let consequence = if n + 1 >= last { Consequence::NoRun } else { Consequence::Nothing };
        damaged.push(damage(path(n), finding, consequence));
    }
    report.damage.extend(damaged.into_iter().rev());
    let generation = newest.as_ref().map(|manifest: &Manifest| manifest.generation);
    report.manifests = Some(ManifestRange { first, last, bytes, generation, stored_at });
    Ok(newest)
}

/// An object of the state in JSON.
enum Object<T> {
    Sound(T, Vec<u8>),
    Damaged(Finding),
}

/// Reads an object.
///
/// # Errors
/// When it can't be read, or a run of another version wrote it.
fn read<T: DeserializeOwned>(store: &Store, path: &str) -> Result<Object<T>> {
    let Some(bytes) = store.get(path)? else { return Ok(Object::Damaged(Finding::Missing)) };
    let Ok(format) = serde_json::from_slice::<Format>(&bytes) else {
        return Ok(Object::Damaged(Finding::Changed));
    };
    check_format(store, format)?;
    Ok(match serde_json::from_slice(&bytes) {
        Ok(value) => Object::Sound(value, bytes),
        Err(_) => Object::Damaged(Finding::Changed),
    })
}

fn path(n: u64) -> String {
    format!("manifest/{n:020}")
}

fn damage(path: String, finding: Finding, consequence: Consequence) -> Damage {
    Damage { path, finding, blocks: Vec::new(), consequence }
}
