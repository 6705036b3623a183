//! A Parquet file that is built in memory, and its statistics for Delta's log.

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::connect::Pieces;
use crate::error::{Error, Result};
use crate::row::{Column, ColumnType, Row};

use super::columns::Columns;
use super::schema;

/// The number of rows that are encoded at a time.
const BATCH_ROWS: usize = 4096;
/// The size of values above which fewer rows are encoded or read at a time: a column of a batch has
/// room for 2 GiB.
pub(super) const BATCH_BYTES: usize = 16 << 20;
/// The size of a page before compression. Pages of the default size, 1 MiB, exceed the cache during
/// their encoding.
const PAGE_BYTES: usize = 128 << 10;
/// Parquet's limit on a column's dictionary. Columns of few distinct values fit. Columns of unique
/// values fall back early, which saves a tenth of the time to encode pins.
const DICTIONARY_BYTES: usize = 64 << 10;
/// The maximal length of a text in a column's bounds. A longer least value is cut, a longer
/// greatest value is left out.
const BOUND_CHARS: usize = 32;

/// A file that is complete but not yet stored.
pub(super) struct NewFile {
    pub(super) entry: FileEntry,
    pub(super) bytes: Pieces,
}

/// A new file, as the table's log describes it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct FileEntry {
    /// Its number in this run.
    pub(super) id: u32,
    /// Its name in the table's folder.
    pub(super) path: String,
    /// Its length in bytes.
    pub(super) size: u64,
    pub(super) rows: u32,
    /// `minValues`, `maxValues` and `nullCount`.
    pub(super) stats: Map<String, Value>,
}

/// A file to which rows are added.
pub(super) struct OpenFile {
    id: u32,
    path: String,
    described: Vec<Column>,
    columns: Columns,
    parquet: ArrowWriter<Pieces>,
    rows: u32,
    encoded: usize,
}

impl OpenFile {
    pub(super) fn new(id: u32, path: String, columns: &[Column]) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_created_by("watershed".into())
            .build();
        let options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let arrow = schema::arrow(columns);
        let parquet = ArrowWriter::try_new_with_options(Pieces::default(), arrow.clone(), options)
            .map_err(failed)?;
        let described = columns.to_vec();
        Ok(OpenFile {
            id,
            path,
            columns: Columns::new(&described, arrow),
            described,
            parquet,
            rows: 0,
            encoded: 0,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// Returns its size in bytes, without the rows that are not encoded yet.
    pub(super) fn size(&self) -> usize {
        self.encoded
    }

    /// Adds a row and returns its number.
    pub(super) fn push(&mut self, row: &dyn Row) -> Result<u32> {
        self.columns.push(row)?;
        self.rows += 1;
        if self.columns.rows() == BATCH_ROWS || self.columns.bytes() >= BATCH_BYTES {
            self.encode()?;
        }
        Ok(self.rows - 1)
    }

    /// Adds rows that are in columns already.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += u32::try_from(batch.num_rows()).map_err(failed)?;
        self.parquet.write(batch).map_err(failed)?;
        self.encoded = self.parquet.bytes_written() + self.parquet.in_progress_size();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<NewFile> {
        self.encode()?;
        let metadata = self.parquet.finish().map_err(failed)?;
        let mut bytes = std::mem::take(self.parquet.inner_mut());
        bytes.shrink_to_fit();
        let (size, stats) = (bytes.len() as u64, stats(&self.described, &metadata));
        let entry = FileEntry { id: self.id, path: self.path, size, rows: self.rows, stats };
        Ok(NewFile { entry, bytes })
    }

    fn encode(&mut self) -> Result<()> {
        if self.columns.rows() > 0 {
            let batch = self.columns.take()?;
            self.parquet.write(&batch).map_err(failed)?;
            self.encoded = self.parquet.bytes_written() + self.parquet.in_progress_size();
        }
        Ok(())
    }
}

fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::internal("can't encode rows as Parquet").because(cause)
}

/// Returns the bounds of each column, from Parquet's statistics. A file has one row group.
///
/// Floats have no bounds, because Parquet's ignore NaN, and arrays have none either. Bounds of
/// timestamps are in milliseconds, rounded outwards.
fn stats(columns: &[Column], metadata: &ParquetMetaData) -> Map<String, Value> {
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    let [group] = metadata.row_groups() else { return Map::new() };
    for (index, column) in columns.iter().enumerate() {
        let Some(kept) =
            group.column(index).statistics().filter(|_| column.ty != ColumnType::Doubles)
        else {
            continue;
        };
        nulls.extend(kept.null_count_opt().map(|count| (column.name.clone(), count.into())));
        let (min, max) = bounds(column.ty, kept);
        least.extend(min.map(|v| (column.name.clone(), v)));
        greatest.extend(max.map(|v| (column.name.clone(), v)));
    }
    [("minValues", least), ("maxValues", greatest), ("nullCount", nulls)]
        .map(|(k, v)| (k.into(), v.into()))
        .into_iter()
        .collect()
}

fn bounds(ty: ColumnType, kept: &Statistics) -> (Option<Value>, Option<Value>) {
    match (ty, kept) {
        (ColumnType::Long, Statistics::Int64(v)) => {
            (v.min_opt().map(|v| (*v).into()), v.max_opt().map(|v| (*v).into()))
        }
        (ColumnType::Timestamp, Statistics::Int64(v)) => {
            let after = |v: &i64| time(v.div_euclid(1000) + i64::from(v.rem_euclid(1000) > 0));
            (v.min_opt().and_then(|v| time(v.div_euclid(1000))), v.max_opt().and_then(after))
        }
        (ColumnType::Text, Statistics::ByteArray(v)) => {
            let text = |bytes| std::str::from_utf8(bytes).ok();
            let min = v
                .min_bytes_opt()
                .and_then(text)
                .map(|v| v.chars().take(BOUND_CHARS).collect::<String>());
            let max = v.max_bytes_opt().and_then(text).filter(|v| v.chars().count() <= BOUND_CHARS);
            (min.map(Value::from), max.map(Value::from))
        }
        _ => (None, None),
    }
}

fn time(millis: i64) -> Option<Value> {
    let text = chrono::DateTime::from_timestamp_millis(millis)?
        .format("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string();
    // After the year 9999 the text is longer, and other readers can't parse it.
    (text.len() == 24).then(|| text.into())
}
