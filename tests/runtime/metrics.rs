//! The metrics of a run: rows by step and worker, records by topic, and their text.

use std::collections::BTreeMap;

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::prelude::*;
use watershed::runtime::{Config, MetricsSnapshot, Streams};

const RECORDS: i64 = 300;
const USERS: i64 = 10;

/// Steps 0 to 7: a stream is filtered, grouped and counted, and two tables are joined.
fn topology(builder: &StreamsBuilder<'_>) {
    let numbers = builder.stream::<i64, i64>("numbers", Consumed::with(Json, Json));
    let users = builder.table::<i64, i64>("users", Consumed::with(Json, Json));
    let even = numbers.filter(|_, n| n % 2 == 0).named("even");
    let counts = even.group_by(|_, n| (n % 20 / 2, *n)).count();
    counts.join(&users, |count, user| (*count, *user)).to("joined", columns());
}

fn columns() -> Produced {
    Produced::columns(["id", "count", "user"])
}

fn run(workers: usize) -> (MetricsSnapshot, MetricsSnapshot, watershed::runtime::Summary) {
    let (numbers, users) = (MemoryLog::default(), MemoryLog::default());
    for n in 0..RECORDS {
        let (partition, n) = ((n % 3) as u32, n.to_string());
        numbers.append(partition, Some(n.as_bytes()), Some(n.as_bytes()));
    }
    numbers.append(0, Some(b"1"), Some(b"no number"));
    for (user, value) in (0..USERS).map(|user| (user, user)).chain([(3, 3), (4, 5)]) {
        users.append(0, Some(user.to_string().as_bytes()), Some(value.to_string().as_bytes()));
    }
    let streams = Streams::new(Topology::new("metrics", topology))
        .source("numbers", numbers)
        .source("users", users)
        .sink("joined", MemoryTable::default());
    let metrics = streams.metrics();
    let before = metrics.snapshot();
    let summary = streams.run(Config { workers, ..Config::default() }).unwrap();
    (before, metrics.snapshot(), summary)
}

#[test]
fn the_rows_of_steps_equal_the_records_on_any_workers() {
    for workers in [1, 2] {
        let (_, after, summary) = run(workers);
        assert_eq!(after.steps, summary.steps);
        let rows: BTreeMap<&str, (u64, u64)> = after
            .steps
            .iter()
            .map(|step| (step.verb.as_str(), (step.total().rows_in, step.total().rows_out)))
            .collect();
        assert!(after.steps.iter().all(|step| step.workers.len() == workers), "{rows:?}");
        assert_eq!(rows["stream numbers"], (301, 300), "with {workers} workers");
        assert_eq!(rows["filter"], (300, 150), "with {workers} workers");
        assert_eq!(rows["table users"], (12, 11), "with {workers} workers");
        assert_eq!(rows["group_by"].0, 150, "with {workers} workers");
        assert_eq!(rows["group_by"].1, rows["count"].0, "no row is lost between two steps");
        // Each change of a count but the first is a retraction and an addition.
        let changes = rows["count"].1;
        assert!(
            changes >= 10 && (changes - 10).is_multiple_of(2),
            "{changes} with {workers} workers"
        );
        let filter = after.steps.iter().find(|step| step.name.as_deref() == Some("even")).unwrap();
        assert_eq!((filter.number, filter.verb.as_str()), (2, "filter"));
    }
}

#[test]
fn the_records_of_a_topic_balance_in_every_metric() {
    for workers in [1, 2] {
        let (before, after, summary) = run(workers);
        assert_eq!(before.topology, "metrics");
        assert!(before.topics.is_empty() && before.steps.is_empty());
        assert_eq!((&after.topics, &after.gauges), (&summary.topics, &summary.gauges));
        assert!(after.topics.values().all(|topic| topic.balances()), "{after:?}");
        let numbers = &after.topics["numbers"];
        assert_eq!((numbers.read, numbers.applied, numbers.dead, numbers.rows), (301, 300, 1, 0));
        let users = &after.topics["users"];
        assert_eq!((users.read, users.applied, users.replaced), (12, 11, 1));
        assert_eq!((users.duplicates, users.superseded, users.rows), (1, 0, 10));
    }
}

#[test]
fn prometheus_shows_every_number_once() {
    let (_, after, _) = run(2);
    let text = after.to_prometheus();
    let mut samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let has = |line: &str| samples.contains(&line);
    assert!(
        has("watershed_topic_read_total{topology=\"metrics\",topic=\"numbers\"} 301"),
        "{text}"
    );
    assert!(has("watershed_topic_rows{topology=\"metrics\",topic=\"users\"} 10"), "{text}");
    assert!(text.contains("# HELP watershed_topic_dead_total Records that could not be used.\n"));
    let filter = "step=\"2\",verb=\"filter\",name=\"even\"";
    let of_filter = samples.iter().filter(|line| line.contains(filter));
    assert_eq!(of_filter.count(), 4, "rows in and out of two workers: {text}");
    let steps = after.steps.iter().map(|step| 2 * step.workers.len()).sum::<usize>();
    let fields = text.lines().filter(|line| line.starts_with("# TYPE watershed_topic_")).count();
    assert_eq!(samples.len(), fields * after.topics.len() + after.gauges.len() + steps);
    samples.sort_unstable();
    samples.dedup_by_key(|line| line.rsplit_once(' ').unwrap().0.to_string());
    assert_eq!(samples.len(), fields * after.topics.len() + after.gauges.len() + steps);
}
