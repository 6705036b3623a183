//! The columns of a table in three forms: those of this library, of Arrow, and of the JSON in
//! Delta's log.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};

use crate::row::{Column, ColumnType};

/// Returns the Arrow schema of Parquet files with these columns.
pub(super) fn arrow(columns: &[Column]) -> SchemaRef {
    let field = |c: &Column| Field::new(&c.name, data_type(c.ty), c.nullable);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn data_type(ty: ColumnType) -> DataType {
    match ty {
        ColumnType::Long => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Doubles => DataType::List(element()),
        ColumnType::Binary => DataType::Binary,
    }
}

/// Returns the field of an array's elements, with the name that Delta's readers expect.
pub(super) fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float64, true))
}

/// Returns the JSON of `schemaString`.
pub(super) fn delta(columns: &[Column]) -> Value {
    let fields: Vec<_> = columns.iter().map(field).collect();
    json!({"type": "struct", "fields": fields})
}

fn field(column: &Column) -> Value {
    let ty = match column.ty {
        ColumnType::Long => json!("long"),
        ColumnType::Double => json!("double"),
        ColumnType::Boolean => json!("boolean"),
        ColumnType::Text => json!("string"),
        ColumnType::Timestamp => json!("timestamp"),
        ColumnType::Doubles => {
            json!({"type": "array", "elementType": "double", "containsNull": true})
        }
        ColumnType::Binary => json!("binary"),
    };
    json!({"name": column.name, "type": ty, "nullable": column.nullable, "metadata": {}})
}

/// Parses the JSON of [`delta`]; `None` if a column has another type.
pub(super) fn columns(schema: &Value) -> Option<Vec<Column>> {
    let column = |field: &Value| {
        let ty = match &field["type"] {
            Value::String(name) => match name.as_str() {
                "long" => ColumnType::Long,
                "double" => ColumnType::Double,
                "boolean" => ColumnType::Boolean,
                "string" => ColumnType::Text,
                "timestamp" => ColumnType::Timestamp,
                "binary" => ColumnType::Binary,
                _ => return None,
            },
            array if array["type"] == "array" && array["elementType"] == "double" => {
                ColumnType::Doubles
            }
            _ => return None,
        };
        Some(Column {
            name: field["name"].as_str()?.into(),
            ty,
            nullable: field["nullable"].as_bool()?,
        })
    };
    schema["fields"].as_array()?.iter().map(column).collect()
}
