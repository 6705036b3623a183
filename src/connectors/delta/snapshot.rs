//! A table at a version, as the `deltalake` crate reads it from checkpoints and log.

use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use serde_json::{Value, json};

use crate::connect::{Column, Store};
use crate::error::{Error, Result};

use super::schema;

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

async fn open(store: &Store, version: Option<u64>) -> Result<DeltaTable, DeltaTableError> {
    let Some(folder) = store.folder() else {
        return Err(DeltaTableError::InvalidTableLocation("only folders hold tables".into()));
    };
    let url = deltalake::ensure_table_uri(std::path::absolute(folder)?.to_string_lossy())?;
    let builder = DeltaTableBuilder::from_url(url)?;
    match version {
        Some(version) => builder.with_version(version).load().await,
        None => builder.load().await,
    }
}

fn wait<T>(store: &Store, verb: &str, work: impl Future<Output = Result<T, DeltaTableError>>) -> Result<T> {
    let failed = |e| Error::data(format!("can't {verb} the table {}", store.name(""))).because(e);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::connect("can't start a thread for the table").because(e))?;
    runtime.block_on(work).map_err(|e| failed(Box::new(e)))
}
