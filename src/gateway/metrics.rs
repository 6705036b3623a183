//! The counters of a gateway, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::http::Access;
use crate::metrics::{Kind, Text};
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
        let mut text = Text::new("watershed_gateway");
        text.family("requests_total", Kind::Counter, "Requests that were answered.");
        for ((method, route, status), count) in &counts.requests {
            let status = status.to_string();
            let labels = [("method", method.as_str()), ("route", route), ("status", &status)];
            text.sample("requests_total", &labels, count);
        }
        text.family("records_total", Kind::Counter, "Records that were acknowledged.");
        for (topic, Acknowledged { records, .. }) in &counts.acknowledged {
            text.sample("records_total", &[("topic", topic)], records);
        }
        let help = "Bytes of the values of these records.";
        text.family("record_bytes_total", Kind::Counter, help);
        for (topic, Acknowledged { bytes, .. }) in &counts.acknowledged {
            text.sample("record_bytes_total", &[("topic", topic)], bytes);
        }
        let help = "Records that the log refused one by one.";
        text.family("refused_records_total", Kind::Counter, help);
        text.sample("refused_records_total", &[], counts.refused);
        let help = "Bytes that were acknowledged and that readers can't see yet.";
        text.family("unseen_bytes", Kind::Gauge, help);
        text.sample("unseen_bytes", &[], unseen);
        let help = "Time from the head of a request to its response.";
        text.family("request_seconds", Kind::Histogram, help);
        let mut upto = 0;
        for (bucket, count) in counts.took.iter().enumerate() {
            upto += count;
            let end = BUCKETS_MILLIS
                .get(bucket)
                .map_or("+Inf".to_string(), |end| (*end as f64 / 1e3).to_string());
            text.sample("request_seconds_bucket", &[("le", &end)], upto);
        }
        text.sample("request_seconds_sum", &[], counts.seconds);
        text.sample("request_seconds_count", &[], upto);
        text.finish()
    }
}
