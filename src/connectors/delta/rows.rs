//! The conversion of Parquet to rows: the live rows of a file, as columns.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::reader::ChunkReader;
use roaring::RoaringTreemap;

use crate::row::{Column, ColumnType, Put};

use crate::error::{Advice, Error, Result};
use crate::store::Store;

use super::file::BATCH_BYTES;

/// The hint for a missing file of a table.
pub(super) const GONE: &str = "Another program has deleted it, such as a vacuum that does not know \
    deletion vectors. Restore it, or begin anew with an empty table and a new state: everything is \
    read again.";
/// The hint for a table that another program has changed.
pub(super) const CHANGED: &str = "Another program has changed the table. Other readers of Delta \
    still read it. To go on, restore it, or begin anew with an empty table and a new state.";

/// Opens a file of `rows` rows, and returns `columns` of the rows that are not `dead`, in order.
///
/// # Errors
/// When the file can't be read or has another number of rows.
pub(super) fn open(
    store: &Store,
    path: &str,
    columns: &[Column],
    rows: u32,
    dead: &RoaringTreemap,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let name = store.name(path);
    let reader = match store.folder() {
        Some(folder) => {
            let file = std::fs::File::open(folder.join(path))
                .map_err(|e| Error::data(format!("can't read {name}")).because(e).hint(GONE))?;
            reader(file, &name, columns, rows, dead)?
        }
        None => {
            let bytes = store
                .get(path)?
                .ok_or_else(|| Error::data(format!("{name} is gone")).hint(GONE))?;
            reader(bytes::Bytes::from(bytes), &name, columns, rows, dead)?
        }
    };
    Ok(reader
        .map(move |batch| batch.map_err(|e| Error::data(format!("can't read {name}")).because(e))))
}

fn reader<T: ChunkReader + 'static>(
    file: T,
    name: &str,
    columns: &[Column],
    rows: u32,
    dead: &RoaringTreemap,
) -> Result<ParquetRecordBatchReader> {
    let failed = |e| Error::data(format!("can't read {name}")).because(e);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let found = builder.metadata().file_metadata().num_rows();
    if found != i64::from(rows) {
        return Err(Error::data(format!(
            "{name} has {found} rows, and the table's log records {rows}"
        ))
        .hint(CHANGED)
        .advise(Advice::EarlierCommit));
    }
    let mask =
        ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(|c| c.name.as_str()));
    let bytes: i64 =
        builder.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum();
    let each = usize::try_from(bytes / i64::from(rows.max(1))).unwrap_or(0);
    let mut builder =
        builder.with_projection(mask).with_batch_size((BATCH_BYTES / each.max(1)).clamp(1, 8192));
    if !dead.is_empty() {
        builder = builder.with_row_selection(RowSelection::from_consecutive_ranges(
            living(rows, dead),
            rows as usize,
        ));
    }
    builder.build().map_err(failed)
}

/// Returns the ranges of live rows, ascending.
fn living(rows: u32, dead: &RoaringTreemap) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    let ends = dead.iter().map(|row| row as usize).chain([rows as usize]);
    ends.filter_map(move |end| {
        let range = from..end;
        from = end + 1;
        (!range.is_empty()).then_some(range)
    })
}

/// A batch whose columns have checked types.
pub(super) struct Cells(Vec<(ColumnType, ArrayRef)>);

impl Cells {
    /// Finds `columns` in `batch`, which is of a file of `table`.
    ///
    /// # Errors
    /// When a column is absent or of another type.
    pub(super) fn new(table: &str, columns: &[Column], batch: &RecordBatch) -> Result<Self> {
        let cell = |column: &Column| {
            let array = batch.column_by_name(&column.name).filter(|a| fits(column.ty, a));
            let array = array.ok_or_else(|| {
                let what = format!(
                    "a file of {table} lacks column {} of type {:?}",
                    column.name, column.ty
                );
                Error::data(what).hint(CHANGED).advise(Advice::EarlierCommit)
            })?;
            Ok((column.ty, array.clone()))
        };
        Ok(Cells(columns.iter().map(cell).collect::<Result<_>>()?))
    }

    /// Passes the values of row `row` to `out`.
    pub(super) fn put(&self, row: usize, out: &mut dyn Put) {
        for (ty, array) in &self.0 {
            let some = array.is_valid(row);
            match ty {
                ColumnType::Long => {
                    out.long(some.then(|| array.as_primitive::<Int64Type>().value(row)))
                }
                ColumnType::Double => {
                    out.double(some.then(|| array.as_primitive::<Float64Type>().value(row)))
                }
                ColumnType::Boolean => out.boolean(some.then(|| array.as_boolean().value(row))),
                ColumnType::Text => out.text(some.then(|| array.as_string::<i32>().value(row))),
                ColumnType::Timestamp => {
                    out.timestamp(
                        some.then(|| array.as_primitive::<TimestampMicrosecondType>().value(row)),
                    );
                }
                ColumnType::Doubles => {
                    let values = some.then(|| array.as_list::<i32>().value(row));
                    out.doubles(
                        values.as_ref().map(|v| v.as_primitive::<Float64Type>().values().as_ref()),
                    );
                }
                ColumnType::Binary => out.binary(some.then(|| array.as_binary::<i32>().value(row))),
            }
        }
    }
}

fn fits(ty: ColumnType, array: &ArrayRef) -> bool {
    match ty {
        ColumnType::Long => array.as_primitive_opt::<Int64Type>().is_some(),
        ColumnType::Double => array.as_primitive_opt::<Float64Type>().is_some(),
        ColumnType::Boolean => array.as_boolean_opt().is_some(),
        ColumnType::Text => array.as_string_opt::<i32>().is_some(),
        ColumnType::Timestamp => array.as_primitive_opt::<TimestampMicrosecondType>().is_some(),
        ColumnType::Doubles => array
            .as_list_opt::<i32>()
            .is_some_and(|l| l.values().as_primitive_opt::<Float64Type>().is_some()),
        ColumnType::Binary => array.as_binary_opt::<i32>().is_some(),
    }
}
