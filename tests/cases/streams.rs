//! The steps of a case that take the records of one stream.

use std::sync::atomic::Ordering;

use watershed::prelude::*;

use super::functions::Named;
use super::graph::{Built, Step};
use super::value::Dyn;

impl<'s> Step<'_, 's> {
    pub(super) fn of_stream(&self, stream: &KStream<'s, Dyn, Dyn>) -> Result<Built<'s>, String> {
        let pair = |of: Dyn| (of.at(0), of.at(1));
        Ok(Built::Stream(match self.op() {
            "filter" => {
                let keep = self.function("predicate").predicate()?;
                stream.filter(move |k, v| keep(k, v))
            }
            "filter_not" => {
                let drop = self.function("predicate").predicate()?;
                stream.filter_not(move |k, v| drop(k, v))
            }
            "map" => {
                let map = self.function("mapper").pair_mapper()?;
                stream.map(move |k, v| pair(map(&k, &v)))
            }
            "map_values" => {
                let map = self.function("mapper").mapper()?;
                stream.map_values_with_key(move |k, v| map(k, &v))
            }
            "select_key" => {
                let map = self.function("mapper").mapper()?;
                stream.select_key(move |k, v| map(k, v))
            }
            "flat_map" => {
                let map = self.function("mapper").flat_mapper()?;
                stream.flat_map(move |k, v| list(map(&k, &v)).into_iter().map(pair))
            }
            "flat_map_values" => {
                let map = self.function("mapper").flat_mapper()?;
                stream.flat_map_values_with_key(move |k, v| list(map(k, &v)))
            }
            "to_table" => {
                // Kafka drops null keys, and a null value deletes.
                let rows = self.dropping(stream, |key, _| !key.is_null()).to_table();
                return Ok(Built::Table(rows.filter(|_, value| !value.is_null())));
            }
            "group_by_key" => return Ok(self.grouped(stream, |key, _| key.clone())),
            "group_by" => {
                let map = self.function("mapper").mapper()?;
                return Ok(self.grouped(stream, move |k, v| map(k, v)));
            }
            // Between steps there are no partitions. Kafka does not count these null keys.
            "repartition" if self.case.is_joined_outer(&self.node["id"]) => stream.clone(),
            "repartition" => stream.filter(|key, _| !key.is_null()),
            op => return self.unbuilt(op),
        }))
    }

    /// Returns the branches of a stream by their ids. Each has the records of which its predicate
    /// is the first that is true; one without a predicate has the rest.
    pub(super) fn split(&self) -> Result<Vec<(String, Built<'s>)>, String> {
        let [Built::Stream(stream)] = &self.inputs[..] else { return self.unbuilt("split") };
        let (mut rest, mut built) = (stream.clone(), Vec::new());
        for branch in self.node["branches"].as_array().ok_or("a split has no branches")? {
            let taken = match branch["predicate"].is_null() {
                true => rest.clone(),
                false => {
                    let is_taken = Named(&branch["predicate"]).predicate()?;
                    let is_left = is_taken.clone();
                    let taken = rest.filter(move |k, v| is_taken(k, v));
                    rest = rest.filter_not(move |k, v| is_left(k, v));
                    taken
                }
            };
            let id = branch["id"].as_str().ok_or("a branch has no id")?;
            built.push((id.to_string(), Built::Stream(taken)));
        }
        Ok(built)
    }

    /// Keeps the records that `keep` returns true for. Kafka counts the others as dropped.
    pub(super) fn dropping(
        &self,
        stream: &KStream<'s, Dyn, Dyn>,
        keep: impl Fn(&Dyn, &Dyn) -> bool + 'static,
    ) -> KStream<'s, Dyn, Dyn> {
        let dropped = self.case.dropped.clone();
        stream.filter(move |key, value| {
            let is_kept = keep(key, value);
            dropped.fetch_add(u64::from(!is_kept), Ordering::Relaxed);
            is_kept
        })
    }

    /// Leaves out the null values that Kafka drops where records are grouped.
    pub(super) fn without_null_values(
        &self,
        records: &KStream<'s, Dyn, Dyn>,
    ) -> KStream<'s, Dyn, Dyn> {
        match self.case.keeps_null_values(self.node) {
            true => records.clone(),
            false => self.dropping(records, |_, value| !value.is_null()),
        }
    }

    /// Groups records. Kafka drops those with a null key.
    fn grouped(
        &self,
        stream: &KStream<'s, Dyn, Dyn>,
        key: impl Fn(&Dyn, &Dyn) -> Dyn + 'static,
    ) -> Built<'s> {
        let groups = stream.select_key(key);
        Built::Records(self.dropping(&groups, |group, _| !group.is_null()))
    }
}

fn list(of: Dyn) -> Vec<Dyn> {
    match of {
        Dyn::List(list) => list,
        _ => Vec::new(),
    }
}
