//! The joins of a case.

use watershed::GlobalKTable;
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
            (Built::Table(left), Built::Table(right)) => {
                self.join_on(left, right).map(Built::Table)
            }
            (Built::Stream(left), Built::Stream(right)) => {
                self.join_streams(left, right).map(Built::Stream)
            }
            (Built::Stream(left), Built::Table(right)) => {
                self.look_up(left, right).map(Built::Stream)
            }
            (Built::Stream(left), Built::Global(right)) => {
                self.look_up_in_global(left, right).map(Built::Stream)
            }
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
        let row = present;
        Ok(match self.op() {
            "join" => left.join(right, move |l, r| row(joiner(&Dyn::Null, l, r))),
            "left_join" => left
                .left_join(right, move |l, r| row(joiner(&Dyn::Null, l, r.unwrap_or(&Dyn::Null)))),
            _ => left.outer_join(right, move |l, r| {
                row(joiner(&Dyn::Null, l.unwrap_or(&Dyn::Null), r.unwrap_or(&Dyn::Null)))
            }),
        })
    }

    /// Joins two tables by a foreign key.
    fn join_on(
        &self,
        left: &KTable<'s, Dyn, Dyn>,
        right: &KTable<'s, Dyn, Dyn>,
    ) -> Result<KTable<'s, Dyn, Dyn>, String> {
        let joiner = self.function("joiner").joiner()?;
        let key = self.function("key_extractor").mapper()?;
        let key = move |k: &Dyn, v: &Dyn| present(key(k, v));
        Ok(match self.op() {
            "join" => left.join_on(right, key, move |l, r| present(joiner(&Dyn::Null, l, r))),
            "left_join" => left.left_join_on(right, key, move |l, r| {
                present(joiner(&Dyn::Null, l, r.unwrap_or(&Dyn::Null)))
            }),
            _ => return missing("outer_join by a foreign key"),
        })
    }

    /// Joins records with the rows that stand. Kafka drops null values, and null keys of an inner
    /// join.
    fn look_up(
        &self,
        left: &KStream<'s, Dyn, Dyn>,
        right: &KTable<'s, Dyn, Dyn>,
    ) -> Result<KStream<'s, Dyn, Dyn>, String> {
        let (joiner, null) = (self.function("joiner").joiner()?, Dyn::Null);
        let left = left.filter(|_, value| !value.is_null());
        let keyed = left.filter(|key, _| !key.is_null());
        if self.op() == "join" {
            return Ok(keyed.lookup_join(right, move |l, r| joiner(&null, l, r)));
        }
        let with = joiner.clone();
        let joined = keyed.left_lookup_join(right, move |l, r| with(&null, l, r.unwrap_or(&null)));
        let alone = left.filter(|key, _| key.is_null());
        Ok(joined.merge(&alone.map(move |k, l| {
            let value = joiner(&Dyn::Null, &l, &Dyn::Null);
            (k, value)
        })))
    }

    /// Joins records with the rows of a global table that stand. Kafka drops null values.
    fn look_up_in_global(
        &self,
        left: &KStream<'s, Dyn, Dyn>,
        right: &GlobalKTable<'s, Dyn, Dyn>,
    ) -> Result<KStream<'s, Dyn, Dyn>, String> {
        let (joiner, null) = (self.function("joiner").joiner()?, Dyn::Null);
        let key = self.function("key_extractor").mapper()?;
        let key = move |k: &Dyn, v: &Dyn| present(key(k, v));
        let left = left.filter(|_, value| !value.is_null());
        Ok(match self.op() {
            "join" => left.lookup_join_global(right, key, move |l, r| joiner(&null, l, r)),
            _ => left.left_lookup_join_global(right, key, move |l, r| {
                joiner(&null, l, r.unwrap_or(&null))
            }),
        })
    }
}

/// Returns a value, unless it is null.
fn present(value: Dyn) -> Option<Dyn> {
    (!value.is_null()).then_some(value)
}
