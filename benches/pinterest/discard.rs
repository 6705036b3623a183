//! A sink that discards its rows: the run has the cost of everything before a table.

use std::ops::Range;

use serde_json::Value;
use watershed::connect::{
    Committer, CountRows, FoundRows, Part, Recovering, Schema, Sink, SinkContext, Writer,
};
use watershed::row::Row;

#[derive(Clone, Copy)]
pub(crate) struct Discard;

impl Sink for Discard {
    fn describe(&self) -> String {
        "nothing".into()
    }

    fn open(&self, _: &Schema, _: &SinkContext) -> watershed::Result<Box<dyn Committer>> {
        Ok(Box::new(Discard))
    }

    fn writers(
        &self,
        _: &Schema,
        _: &SinkContext,
        _: &Value,
        workers: Range<usize>,
    ) -> watershed::Result<Vec<Box<dyn Recovering>>> {
        let writer = |_| Box::new(CountRows::before(Discard)) as Box<dyn Recovering>;
        Ok(workers.map(writer).collect())
    }
}

impl Committer for Discard {
    fn recovered(&mut self, _: FoundRows) -> watershed::Result<()> {
        Ok(())
    }

    fn stage(&mut self, _: u64, _: Vec<Part>) -> watershed::Result<Option<Value>> {
        Ok(None)
    }

    fn commit(&mut self, _: u64, _: &Value) -> watershed::Result<()> {
        Ok(())
    }
}

impl Writer for Discard {
    fn insert(&mut self, _: u32, _: &dyn Row) -> watershed::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _: u32) {}

    fn stage(&mut self) -> watershed::Result<Option<Part>> {
        Ok(None)
    }
}
