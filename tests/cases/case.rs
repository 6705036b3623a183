//! A case: the graph, the inputs and the expected outputs, as a file has them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::Deserialize;
use serde_json::Value as Json;

use super::value::Dyn;

/// A file of the form that `tests/data/cases/README.md` describes.
#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) topology: Graph,
    pub(super) inputs: Vec<Input>,
    #[serde(default)]
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) per_record: Option<Vec<Vec<Output>>>,
    pub(super) derived_per_record: Option<Vec<Vec<Output>>>,
    pub(super) per_record_without_store_retention: Option<Vec<Vec<Output>>>,
    #[serde(rename = "final")]
    pub(super) end: Option<Vec<Output>>,
    pub(super) derived_final: Option<Vec<Output>>,
    #[serde(default)]
    pub(super) final_kind: Option<Json>,
    pub(super) final_same_for_any_interleaving: Option<bool>,
    pub(super) final_timestamps_too: Option<bool>,
    #[serde(default)]
    pub(super) store_checks: Vec<StoreCheck>,
    /// The run must end with an error at the last input.
    pub(super) error: Option<Json>,
    /// The number of records that Kafka drops, and the reasons of some of them.
    pub(super) drops: Option<u64>,
    #[serde(default)]
    pub(super) drop_reasons: Vec<Reason>,
    /// The number of records that were dropped by the rules of Kafka for nulls.
    #[serde(skip)]
    pub(super) dropped: Arc<AtomicU64>,
}

/// The topic of the records that are late for a window.
pub(super) const LATE: &str = "late records";

/// The reason for which Kafka drops a record.
#[derive(Deserialize)]
pub(super) struct Reason {
    pub(super) reason: String,
    pub(super) ts: Option<i64>,
    pub(super) window: Option<[i64; 2]>,
}

#[derive(Deserialize)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Json>,
}

/// A record, an advance of the wall clock, or a restart.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    pub(super) topic: Option<String>,
    #[serde(default)]
    pub(super) key: Json,
    #[serde(default)]
    pub(super) value: Json,
    pub(super) ts: Option<i64>,
    pub(super) window: Option<[i64; 2]>,
    pub(super) advance_wall_clock_ms: Option<u64>,
    pub(super) restart: Option<String>,
}

impl Input {
    pub(super) fn key(&self) -> Dyn {
        match self.window {
            Some([start, end]) => Dyn::Window(Box::new(Dyn::of(&self.key)), start, end),
            None => Dyn::of(&self.key),
        }
    }
}

/// An output of one topic. Only the fields that are present are expected.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    pub(super) topic: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) key: Option<Json>,
    #[serde(default, deserialize_with = "present")]
    pub(super) value: Option<Json>,
    pub(super) ts: Option<i64>,
    pub(super) window: Option<[i64; 2]>,
    pub(super) window_start: Option<i64>,
}

/// Reads a field that is present, also if it is null.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl Output {
    pub(super) fn value(&self) -> Option<Dyn> {
        let value = self.value.as_ref()?;
        // A sink of changes has the old value too, which our changes lack.
        let fields = value.as_object().filter(|it| it.len() == 2 && it.contains_key("old"));
        Some(Dyn::of(fields.and_then(|it| it.get("new")).unwrap_or(value)))
    }
}

#[derive(Deserialize)]
pub(super) struct Checkpoint {
    pub(super) after: usize,
    pub(super) topic: String,
    #[serde(rename = "match")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) records: Vec<Output>,
    pub(super) index: Option<usize>,
    pub(super) count: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct StoreCheck {
    pub(super) after: usize,
    pub(super) query: Vec<Json>,
    pub(super) expect: Json,
}

impl Case {
    pub(super) fn read(folder: &Path, path: &str) -> Case {
        let text = std::fs::read_to_string(folder.join(path)).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Returns true if the windows that late records have missed are expected.
    pub(super) fn has_late_records(&self) -> bool {
        let windows = self.topology.nodes.iter().filter(|it| it["op"] == "windowed_by").count();
        windows == 1 && self.late_records().next().is_some()
    }

    /// Returns the timestamps of late records and the windows that they have missed.
    pub(super) fn late_records(&self) -> impl Iterator<Item = (i64, [i64; 2])> {
        let late = self.drop_reasons.iter().filter(|it| it.reason == "late");
        late.filter_map(|it| it.ts.zip(it.window))
    }

    /// Returns true if the outputs of a topic are the changes of a table.
    pub(super) fn is_table(&self, topic: &str) -> bool {
        let kind = self.final_kind.as_ref().and_then(|kinds| kinds.get(topic));
        kind.and_then(Json::as_str) == Some("table")
    }

    /// Returns true if a topic has records that are made of the changes of a table.
    pub(super) fn is_changes(&self, topic: &str) -> bool {
        let sinks = self.topology.nodes.iter();
        let mut next: Vec<&Json> =
            sinks.filter(|it| it["op"] == "to" && it["topic"] == topic).collect();
        while let Some(step) = next.pop() {
            if step["op"] == "to_stream" {
                return true;
            }
            let before = step["in"].as_array().into_iter().flatten();
            next.extend(before.filter_map(|id| self.step(id)));
        }
        false
    }

    /// Returns the topics that are written.
    pub(super) fn topics(&self) -> Vec<String> {
        let kinds = self.final_kind.as_ref().and_then(Json::as_object);
        let of_kinds = kinds.into_iter().flat_map(|kinds| kinds.keys().cloned());
        let of_checks = self.checkpoints.iter().map(|check| check.topic.clone());
        let mut topics: Vec<String> = of_kinds.chain(of_checks).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Returns true if a group of a table is counted: Kafka keeps a row of 0, and Watershed none.
    pub(super) fn counts_rows(&self) -> bool {
        let counts = self.topology.nodes.iter().filter(|node| node["op"] == "count");
        let groups = counts.filter_map(|count| self.step(&count["in"][0]));
        groups.map(|group| &group["in"][0]).any(|before| self.makes_table(before))
    }

    fn step(&self, id: &Json) -> Option<&Json> {
        self.topology.nodes.iter().find(|node| node["id"] == *id)
    }

    /// Returns the steps that take the result of a step.
    pub(super) fn readers(&self, id: &Json) -> impl Iterator<Item = &Json> {
        let takes =
            move |node: &&Json| node["in"].as_array().is_some_and(|inputs| inputs.contains(id));
        self.topology.nodes.iter().filter(takes)
    }

    /// Returns true if the result of a step is a table.
    pub(super) fn makes_table(&self, id: &Json) -> bool {
        let Some(step) = self.step(id) else { return false };
        match step["op"].as_str().unwrap_or_default() {
            "table" | "changelog" | "to_table" | "count" | "reduce" | "aggregate" => true,
            "filter" | "filter_not" | "map_values" | "suppress" | "join" | "left_join"
            | "outer_join" => self.makes_table(&step["in"][0]),
            _ => false,
        }
    }

    /// Returns true if a left or an outer join of a stream comes after a step. Kafka takes null
    /// keys out of a stream that is repartitioned, unless such a join comes later.
    pub(super) fn is_joined_outer(&self, id: &Json) -> bool {
        self.readers(id).any(|reader| {
            let is_outer = reader["op"] == "left_join" || reader["op"] == "outer_join";
            let branches = reader["branches"].as_array().into_iter().flatten();
            (is_outer && !self.makes_table(id))
                || branches.chain([reader]).any(|next| self.is_joined_outer(&next["id"]))
        })
    }

    /// Returns true if Kafka does not drop the null values that a step groups: before windows that
    /// do not slide.
    pub(super) fn keeps_null_values(&self, step: &Json) -> bool {
        match step["op"].as_str().unwrap_or_default() {
            "windowed_by" => step["window"]["kind"] != "sliding",
            "cogroup" => self.readers(&step["id"]).all(|reader| self.keeps_null_values(reader)),
            _ => false,
        }
    }
}
