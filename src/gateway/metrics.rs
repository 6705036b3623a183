//! The counters of a gateway, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::http::Access;
use crate::sync::lock;

/// Upper bounds of the buckets of request times.
const BUCKETS_MILLIS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 500, 1_000, 10_000];

/// Counts since the start.
#[derive(Default)]
pub(super) struct Metrics {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// By method, route and status.
    requests: BTreeMap<(String, String, u16), u64>,
    /// By topic.
    acknowledged: BTreeMap<String, Acknowledged>,
    refused: u64,
    /// Requests by bucket of their time; the last bucket has no end.
    took: [u64; BUCKETS_MILLIS.len() + 1],
    seconds: f64,
}

/// Acknowledged records of a topic.
#[derive(Default)]
struct Acknowledged {
    records: u64,
    /// Bytes of their values.
    bytes: u64,
}

impl Metrics {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }

    /// Counts a request whose response is ready.
    pub(super) fn count_request(&self, access: &Access<'_>) {
        let Access { method, route, status, took, .. } = *access;
        // Clients may invent any number of methods, and each would be a new counter.
        let known = ["GET", "POST", "PUT", "DELETE"].contains(&method);
        let method = if known { method } else { "other" };
        let mut counts = self.counts();
        *counts.requests.entry((method.to_string(), route.to_string(), status)).or_default() += 1;
        let bucket = BUCKETS_MILLIS
            .iter()
            .position(|end| took <= Duration::from_millis(*end))
            .unwrap_or(BUCKETS_MILLIS.len());
        counts.took[bucket] += 1;
        counts.seconds += took.as_secs_f64();
    }

    /// Counts the records of a request: the acknowledged ones with their bytes, and the others.
    pub(super) fn count_records(&self, topic: &str, records: u64, bytes: u64, refused: u64) {
        let mut counts = self.counts();
        counts.refused += refused;
        let acknowledged = counts.acknowledged.entry(topic.to_string()).or_default();
        acknowledged.records += records;
        acknowledged.bytes += bytes;
    }

    /// Returns the number of acknowledged records of all topics.
    pub(super) fn records(&self) -> u64 {
        self.counts().acknowledged.values().map(|topic| topic.records).sum()
    }

    /// Returns all counters. `unseen` is the number of acknowledged bytes that readers can't see
    /// yet.
    pub(super) fn text(&self, unseen: u64) -> String {
        let counts = self.counts();
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(
                text,
                "# HELP watershed_gateway_{name} {help}\n# TYPE watershed_gateway_{name} {kind}"
            );
        };
        head(&mut text, "requests_total", "counter", "Requests that were answered.");
        for ((method, route, status), count) in &counts.requests {
            let labels = format!(
                "method=\"{}\",route=\"{}\",status=\"{status}\"",
                escaped(method),
                escaped(route)
            );
            let _ = writeln!(text, "watershed_gateway_requests_total{{{labels}}} {count}");
        }
        head(&mut text, "records_total", "counter", "Records that were acknowledged.");
        for (topic, Acknowledged { records, .. }) in &counts.acknowledged {
            let _ = writeln!(
                text,
                "watershed_gateway_records_total{{topic=\"{}\"}} {records}",
                escaped(topic)
            );
        }
        head(&mut text, "record_bytes_total", "counter", "Bytes of the values of these records.");
        for (topic, Acknowledged { bytes, .. }) in &counts.acknowledged {
            let _ = writeln!(
                text,
                "watershed_gateway_record_bytes_total{{topic=\"{}\"}} {bytes}",
                escaped(topic)
            );
        }
        head(
            &mut text,
            "refused_records_total",
            "counter",
            "Records that the log refused one by one.",
        );
        let _ = writeln!(text, "watershed_gateway_refused_records_total {}", counts.refused);
        head(
            &mut text,
            "unseen_bytes",
            "gauge",
            "Bytes that were acknowledged and that readers can't see yet.",
        );
        let _ = writeln!(text, "watershed_gateway_unseen_bytes {unseen}");
        head(
            &mut text,
            "request_seconds",
            "histogram",
            "Time from the head of a request to its response.",
        );
        let mut upto = 0;
        for (bucket, count) in counts.took.iter().enumerate() {
            upto += count;
            let end = BUCKETS_MILLIS
                .get(bucket)
                .map_or("+Inf".to_string(), |end| (*end as f64 / 1e3).to_string());
            let _ =
                writeln!(text, "watershed_gateway_request_seconds_bucket{{le=\"{end}\"}} {upto}");
        }
        let _ = writeln!(text, "watershed_gateway_request_seconds_sum {}", counts.seconds);
        let _ = writeln!(text, "watershed_gateway_request_seconds_count {upto}");
        text
    }
}

/// Escapes the text of a label, which clients may choose.
fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
