//! The deletion of old versions, and of files that were removed from the table.
//!
//! Only the clock of the runs counts, whose times are in the log. Delta's library uses the
//! machine's clock: its checkpoints leave out removals that it considers old. So these are read
//! from the versions of the log.

use std::collections::BTreeSet;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, StructArray};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::faults;
use crate::store::Store;

use super::{log, snapshot, vectors};

/// Deletes versions of the log from before `since`, and the `candidates` that no later version
/// needs. A checkpoint of `version` exists.
///
/// # Errors
/// When a file can't be read or deleted.
pub(super) fn clean(
    store: &Store,
    version: u64,
    since: i64,
    mut candidates: Vec<String>,
) -> Result<()> {
    let names = store.list("_delta_log")?.into_iter().map(|(name, _)| name);
    let numbered = |name: String| Some((name.get(..20)?.parse::<u64>().ok()?, name));
    let files: Vec<(u64, String)> = names.filter_map(numbered).collect();
    let versions: Vec<u64> = files
        .iter()
        .filter(|(v, name)| *v <= version && log::at(*v).ends_with(name))
        .map(|(v, _)| *v)
        .collect();
    let recent = &versions[first_since(store, &versions, since)?..];
    let keep = recent.first().copied().unwrap_or(version);
    let checkpoints = files
        .iter()
        .filter(|(v, name)| *v <= keep && snapshot::at(*v).ends_with(name))
        .map(|(v, _)| *v);
    // A reader needs the versions after a checkpoint.
    if let Some(from) = checkpoints.max() {
        let old = files.iter().filter(|(v, name)| *v < from && is_log(name));
        delete(store, old.map(|(_, name)| format!("_delta_log/{name}")).collect())?;
    }
    let Removed { names, oldest } = removed(store, version, since)?;
    candidates.retain(|name| !names.contains(name));
    if !candidates.is_empty() {
        let names = forgotten(store, recent, oldest)?;
        candidates.retain(|name| !names.contains(name));
    }
    delete(store, candidates)
}

fn is_log(name: &str) -> bool {
    name.ends_with(".json") || (name.ends_with(".parquet") && name[20..].starts_with(".checkpoint"))
}

/// Returns the index in the ascending `versions` of the first one that was made at `since` or
/// later.
fn first_since(store: &Store, versions: &[u64], since: i64) -> Result<usize> {
    let (mut low, mut high) = (0, versions.len());
    while low < high {
        let middle = low.midpoint(high);
        // A version without a time counts as old as the next one with a time.
        let mut time_of_next = None;
        for version in &versions[middle..high] {
            time_of_next = log::read(store, *version)?.as_deref().and_then(log::time);
            if time_of_next.is_some() {
                break;
            }
        }
        if time_of_next.is_some_and(|time| time < since) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The removals in a checkpoint.
struct Removed {
    /// Files that were removed since the given time, and their vectors.
    names: BTreeSet<String>,
    /// The time of the oldest removal; the checkpoint left out no later one.
    oldest: Option<i64>,
}

/// Returns the files that were removed since `since`, according to the checkpoint of `version`.
fn removed(store: &Store, version: u64, since: i64) -> Result<Removed> {
    let name = snapshot::at(version);
    let failed = |what: &str| Error::data(format!("{} has no {what}", store.name(&name)));
    let bytes = store.get(&name)?.ok_or_else(|| failed("content"))?;
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).and_then(|b| b.build());
    let mut removed = Removed { names: BTreeSet::new(), oldest: None };
    for batch in reader.map_err(|e| failed("checkpoint").because(e))? {
        let batch = batch.map_err(|e| failed("checkpoint").because(e))?;
        let remove = batch
            .column_by_name("remove")
            .and_then(|c| c.as_struct_opt())
            .ok_or_else(|| failed("removed files"))?;
        let text = |of: &StructArray, name: &str| {
            of.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).cloned()
        };
        let paths = text(remove, "path").ok_or_else(|| failed("paths"))?;
        let times = remove
            .column_by_name("deletionTimestamp")
            .and_then(|c| c.as_primitive_opt::<Int64Type>());
        let times = times.ok_or_else(|| failed("times"))?;
        let vector = remove
            .column_by_name("deletionVector")
            .and_then(|c| c.as_struct_opt())
            .ok_or_else(|| failed("vectors"))?;
        let (kinds, places) = (text(vector, "storageType"), text(vector, "pathOrInlineDv"));
        let (kinds, places) = kinds.zip(places).ok_or_else(|| failed("vectors"))?;
        for row in (0..batch.num_rows()).filter(|row| remove.is_valid(*row)) {
            let time = if times.is_valid(row) { times.value(row) } else { 0 };
            removed.oldest = Some(removed.oldest.map_or(time, |oldest| oldest.min(time)));
            if time < since {
                continue;
            }
            removed.names.insert(paths.value(row).into());
            if vector.is_valid(row) {
                let vector =
                    json!({"storageType": kinds.value(row), "pathOrInlineDv": places.value(row)});
                removed.names.extend(vectors::path(&vector)?);
            }
        }
    }
    Ok(removed)
}

/// Returns the files that the `recent` versions removed before the `oldest` removal of a
/// checkpoint, and their vectors.
fn forgotten(store: &Store, recent: &[u64], oldest: Option<i64>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for version in recent {
        let actions = log::read(store, *version)?.unwrap_or_default();
        let removes: Vec<&Value> =
            actions.iter().filter_map(|action| action.get("remove")).collect();
        let known = |remove: &&Value| {
            remove["deletionTimestamp"]
                .as_i64()
                .zip(oldest)
                .is_some_and(|(at, oldest)| at >= oldest)
        };
        if removes.iter().any(known) {
            break;
        }
        for remove in removes {
            names.extend(remove["path"].as_str().map(str::to_owned));
            if let Some(vector) = remove.get("deletionVector").filter(|vector| !vector.is_null()) {
                names.extend(vectors::path(vector)?);
            }
        }
    }
    Ok(names)
}

/// Deletes files, which need not exist.
fn delete(store: &Store, names: Vec<String>) -> Result<()> {
    let Some(remote) = store.remote() else {
        return names.iter().try_for_each(|name| {
            faults::point("cleanup.before");
            store.delete(name)?;
            faults::point("cleanup.after");
            Ok(())
        });
    };
    let (objects, prefix) = remote.objects();
    let paths: Vec<_> =
        names.into_iter().map(|name| Ok(format!("{prefix}/{name}").into())).collect();
    let gone = |e: &object_store::Error| matches!(e, object_store::Error::NotFound { .. });
    let deleted = objects.delete_stream(stream::iter(paths).boxed()).map(|deleted| match deleted {
        Err(e) if !gone(&e) => Err(e),
        _ => Ok(()),
    });
    let deleted = remote.wait(deleted.try_collect::<Vec<()>>());
    deleted.map(drop).map_err(|e| {
        Error::connect(format!("can't delete old files of {}", store.name(""))).because(e)
    })
}
