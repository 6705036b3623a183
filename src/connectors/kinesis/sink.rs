//! Writes rows as JSON. They are in the manifest first, and then put into the stream.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::connect::{
    Committer, CountRows, FoundRows, Identity, Mode, Part, Recovering, Schema, Sink, SinkContext,
    Writer,
};
use crate::error::{Error, Result};
use crate::row::{Row, Value, write_object};

use super::KinesisStream;
use super::api::Entry;
use super::put::{self, PutMode};

/// A row in the manifest: its partition key, and the text of its JSON object. The text stays
/// unparsed, because a parser would round numbers.
#[derive(Debug, Serialize, Deserialize)]
struct Staged(String, String);

impl Sink for KinesisStream {
    fn describe(&self) -> String {
        self.name()
    }

    fn identity(&self) -> Result<Identity> {
        self.identity()
    }

    fn check(&self, schema: &Schema, _context: &SinkContext) -> Result<()> {
        if schema.mode == Mode::Snapshot {
            return Err(Error::config(format!(
                "can't keep the table {} in {}: a stream keeps every row",
                schema.topic,
                self.name()
            ))
            .hint("Bind the topic to a table, or write a stream of rows to Kinesis."));
        }
        // Check this now, and not after the first commit has been decided.
        crate::connect::Source::partitions(self).map(drop)
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        self.check(schema, context)?;
        Ok(Box::new(StreamCommitter { stream: self.clone(), app: context.app.clone() }))
    }

    fn writers(
        &self,
        schema: &Schema,
        _context: &SinkContext,
        _brief: &Json,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        let schema = Arc::new(schema.clone());
        let writer = || RowWriter { schema: schema.clone(), rows: Vec::new() };
        Ok(workers.map(|_| Box::new(CountRows::before(writer())) as _).collect())
    }
}

struct RowWriter {
    schema: Arc<Schema>,
    rows: Vec<Staged>,
}

impl Writer for RowWriter {
    fn insert(&mut self, _slot: u32, row: &dyn Row) -> Result<()> {
        let object = self.json(self.schema.columns.len(), row)?;
        let mut values = Vec::new();
        row.put(&mut values);
        let key = match (values.into_iter().next(), self.schema.key) {
            (Some(Value::Text(key)), 0 | 1) => key,
            (_, columns) => self.json(columns.max(1), row)?,
        };
        self.rows.push(Staged(put::valid_key(key), object));
        Ok(())
    }

    fn remove(&mut self, _slot: u32) {}

    fn stage(&mut self) -> Result<Option<Part>> {
        let rows = mem::take(&mut self.rows);
        (!rows.is_empty()).then(|| Part::new(&rows, &[])).transpose()
    }
}

impl RowWriter {
    /// Returns the first `fields` columns of a row as the text of an object.
    fn json(&self, fields: usize, row: &dyn Row) -> Result<String> {
        let mut out = Vec::new();
        write_object(&self.schema.columns, fields, row, &mut out).map_err(|error| {
            Error::data(format!("can't write a row of {} as JSON: {error}", self.schema.topic))
        })?;
        String::from_utf8(out).map_err(|e| Error::internal("JSON is not UTF-8").because(e))
    }
}

struct StreamCommitter {
    stream: KinesisStream,
    app: String,
}

impl Committer for StreamCommitter {
    fn recovered(&mut self, _found: FoundRows) -> Result<()> {
        Ok(())
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<Json>> {
        let mut all = Vec::new();
        for part in parts {
            all.extend(part.read::<Vec<Staged>>()?.0);
        }
        if all.is_empty() {
            return Ok(None);
        }
        for (number, Staged(key, object)) in all.iter_mut().enumerate() {
            // The object ends with a brace, and has at least one field, because a row has at least
            // one column.
            object.truncate(object.len() - 1);
            object.push_str(&format!(
                ",\"_record\":{}}}",
                Json::from(format!("{}/{n}/{number}", self.app))
            ));
            if object.len() + key.len() > put::RECORD_MAX_BYTES {
                let bytes = object.len();
                return Err(Error::data(format!(
                    "can't write to {}: a row has {bytes} bytes",
                    self.stream.name()
                ))
                .hint("A record of Kinesis has at most a megabyte."));
            }
        }
        let json = |e| {
            Error::internal(format!("can't record commit {n} of {}", self.stream.name())).because(e)
        };
        serde_json::to_value(all).map(Some).map_err(json)
    }

    fn commit(&mut self, n: u64, content: &Json) -> Result<()> {
        let damaged = |e| {
            Error::data(format!(
                "can't write commit {n} to {}: its record is damaged",
                self.stream.name()
            ))
            .because(e)
        };
        let rows = Vec::<Staged>::deserialize(content).map_err(damaged)?;
        let action = format!("write commit {n} to {}", self.stream.name());
        let service = &self.stream.kinesis.service;
        let entry = |Staged(key, data)| Entry { key, hash: None, data: String::into(data) };
        let entries: Vec<Entry> = rows.into_iter().map(entry).collect();
        let mut written = vec![None; entries.len()];
        let put = put::put(
            &*service.api,
            &action,
            &self.stream.stream,
            entries,
            PutMode::Ordered,
            &mut written,
        );
        service.runtime.block_on(put).map_err(|error| error.error(&action))
    }
}
