//! The conversion of rows to Arrow: each value is appended to its column at once, so no row is held
//! in between.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;

use crate::error::{Error, Result};
use crate::row::{Column, ColumnType, Put, Row};

use super::schema;

/// Columns under construction.
pub(super) struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
    /// The column of the row's next value.
    next: usize,
    rows: usize,
    bytes: usize,
    misfit: bool,
}

enum Builder {
    Long(Int64Builder),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Doubles(ListBuilder<Float64Builder>),
    Binary(BinaryBuilder),
}

impl Columns {
    pub(super) fn new(columns: &[Column], schema: SchemaRef) -> Self {
        let builders = columns.iter().map(|c| Builder::new(c.ty)).collect();
        Columns { schema, builders, next: 0, rows: 0, bytes: 0, misfit: false }
    }

    /// Returns the number of rows that are not encoded yet.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the size of their values in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When its values do not fit the columns.
    pub(super) fn push(&mut self, row: &dyn Row) -> Result<()> {
        self.next = 0;
        row.put(self);
        if self.misfit || self.next != self.builders.len() {
            let names: Vec<_> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(Error::internal(format!(
                "a row does not have the columns {}",
                names.join(", ")
            )));
        }
        self.rows += 1;
        Ok(())
    }

    /// Takes the rows as a batch.
    ///
    /// # Errors
    /// When a column that is never null has a null.
    pub(super) fn take(&mut self) -> Result<RecordBatch> {
        (self.rows, self.bytes) = (0, 0);
        let arrays: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays);
        batch.map_err(|e| Error::internal("can't make columns of the rows").because(e))
    }

    fn next(&mut self) -> Option<&mut Builder> {
        self.next += 1;
        self.builders.get_mut(self.next - 1)
    }

    /// Appends a null, which fits every column; a value fits only a column of its type.
    fn other(&mut self, null: bool) {
        match self.builders.get_mut(self.next - 1) {
            Some(builder) if null => builder.null(),
            _ => self.misfit = true,
        }
    }
}

macro_rules! put {
    ($(
        $method:ident, $variant:ident, $ty:ty, |$b:ident, $v:ident| $append:expr, $bytes:expr;
    )*) => {
        impl Put for Columns {
            $(fn $method(&mut self, value: Option<$ty>) {
                self.bytes += value.map_or(0, |$v| $bytes);
                match (self.next(), value) {
                    (Some(Builder::$variant($b)), Some($v)) => $append,
                    (_, value) => self.other(value.is_none()),
                }
            })*
        }
    };
}

put! {
    long, Long, i64, |b, v| b.append_value(v), size_of_val(&v);
    double, Double, f64, |b, v| b.append_value(v), size_of_val(&v);
    boolean, Boolean, bool, |b, v| b.append_value(v), size_of_val(&v);
    text, Text, &str, |b, v| b.append_value(v), v.len();
    timestamp, Timestamp, i64, |b, v| b.append_value(v), size_of_val(&v);
    doubles, Doubles, &[f64], |b, v| {
        b.values().append_slice(v);
        b.append(true);
    }, size_of_val(v);
    binary, Binary, &[u8], |b, v| b.append_value(v), v.len();
}

impl Builder {
    fn new(ty: ColumnType) -> Self {
        match ty {
            ColumnType::Long => Builder::Long(Int64Builder::new()),
            ColumnType::Double => Builder::Double(Float64Builder::new()),
            ColumnType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            ColumnType::Text => Builder::Text(StringBuilder::new()),
            ColumnType::Timestamp => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            ColumnType::Doubles => Builder::Doubles(
                ListBuilder::new(Float64Builder::new()).with_field(schema::element()),
            ),
            ColumnType::Binary => Builder::Binary(BinaryBuilder::new()),
        }
    }

    fn null(&mut self) {
        match self {
            Builder::Long(b) => b.append_null(),
            Builder::Double(b) => b.append_null(),
            Builder::Boolean(b) => b.append_null(),
            Builder::Text(b) => b.append_null(),
            Builder::Timestamp(b) => b.append_null(),
            Builder::Doubles(b) => b.append_null(),
            Builder::Binary(b) => b.append_null(),
        }
    }

    /// Takes the values, and prepares room for as many.
    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Long(b) => Arc::new(b.finish()),
            Builder::Double(b) => Arc::new(b.finish()),
            Builder::Boolean(b) => Arc::new(b.finish()),
            Builder::Text(b) => {
                // An eighth more, or every second batch would slightly exceed it.
                let bytes = b.values_slice().len();
                let next = StringBuilder::with_capacity(b.len(), bytes + bytes / 8);
                Arc::new(std::mem::replace(b, next).finish())
            }
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::Doubles(b) => ArrayBuilder::finish(b),
            Builder::Binary(b) => Arc::new(b.finish()),
        }
    }
}
