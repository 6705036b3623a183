//! The graph of a case on the DSL. It uses nothing that a program could not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;
use watershed::prelude::*;
use watershed::{GlobalKTable, VersionedTable};

use super::case::Case;
use super::cogroups::{Cogrouped, CogroupedWindows};
use super::functions::Named;
use super::sources::{matches, records, rows, window};
use super::stores;
use super::value::{Dyn, Key};

/// The result of a step.
#[derive(Clone)]
pub(super) enum Built<'s> {
    Stream(KStream<'s, Dyn, Dyn>),
    Table(KTable<'s, Dyn, Dyn>),
    WindowTable(KTable<'s, Windowed<Dyn>, Dyn>),
    Global(GlobalKTable<'s, Dyn, Dyn>),
    /// A table whose earlier rows a stream looks up.
    Versioned(VersionedTable<'s, Dyn, Dyn>),
    /// Records of a stream, with their groups as keys.
    Records(KStream<'s, Dyn, Dyn>),
    /// Rows of a table.
    Rows(KGrouped<'s, Dyn, Dyn>),
    /// Records of a stream in windows.
    Windows(KWindowed<'s, Dyn, Dyn>),
    Cogrouped(Cogrouped<'s>),
    CogroupedWindows(CogroupedWindows<'s>),
}

/// Builds the graph.
///
/// # Errors
/// When an op or a function is unknown, or a verb is missing: `missing verb: NAME`.
pub(super) fn build(case: &Case, builder: &StreamsBuilder<'_>) -> Result<(), String> {
    let mut built: BTreeMap<String, Built<'_>> = BTreeMap::new();
    let mut written: BTreeMap<String, KStream<'_, Dyn, Dyn>> = BTreeMap::new();
    for node in &case.topology.nodes {
        let inputs = node["in"].as_array().map(Vec::as_slice).unwrap_or_default();
        let before: Option<Vec<_>> =
            inputs.iter().map(|id| built.get(id.as_str()?).cloned()).collect();
        let step = Step { case, node, inputs: before.ok_or("an input is not built")? };
        if step.op() == "to" {
            for (topic, stream) in step.to()? {
                // A topic is written once: of merged streams.
                let all = written.get(&topic).map_or(stream.clone(), |all| all.merge(&stream));
                written.insert(topic, all);
            }
            continue;
        }
        if step.op() == "split" {
            built.extend(step.split()?);
            continue;
        }
        // A topic is read once, and its handle is used again.
        let is_same = |it: &&Json| {
            inputs.is_empty()
                && ["op", "topic", "topic_pattern", "versioned"]
                    .iter()
                    .all(|part| it[part] == node[part])
        };
        let earlier = case.topology.nodes.iter().find(is_same).and_then(|it| it["id"].as_str());
        let result = match earlier.and_then(|id| built.get(id).cloned()) {
            Some(result) => result,
            None => step.build(builder)?,
        };
        if let Some(id) = node["id"].as_str() {
            match &result {
                Built::Table(table) if stores::is_stored(node) => {
                    table.materialize(Materialized::named(id));
                }
                Built::WindowTable(table) if stores::is_stored(node) => {
                    table.materialize(Materialized::named(id));
                }
                _ => {}
            }
            built.insert(id.to_string(), result);
        }
    }
    for (topic, stream) in written {
        stream.with_timestamps().to(&topic, Produced::columns(["key", "value", "at"]));
    }
    Ok(())
}

pub(super) fn missing<T>(verb: &str) -> Result<T, String> {
    Err(format!("missing verb: {verb}"))
}

/// A step of a case, with the results of the steps before it.
pub(super) struct Step<'a, 's> {
    pub(super) case: &'a Case,
    pub(super) node: &'a Json,
    pub(super) inputs: Vec<Built<'s>>,
}

impl<'s> Step<'_, 's> {
    pub(super) fn function(&self, role: &str) -> Named<'_> {
        Named(&self.node[role])
    }

    pub(super) fn op(&self) -> &str {
        self.node["op"].as_str().unwrap_or_default()
    }

    fn build(&self, builder: &StreamsBuilder<'s>) -> Result<Built<'s>, String> {
        let history = &self.node["versioned"];
        let versions = |table: &KTable<'s, Dyn, Dyn>| {
            let versions = table.versioned(millis(&history["history_ms"]));
            match self.is_looked_up() {
                true => Built::Versioned(versions),
                false => Built::Table(versions.to_table()),
            }
        };
        let topic = self.node["topic"].as_str().unwrap_or_default();
        Ok(match (self.op(), &self.inputs[..]) {
            ("stream", []) => Built::Stream(self.stream(builder, topic)?),
            ("table", []) if !history.is_null() => versions(&builder.table(topic, rows(Ok))),
            ("table", []) => Built::Table(builder.table(topic, rows(Ok))),
            ("global_table", []) => Built::Global(builder.global_table(topic, rows(Ok))),
            ("changelog", []) => self.changelog(builder, topic),
            (_, [one]) => match self.alone(one)? {
                Built::Table(table) if !history.is_null() => versions(&table),
                built => built,
            },
            ("merge", [Built::Stream(one), Built::Stream(other)]) => {
                Built::Stream(one.merge(other))
            }
            ("cogroup", [Built::Cogrouped(before), Built::Records(group)]) => {
                let add = self.function("aggregator").aggregator()?;
                Built::Cogrouped(before.and(&self.without_null_values(group), add))
            }
            (_, [left, right]) => self.join(left, right)?,
            (op, _) => return self.unbuilt(op),
        })
    }

    /// Returns the error of an op: its verb is missing, or nobody knows it.
    pub(super) fn unbuilt<T>(&self, op: &str) -> Result<T, String> {
        match op {
            "process"
            | "process_values"
            | "transform"
            | "transform_values"
            | "flat_transform"
            | "flat_transform_values" => missing("process"),
            "cogroup" | "suppress" => missing(op),
            op => Err(format!("unknown op {op} of {} inputs", self.inputs.len())),
        }
    }

    /// Returns true if all readers of the table are joins with streams.
    fn is_looked_up(&self) -> bool {
        let mut readers = self.case.readers(&self.node["id"]);
        readers.all(|reader| !self.case.makes_table(&reader["in"][0]))
    }

    /// Reads the changes of a table: objects of the new and the old value.
    fn changelog(&self, builder: &StreamsBuilder<'s>, topic: &str) -> Built<'s> {
        let mut inputs = self.case.inputs.iter();
        let is_windowed =
            inputs.any(|it| it.topic.as_deref() == Some(topic) && it.window.is_some());
        if is_windowed {
            let mut nodes = self.case.topology.nodes.iter();
            let suppress = nodes.find(|it| it["op"] == "suppress").map(|it| &it["suppress"]);
            let table = builder.table(topic, rows(window));
            Built::WindowTable(match suppress.filter(|it| it["until"] == "window_closes") {
                Some(suppress) => table.windows_close_after(millis(&suppress["grace_ms"])),
                None => table,
            })
        } else {
            Built::Table(builder.table(topic, rows(Ok)))
        }
    }

    fn stream(
        &self,
        builder: &StreamsBuilder<'s>,
        topic: &str,
    ) -> Result<KStream<'s, Dyn, Dyn>, String> {
        let Some(pattern) = self.node["topic_pattern"].as_str() else {
            return Ok(builder.stream(topic, records()));
        };
        let mut topics: Vec<&str> =
            self.case.inputs.iter().filter_map(|input| input.topic.as_deref()).collect();
        topics.sort_unstable();
        topics.dedup();
        let matching = topics.into_iter().filter(|topic| matches(pattern, topic));
        let streams = matching.map(|topic| builder.stream(topic, records()));
        streams.reduce(|all, next| all.merge(&next)).ok_or("no topic matches".to_string())
    }

    /// Builds a step with one input.
    fn alone(&self, input: &Built<'s>) -> Result<Built<'s>, String> {
        match input {
            Built::Stream(stream) => self.of_stream(stream),
            Built::Table(table) => match self.of_table(table)? {
                Some(table) => Ok(Built::Table(table)),
                None => self.of_any_table(table),
            },
            Built::WindowTable(table) => match self.of_table(table)? {
                Some(table) => Ok(Built::WindowTable(table)),
                None => self.of_any_table(table),
            },
            Built::Global(_) | Built::Versioned(_) => self.unbuilt(self.op()),
            Built::Records(group) => self.of_records(group),
            Built::Rows(group) => self.of_rows(group),
            Built::Windows(windows) => self.of_windows(windows),
            Built::Cogrouped(group) => self.of_cogrouped(group),
            Built::CogroupedWindows(windows) => {
                let init = self.function("initializer").initializer()?;
                let merge = match self.node["merger"].is_null() {
                    true => None,
                    false => Some(self.function("merger").merger()?),
                };
                Ok(Built::WindowTable(windows.aggregate(init, merge)))
            }
        }
    }

    /// Builds a verb that makes a table with the same keys; none for another verb.
    fn of_table<K: Key>(
        &self,
        table: &KTable<'s, K, Dyn>,
    ) -> Result<Option<KTable<'s, K, Dyn>>, String> {
        Ok(Some(match self.op() {
            "filter" => {
                let keep = self.function("predicate").predicate()?;
                table.filter(move |k, v| keep(&k.to_dyn(), v))
            }
            "filter_not" => {
                let drop = self.function("predicate").predicate()?;
                table.filter_not(move |k, v| drop(&k.to_dyn(), v))
            }
            "map_values" => {
                let map = self.function("mapper").mapper()?;
                let mapped = table.map_values_with_key(move |k, v| map(&k.to_dyn(), v));
                mapped.filter(|_, v| !v.is_null())
            }
            "suppress" => table.suppress(self.suppressed()?),
            _ => return Ok(None),
        }))
    }

    fn of_any_table<K: Key>(&self, table: &KTable<'s, K, Dyn>) -> Result<Built<'s>, String> {
        match self.op() {
            "to_stream" => {
                let changes = stream_of(table);
                Ok(Built::Stream(match self.node["mapper"].is_null() {
                    true => changes,
                    false => {
                        let map = self.function("mapper").mapper()?;
                        changes.select_key(move |k, v| map(k, v))
                    }
                }))
            }
            "group_by" => {
                let map = self.function("mapper").pair_mapper()?;
                Ok(Built::Rows(table.group_by(move |k, v| {
                    let pair = map(&k.to_dyn(), v);
                    let (key, value) = (pair.at(0), pair.at(1));
                    (!key.is_null() && !value.is_null()).then_some((key, value))
                })))
            }
            op => self.unbuilt(op),
        }
    }

    /// Returns the topics that the step writes, with their records.
    fn to(&self) -> Result<Vec<(String, KStream<'s, Dyn, Dyn>)>, String> {
        let stream = match &self.inputs[..] {
            [Built::Stream(stream)] => stream.clone(),
            [Built::Table(table)] => stream_of(table),
            [Built::WindowTable(table)] => stream_of(table),
            _ => return Err("no records to write".to_string()),
        };
        if self.node["topic_fn"].is_null() {
            let topic = self.node["topic"].as_str().ok_or("no topic to write")?;
            return Ok(vec![(topic.to_string(), stream)]);
        }
        // The topics that are expected are those that a program would list.
        let fixed = |topic: &str| self.case.topology.nodes.iter().any(|it| it["topic"] == topic);
        let input = self.case.inputs.iter().find_map(|input| input.topic.clone());
        let choose = self.function("topic_fn").topic(&input.unwrap_or_default())?;
        let chosen = self.case.topics().into_iter().filter(|topic| !fixed(topic)).map(|topic| {
            let (choose, name) = (choose.clone(), Dyn::text(&topic));
            (topic, stream.filter(move |k, v| choose(k, v) == name))
        });
        Ok(chosen.collect())
    }
}

/// Returns the changes of a table, null for a deleted row.
fn stream_of<'s, K: Key>(table: &KTable<'s, K, Dyn>) -> KStream<'s, Dyn, Dyn> {
    table.to_stream().map(|key, value| (key.to_dyn(), value.unwrap_or_default()))
}

pub(super) fn millis(json: &Json) -> Duration {
    Duration::from_millis(json.as_u64().unwrap_or_default())
}
