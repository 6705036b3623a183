//! The joins of a case.

use watershed::prelude::*;

use super::graph::{Built, Step, millis, missing};
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
            (Built::Stream(left), Built::Stream(right)) => {
                self.join_streams(left, right).map(Built::Stream)
            }
            (Built::Stream(_), Built::Table(_)) => missing("lookup_join"),
            (Built::Stream(left), Built::Versioned(right)) => {
                let (joiner, null) = (self.function("joiner").joiner()?, Dyn::Null);
                // Kafka drops null keys and values.
                let left = left.filter(|key, value| !key.is_null() && !value.is_null());
                let right = match self.node["grace_ms"].is_null() {
                    true => right.clone(),
                    false => right.clone().grace(millis(&self.node["grace_ms"])),
                };
                Ok(Built::Stream(match verb {
                    "join" => left.temporal_join(&right, move |l, r| joiner(&null, l, r)),
                    "left_join" => left.left_temporal_join(&right, move |l, r| {
                        joiner(&null, l, r.unwrap_or(&null))
                    }),
                    _ => return missing("outer_temporal_join"),
                }))
            }
            _ => Err(format!("unknown join {verb}")),
        }
    }

    /// Joins two streams in windows. Kafka drops null values, and null keys unless their side is
    /// kept without a partner.
    fn join_streams(
        &self,
        left: &KStream<'s, Dyn, Dyn>,
        right: &KStream<'s, Dyn, Dyn>,
    ) -> Result<KStream<'s, Dyn, Dyn>, String> {
        let window = &self.node["window"];
        let at = |name: &str| millis(&window[name]);
        let windows = JoinWindows::of(at("before_ms")).after(at("after_ms")).grace(at("grace_ms"));
        let (joiner, null) = (self.function("joiner").joiner()?, Dyn::Null);
        let [left, right] = [left, right].map(|side| side.filter(|_, value| !value.is_null()));
        let keyed = [&left, &right].map(|side| side.filter(|key, _| !key.is_null()));
        let with = joiner.clone();
        let joined = match self.op() {
            "join" => {
                return Ok(keyed[0].join_within(&keyed[1], windows, move |l, r| with(&null, l, r)));
            }
            "left_join" => keyed[0].left_join_within(&keyed[1], windows, move |l, r| {
                with(&null, l, r.unwrap_or(&null))
            }),
            _ => keyed[0].outer_join_within(&keyed[1], windows, move |l, r| {
                with(&null, l.unwrap_or(&null), r.unwrap_or(&null))
            }),
        };
        let with = joiner.clone();
        let alone = left.filter(|key, _| key.is_null());
        let alone = alone.map(move |k, l| (k, with(&Dyn::Null, &l, &Dyn::Null)));
        let joined = joined.merge(&alone);
        if self.op() == "left_join" {
            return Ok(joined);
        }
        let alone = right.filter(|key, _| key.is_null());
        Ok(joined.merge(&alone.map(move |k, r| (k, joiner(&Dyn::Null, &Dyn::Null, &r)))))
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
