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

/// Steps that pass rows on, join streams with a table, or end them.
fn passes_and_ends(builder: &StreamsBuilder<'_>) {
    let stream = |topic| builder.stream::<i64, i64>(topic, Consumed::with(Json, Json));
    let users = builder.table::<i64, i64>("users", Consumed::with(Json, Json));
    let numbers = stream("old").merge(&stream("new"));
    numbers.to("all", Produced::columns(["id", "n"]));
    numbers.join(&users, |n, user| n + user).for_each(|_, _| ());
    numbers.left_join(&users, |n, user| n + user.unwrap_or(&0)).for_each(|_, _| ());
    let even = users.filter(|_, user| user % 2 == 0);
    even.map_values(|user| user * 10).to("even", Produced::columns(["id", "tens"]));
    let counts = numbers.group_by(|key, n| (key % 2, *n)).count();
    counts.filter(|odd, _| *odd == 0).gauge("even", |_, _| true);
}

#[test]
fn every_step_counts_its_rows_on_any_workers() {
    for workers in [1, 2] {
        let [users, old, new] = [0..4, 0..30, 20..40].map(|keys| {
            let log = MemoryLog::default();
            keys.map(|key: u32| (key % 2, key.to_string())).for_each(|(part, key)| {
                _ = log.append(part, Some(key.as_bytes()), Some(key.as_bytes()))
            });
            log
        });
        let streams = Streams::new(Topology::new("steps", passes_and_ends))
            .source("users", users)
            .source("old", old)
            .source("new", new)
            .sink("all", MemoryTable::default())
            .sink("even", MemoryTable::default());
        let summary = streams.run(Config { workers, ..Config::default() }).unwrap();
        let rows = |number: usize, verb: &str| {
            let step = summary.steps.iter().find(|step| step.number == number).unwrap();
            assert_eq!((step.verb.as_str(), step.workers.len()), (verb, workers));
            (step.total().rows_in, step.total().rows_out)
        };
        assert_eq!(rows(3, "merge"), (50, 50));
        assert_eq!(rows(4, "to all"), (50, 0));
        assert_eq!(rows(5, "join"), (54, 4), "with {workers} workers");
        // A record may be joined before the row of its key is there, and is then retracted.
        let (taken, joined) = rows(7, "left_join");
        assert!(taken == 54 && (50..=58).contains(&joined), "{joined} with {workers} workers");
        assert_eq!(rows(8, "peek").0, joined);
        assert_eq!(rows(9, "filter"), (4, 2), "with {workers} workers");
        assert_eq!(rows(10, "map_values"), (4, 4), "a row that is left out is a deletion");
        assert_eq!(rows(11, "to even"), (4, 0));
        let (taken, kept) = rows(14, "filter");
        assert_eq!(taken, rows(13, "count").1);
        assert!(kept > 0 && kept < taken);
        assert_eq!(rows(15, "gauge even"), (kept, 0));
        assert_eq!(summary.steps.len(), 16, "no step is left out");
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
    assert_eq!(of_filter.count(), 8, "in, out, late and closed, of two workers: {text}");
    let steps = after.steps.iter().map(|step| 4 * step.workers.len()).sum::<usize>();
    let fields = text.lines().filter(|line| line.starts_with("# TYPE watershed_topic_")).count();
    assert_eq!(samples.len(), fields * after.topics.len() + after.gauges.len() + steps);
    samples.sort_unstable();
    samples.dedup_by_key(|line| line.rsplit_once(' ').unwrap().0.to_string());
    assert_eq!(samples.len(), fields * after.topics.len() + after.gauges.len() + steps);
}
