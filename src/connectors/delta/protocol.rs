//! The features that a table declares: as few as it needs, so that most readers can read it.
//!
//! A new table needs no features. It declares deletion vectors, for ever, in the version that has
//! the first one.

use serde_json::{Value, json};

use crate::connect::Schema;

use super::schema;

/// The property of a table that allows vectors.
const VECTORS: &str = "delta.enableDeletionVectors";

/// Returns the protocol of a table without vectors. A column that is never null is an invariant,
/// and Spark refuses to read a table that has one without declaring it. Writers of version 2
/// support invariants.
pub(super) fn plain() -> Value {
    json!({"minReaderVersion": 1, "minWriterVersion": 2})
}

/// Returns the protocol of a table that may have vectors. It also names all features of the plain
/// one.
fn vectors() -> Value {
    let (read, write) = (["deletionVectors"], ["appendOnly", "deletionVectors", "invariants"]);
    json!({
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": read,
        "writerFeatures": write,
    })
}

/// Returns true if a table of `protocol` may have vectors; `None` if it has features that are not
/// supported here.
pub(super) fn may_have_vectors(protocol: &Value) -> Option<bool> {
    let features = |kind: &str| -> Vec<&str> {
        let mut features: Vec<&str> =
            protocol[kind].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        features.sort_unstable();
        features
    };
    let versions = (protocol["minReaderVersion"].as_u64()?, protocol["minWriterVersion"].as_u64()?);
    match (versions, &features("readerFeatures")[..], &features("writerFeatures")[..]) {
        ((1, 2), [], []) => Some(false),
        (
            (3, 7),
            ["deletionVectors"],
            ["deletionVectors", "invariants"] | ["appendOnly", "deletionVectors", "invariants"],
        ) => Some(true),
        _ => None,
    }
}

/// Returns the `metaData` of a new table.
pub(super) fn metadata(id: &str, schema: &Schema, now: i64) -> Value {
    json!({
        "id": id,
        "name": schema.topic,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema::delta(&schema.columns).to_string(),
        "partitionColumns": [],
        "configuration": {"delta.logRetentionDuration": "interval 7 days"},
        "createdTime": now,
    })
}

/// Returns the actions by which a table of this `metadata` declares that it may have vectors.
pub(super) fn declaration(metadata: Value) -> Vec<Value> {
    vec![json!({"protocol": vectors()}), json!({"metaData": with_vectors(metadata)})]
}

/// Returns this metadata of a table whose protocol allows vectors.
pub(super) fn with_vectors(mut metadata: Value) -> Value {
    metadata["configuration"][VECTORS] = "true".into();
    metadata
}

/// Returns true if `actions` change the protocol of the table.
pub(super) fn declares(actions: &[Value]) -> bool {
    actions.iter().any(|action| action.get("protocol").is_some())
}
