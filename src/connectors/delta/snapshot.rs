//! A table at a version, as the `deltalake` crate reads it from checkpoints and log.

use std::collections::BTreeSet;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::{Array, StructArray};
use bytes::Bytes;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::connect::{Column, Store};
use crate::error::{Error, Result};

use super::{schema, vectors};

const LAST: &str = "_delta_log/_last_checkpoint";

fn at(version: u64) -> String {
    format!("_delta_log/{version:020}.checkpoint.parquet")
}

/// What a table is and consists of at a version.
pub(super) struct Snapshot {
    pub(super) version: u64,
    pub(super) id: String,
    /// The `protocol` action.
    pub(super) protocol: Value,
    /// `None` if a column is of a type that is not ours, or the table is partitioned.
    pub(super) columns: Option<Vec<Column>>,
    /// `add` actions of the files.
    pub(super) files: Vec<Value>,
    /// The last transaction of the application that was asked for.
    pub(super) txn: Option<u64>,
}

/// Reads the table in `store` at `version`, or the last one, with the last transaction of `app` if one is given.
///
/// # Errors
/// When it can't be read.
pub(super) fn load(store: &Store, version: Option<u64>, app: Option<&str>) -> Result<Snapshot> {
    wait(store, "read", async {
        let table = open(store, version).await?;
        let state = table.snapshot()?;
        let metadata = state.metadata();
        let columns = serde_json::from_str(metadata.schema_string())?;
        let columns = schema::columns(&columns).filter(|_| metadata.partition_columns().is_empty());
        let log = state.log_data();
        let files = log.iter().map(|file| {
            let vector = file.deletion_vector_descriptor();
            Ok(json!({"add": {
                "path": file.path(),
                "size": file.size(),
                "modificationTime": file.modification_time(),
                "stats": file.stats(),
                "deletionVector": vector.map(serde_json::to_value).transpose()?,
            }}))
        });
        let txn = match app {
            Some(app) => state.transaction_version(table.log_store().as_ref(), app).await?,
            None => None,
        };
        Ok(Snapshot {
            version: state.version(),
            id: metadata.id().into(),
            protocol: serde_json::to_value(state.protocol())?,
            columns,
            files: files.collect::<Result<_, DeltaTableError>>()?,
            txn: txn.and_then(|n| n.try_into().ok()),
        })
    })
}

/// Writes a checkpoint of `version`, and makes it durable before anything relies on it.
///
/// # Errors
/// When it can't be written.
pub(super) fn checkpoint(store: &Store, version: u64) -> Result<()> {
    wait(store, "write a checkpoint of", async {
        let table = open(store, Some(version)).await?;
        deltalake::checkpoints::create_checkpoint(&table, None).await
    })?;
    if let Some(folder) = store.folder() {
        let sync = |path: &str| std::fs::File::open(folder.join(path)).and_then(|f| f.sync_all());
        let synced = sync(&at(version)).and_then(|()| sync(LAST)).and_then(|()| sync("_delta_log"));
        synced.map_err(|e| Error::connect(format!("can't sync the checkpoint of {}", store.name(""))).because(e))?;
    }
    Ok(())
}

/// The version of the last checkpoint; 0 if there is none.
///
/// # Errors
/// When it can't be read.
pub(super) fn last_checkpoint(store: &Store) -> Result<u64> {
    let last: Option<Value> = store.get(LAST)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(last.and_then(|last| last["version"].as_u64()).unwrap_or(0))
}

/// Deletes versions of the log from before `cutoff` that a checkpoint makes superfluous.
///
/// # Errors
/// When they can't be deleted.
pub(super) fn clean_log(store: &Store, version: u64, cutoff: i64) -> Result<()> {
    wait(store, "clean the log of", async {
        let table = open(store, Some(version)).await?;
        let log = table.log_store();
        deltalake::checkpoints::cleanup_expired_logs_for(version, log.as_ref(), cutoff, None).await.map(|_| ())
    })
}

/// The files that were removed lately, with their vectors, by the checkpoint of `version`.
///
/// # Errors
/// When it can't be read.
pub(super) fn removed(store: &Store, version: u64) -> Result<BTreeSet<String>> {
    let name = at(version);
    let failed = |what: &str| Error::data(format!("{} has no {what}", store.name(&name)));
    let bytes = store.get(&name)?.ok_or_else(|| failed("content"))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).and_then(|b| b.build());
    let mut removed = BTreeSet::new();
    for batch in reader.map_err(|e| failed("checkpoint").because(e))? {
        let batch = batch.map_err(|e| failed("checkpoint").because(e))?;
        let remove = batch.column_by_name("remove").and_then(|c| c.as_struct_opt()).ok_or_else(|| failed("removed files"))?;
        let text = |of: &StructArray, name: &str| of.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).cloned();
        let paths = text(remove, "path").ok_or_else(|| failed("paths"))?;
        let vector = remove.column_by_name("deletionVector").and_then(|c| c.as_struct_opt()).ok_or_else(|| failed("vectors"))?;
        let (kinds, places) = (text(vector, "storageType"), text(vector, "pathOrInlineDv"));
        let (kinds, places) = kinds.zip(places).ok_or_else(|| failed("vectors"))?;
        for row in (0..batch.num_rows()).filter(|row| remove.is_valid(*row)) {
            removed.insert(paths.value(row).into());
            if vector.is_valid(row) {
                let vector = json!({"storageType": kinds.value(row), "pathOrInlineDv": places.value(row)});
                removed.extend(vectors::path(&vector)?);
            }
        }
    }
    Ok(removed)
}

async fn open(store: &Store, version: Option<u64>) -> Result<DeltaTable, DeltaTableError> {
    let builder = match (store.folder(), store.remote()) {
        (None, Some(remote)) => {
            // Only the path counts: the objects come from our own store, with its settings and connections.
            let (objects, prefix) = remote.objects();
            let url = deltalake::ensure_table_uri(format!("memory:///{prefix}"))?;
            DeltaTableBuilder::from_url(url.clone())?.with_storage_backend(objects, url)
        }
        (folder, _) => {
            let folder = std::path::absolute(folder.unwrap_or(Path::new(".")))?;
            DeltaTableBuilder::from_url(deltalake::ensure_table_uri(folder.to_string_lossy())?)?
        }
    };
    match version {
        Some(version) => builder.with_version(version).load().await,
        None => builder.load().await,
    }
}

fn wait<T>(store: &Store, verb: &str, work: impl Future<Output = Result<T, DeltaTableError>>) -> Result<T> {
    let failed = |e| Error::data(format!("can't {verb} the table {}", store.name(""))).because(e);
    let done = match store.remote() {
        // Where its connections live.
        Some(remote) => remote.wait(work),
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|e| Error::connect("can't start a thread for the table").because(e))?.block_on(work)
        }
    };
    done.map_err(|e| failed(Box::new(e)))
}
