//! The joins of a case.

use watershed::prelude::*;

use super::graph::{Built, Step, missing};
use super::value::{Dyn, Key};

impl<'s> Step<'_, 's> {
    /// Builds a join, which needs two inputs.
    pub(super) fn join(&self, left: &Built<'s>, right: &Built<'s>) -> Result<Built<'s>, String> {
        let verb = self.op();
        if !["join", "left_join", "outer_join"].contains(&verb) {
            return self.unbuilt(verb);
        }
        match (left, right) {
            (Built::Table(left), Built::Table(right)) if self.node["key_extractor"].is_null() => {
                self.join_tables(left, right).map(Built::Table)
            }
            (Built::WindowTable(left), Built::WindowTable(right)) => {
                self.join_tables(left, right).map(Built::WindowTable)
            }
            (Built::Table(_), Built::Table(_)) => missing("join_on"),
            (Built::Stream(_), Built::Stream(_)) => missing("join_within"),
            (Built::Stream(_), Built::Table(_)) => missing("lookup_join"),
            _ => Err(format!("unknown join {verb}")),
        }
    }

    fn join_tables<K: Key>(
        &self,
        left: &KTable<'s, K, Dyn>,
        right: &KTable<'s, K, Dyn>,
    ) -> Result<KTable<'s, K, Dyn>, String> {
        let joiner = self.function("joiner").joiner()?;
        let row = |value: Dyn| (!value.is_null()).then_some(value);
        Ok(match self.op() {
            "join" => left.join(right, move |l, r| row(joiner(&Dyn::Null, l, r))),
            "left_join" => left
                .left_join(right, move |l, r| row(joiner(&Dyn::Null, l, r.unwrap_or(&Dyn::Null)))),
            _ => return missing("outer_join of tables"),
        })
    }
}
