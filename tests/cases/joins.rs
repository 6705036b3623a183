//! The joins of a case.

use watershed::GlobalKTable;
use watershed::prelude::*;

use super::functions::Joiner;
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
                let joiner = of_left_pair(self.function("joiner").joiner()?);
                // Kafka drops null keys and values.
                let left = self.dropping(left, |key, value| !key.is_null() && !value.is_null());
                let left = left.map_values_with_key(|key, value| pair(key, &value));
                let right = match self.node["grace_ms"].is_null() {
                    true => right.clone(),
                    false => right.clone().grace(millis(&self.node["grace_ms"])),
                };
                Ok(Built::Stream(match verb {
                    "join" => left.temporal_join(&right, joiner),
                    "left_join" => left
                        .left_temporal_join(&right, move |l, r| joiner(l, r.unwrap_or(&Dyn::Null))),
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
        let joiner = self.function("joiner").joiner()?;
        let side = |side, keeps_null: bool| {
            self.dropping(side, move |key: &Dyn, value: &Dyn| {
                !value.is_null() && (keeps_null || !key.is_null())
            })
        };
        let (left, right) =
            (side(left, self.op() != "join"), side(right, self.op() == "outer_join"));
        let keyed = [&left, &right].map(|side| {
            let keyed = side.filter(|key, _| !key.is_null());
            keyed.map_values_with_key(|key, value| pair(key, &value))
        });
        let with = of_pairs(joiner.clone());
        let joined = match self.op() {
            "join" => return Ok(keyed[0].join_within(&keyed[1], windows, with)),
            "left_join" => keyed[0]
                .left_join_within(&keyed[1], windows, move |l, r| with(l, r.unwrap_or(&Dyn::Null))),
            _ => keyed[0].outer_join_within(&keyed[1], windows, move |l, r| {
                with(l.unwrap_or(&Dyn::Null), r.unwrap_or(&Dyn::Null))
            }),
        };
        let with = joiner.clone();
        let alone = left.filter(|key, _| key.is_null());
        let alone = alone.map_values_with_key(move |k, l| with(k, &l, &Dyn::Null));
        let joined = joined.merge(&alone);
        if self.op() == "left_join" {
            return Ok(joined);
        }
        let alone = right.filter(|key, _| key.is_null());
        Ok(joined.merge(&alone.map_values_with_key(move |k, r| joiner(k, &Dyn::Null, &r))))
    }

    fn join_tables<K: Key>(
        &self,
        left: &KTable<'s, K, Dyn>,
        right: &KTable<'s, K, Dyn>,
    ) -> Result<KTable<'s, K, Dyn>, String> {
        let joiner = of_pairs(self.function("joiner").joiner()?);
        let [left, right] = [left, right]
            .map(|side| side.map_values_with_key(|key, value| pair(&key.to_dyn(), value)));
        Ok(match self.op() {
            "join" => left.join(&right, move |l, r| present(joiner(l, r))),
            "left_join" => {
                left.left_join(&right, move |l, r| present(joiner(l, r.unwrap_or(&Dyn::Null))))
            }
            _ => left.outer_join(&right, move |l, r| {
                present(joiner(l.unwrap_or(&Dyn::Null), r.unwrap_or(&Dyn::Null)))
            }),
        })
    }

    /// Joins two tables by a foreign key. Kafka has no outer one.
    fn join_on(
        &self,
        left: &KTable<'s, Dyn, Dyn>,
        right: &KTable<'s, Dyn, Dyn>,
    ) -> Result<KTable<'s, Dyn, Dyn>, String> {
        let joiner = of_left_pair(self.function("joiner").joiner()?);
        let key = self.function("key_extractor").mapper()?;
        let key = move |k: &Dyn, v: &Dyn| present(key(k, &v.at(1)));
        let left = left.map_values_with_key(pair);
        Ok(match self.op() {
            "join" => left.join_on(right, key, move |l, r| present(joiner(l, r))),
            "left_join" => left
                .left_join_on(right, key, move |l, r| present(joiner(l, r.unwrap_or(&Dyn::Null)))),
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
        let joiner = self.function("joiner").joiner()?;
        let with = of_left_pair(joiner.clone());
        let keeps_null = self.op() != "join";
        let left = self
            .dropping(left, move |key, value| !value.is_null() && (keeps_null || !key.is_null()));
        let keyed = left.filter(|key, _| !key.is_null());
        let keyed = keyed.map_values_with_key(|key, value| pair(key, &value));
        if self.op() == "join" {
            return Ok(keyed.lookup_join(right, with));
        }
        let joined = keyed.left_lookup_join(right, move |l, r| with(l, r.unwrap_or(&Dyn::Null)));
        let alone = left.filter(|key, _| key.is_null());
        Ok(joined.merge(&alone.map_values_with_key(move |k, l| joiner(k, &l, &Dyn::Null))))
    }

    /// Joins records with the rows of a global table that stand. Kafka drops null values, and
    /// records without a foreign key, unless the join is a left one and their own key is null.
    fn look_up_in_global(
        &self,
        left: &KStream<'s, Dyn, Dyn>,
        right: &GlobalKTable<'s, Dyn, Dyn>,
    ) -> Result<KStream<'s, Dyn, Dyn>, String> {
        let joiner = of_left_pair(self.function("joiner").joiner()?);
        let key = self.function("key_extractor").mapper()?;
        let (foreign, is_left) = (key.clone(), self.op() != "join");
        let key = move |k: &Dyn, v: &Dyn| present(key(k, &v.at(1)));
        let left = self.dropping(left, move |key, value| {
            let is_alone = is_left && key.is_null();
            !value.is_null() && (is_alone || !foreign(key, value).is_null())
        });
        let left = left.map_values_with_key(|key, value| pair(key, &value));
        Ok(match self.op() {
            "join" => left.lookup_join_global(right, key, joiner),
            _ => left.left_lookup_join_global(right, key, move |l, r| {
                joiner(l, r.unwrap_or(&Dyn::Null))
            }),
        })
    }
}

/// Pairs a value with its key, for a joiner that needs the key.
fn pair(key: &Dyn, value: &Dyn) -> Dyn {
    Dyn::List(vec![key.clone(), value.clone()])
}

/// Returns a joiner of two pairs, one of which may be null.
fn of_pairs(joiner: Joiner) -> impl Fn(&Dyn, &Dyn) -> Dyn + 'static {
    move |left, right| {
        let key = if left.is_null() { right.at(0) } else { left.at(0) };
        joiner(&key, &left.at(1), &right.at(1))
    }
}

/// Returns a joiner of a pair and a right value.
fn of_left_pair(joiner: Joiner) -> impl Fn(&Dyn, &Dyn) -> Dyn + 'static {
    move |left, right| joiner(&left.at(0), &left.at(1), right)
}

/// Returns a value, unless it is null.
fn present(value: Dyn) -> Option<Dyn> {
    (!value.is_null()).then_some(value)
}
