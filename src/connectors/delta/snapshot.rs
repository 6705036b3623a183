//! A table at a version, which the `deltalake` crate reads from checkpoints and log.

use std::path::Path;

use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use serde_json::{Value, json};

use crate::row::Column;

use crate::error::{Error, Result};
use crate::store::{Store, disk};
use crate::sync::io_runtime;

use super::schema;

const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// Returns the name of the checkpoint of `version` in the table's folder.
pub(super) fn at(version: u64) -> String {
    format!("_delta_log/{version:020}.checkpoint.parquet")
}

/// The metadata and the files of a table at a version.
pub(super) struct Snapshot {
    pub(super) version: u64,
    pub(super) id: String,
    /// The `protocol` action.
    pub(super) protocol: Value,
    /// The `metaData` action.
    pub(super) metadata: Value,
    /// The columns; `None` if one has an unsupported type, or the table is partitioned.
    pub(super) columns: Option<Vec<Column>>,
    /// The `add` actions of the files.
    pub(super) files: Vec<Value>,
    /// The last transaction of the application, if one was given.
    pub(super) txn: Option<u64>,
}

/// Reads the table in `store` at `version`, or the last one, with the last transaction of `app` if
/// one is given.
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
            metadata: serde_json::to_value(metadata)?,
            columns,
            files: files.collect::<Result<_, DeltaTableError>>()?,
            txn: txn.and_then(|n| n.try_into().ok()),
        })
    })
}

/// Writes a checkpoint of `version` durably.
///
/// # Errors
/// When it can't be written.
pub(super) fn checkpoint(store: &Store, version: u64) -> Result<()> {
    wait(store, "write a checkpoint of", async {
        let table = open(store, Some(version)).await?;
        deltalake::checkpoints::create_checkpoint(&table, None).await
    })?;
    if let Some(folder) = store.folder() {
        let sync = |path: &str| disk::sync(&folder.join(path));
        let synced = sync(&at(version))
            .and_then(|()| sync(LAST_CHECKPOINT))
            .and_then(|()| sync("_delta_log"));
        synced.map_err(|e| {
            Error::connect(format!("can't sync the checkpoint of {}", store.name(""))).because(e)
        })?;
    }
    Ok(())
}

/// Returns the version of the last checkpoint; 0 if there is none.
///
/// # Errors
/// When it can't be read.
pub(super) fn last_checkpoint(store: &Store) -> Result<u64> {
    let last: Option<Value> =
        store.get(LAST_CHECKPOINT)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(last.and_then(|last| last["version"].as_u64()).unwrap_or(0))
}

async fn open(store: &Store, version: Option<u64>) -> Result<DeltaTable, DeltaTableError> {
    let builder = match (store.folder(), store.remote()) {
        (None, Some(remote)) => {
            // Only the path counts: the objects come from the store of this library, with its
            // settings and connections.
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

fn wait<T>(
    store: &Store,
    verb: &str,
    work: impl Future<Output = Result<T, DeltaTableError>>,
) -> Result<T> {
    let done = match store.remote() {
        // The connections belong to the store's runtime.
        Some(remote) => remote.wait(work),
        None => io_runtime()?.block_on(work),
    };
    done.map_err(|e| {
        let message = format!("can't {verb} the table {}", store.name(""));
        let error = if is_of_store(&e) { Error::connect(message) } else { Error::data(message) };
        error.because(Box::new(e))
    })
}

/// Returns true if a request to the object store has failed, so that another attempt may succeed.
/// The kernel of Delta keeps no source of such an error, only its text.
fn is_of_store(error: &DeltaTableError) -> bool {
    matches!(error, DeltaTableError::ObjectStore { .. })
        || error.to_string().contains("Error interacting with object store")
}
