//! The exploration of random runs finds each kind of dependence, and sound topologies pass it.

use std::cell::Cell;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watershed::options::{Produced, TimeWindows};
use watershed::testing::{Feed, explore};
use watershed::{StreamsBuilder, Timestamp, Topology};

use crate::support::{Dice, pair, stream, table};

/// Returns records of two topics with two partitions each, all with the key of their partition.
fn feed(records: usize, values: u64) -> Feed {
    let (mut feed, mut dice) = (Feed::default(), Dice::new(3));
    for _ in 0..records {
        let (partition, value) = (dice.below(2) as u32, dice.below(values));
        let topic = ["rows", "events"][dice.below(2) as usize];
        let (key, value) = (format!("k{partition}"), value.to_string());
        feed.push(topic, partition, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    feed
}

/// Explores a topology, and returns the error.
fn error(feed: &Feed, build: impl Fn(&StreamsBuilder<'_>) + Send + Sync + 'static) -> String {
    let topology = Topology::new("planted", move |builder: &StreamsBuilder<'_>| build(builder));
    let error = explore(&topology, feed, 1, 100).unwrap_err().to_string();
    println!("{error}");
    error
}

/// The number of records in the smallest feed that an error has.
fn smallest(error: &str) -> usize {
    let (_, rest) = error.split_once(" again: of ").unwrap();
    rest.split_once(" records in the smallest feed").unwrap().0.parse().unwrap()
}

#[test]
fn sound_topologies_pass() {
    let topology = Topology::new("sound", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        rows.to("kept", pair());
        events.to("all", pair());
        rows.group_by(|_, v| ((v % 3).to_string(), *v)).count().to("counts", pair());
        events.join(&rows, |e, r| e * 100 + r).group_by_key().sum(|v| *v).to("sums", pair());
    });
    explore(&topology, &feed(40, 9), 1, 60).unwrap();
    explore(&topology, &Feed::default(), 1, 10).unwrap();
}

#[test]
fn a_loss_at_a_restart_is_found() {
    let test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "laws::explore::sound_topologies_pass", "--nocapture"])
        .env("WATERSHED_BUG", "binding_off_by_one")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&test.stderr).into_owned();
    assert!(!test.status.success() && text.contains("killed"), "{text}");
}

#[test]
fn a_dependence_on_the_order_of_partitions_is_found() {
    let error = error(&feed(40, 9), |builder| {
        // Each record gets the value of the one before it on its worker.
        let (events, last) = (stream(builder, "events"), Cell::new(0));
        let before = events.map_values(move |v| last.replace(v));
        before.to("before", pair());
    });
    assert!(error.contains("can't make the same rows of topic before again"), "{error}");
    assert!(smallest(&error) <= 3, "{error}");
}

#[test]
fn a_dependence_on_the_end_of_epochs_is_found() {
    let error = error(&feed(40, 9), |builder| {
        let counts = stream(builder, "events").group_by_key().count();
        counts.to_stream().group_by(|key, _| (key.clone(), ())).count().to("changes", pair());
    });
    assert!(error.contains("can't make the same rows of topic changes again"), "{error}");
    assert_eq!(smallest(&error), 2, "{error}");
}

#[test]
fn a_dependence_on_the_number_of_workers_is_found() {
    // All records are equal, so that their order does not matter.
    let mut equal = Feed::default();
    (0..40).for_each(|_| equal.push("events", 0, Some(b"k"), Some(b"1")));
    let error = error(&equal, |builder| {
        let is_first = Cell::new(true);
        let events = stream(builder, "events");
        events.filter(move |_, _| is_first.replace(false)).to("firsts", pair());
    });
    assert!(error.contains("can't make the same rows of topic firsts again"), "{error}");
    assert!(error.contains(" workers"), "{error}");
}

#[test]
fn a_dependence_of_late_counts_is_found() {
    // All records but the first are late.
    let mut feed = Feed::default();
    (0..40).for_each(|n: i64| {
        feed.push_at("events", 0, Timestamp((-n).max(-1) * 20_000_000), Some(b"k"), Some(b"1"));
    });
    let error = error(&feed, |builder| {
        let is_first = Cell::new(true);
        let events = stream(builder, "events").filter(move |_, _| !is_first.replace(false));
        let windows = TimeWindows::of_size(Duration::from_secs(10)).grace(Duration::ZERO);
        let counts = events.group_by_key().windowed_by(windows).count();
        counts.filter(|_, _| false).to("none", Produced::columns(["key", "from", "to", "n"]));
    });
    assert!(
        error.contains("can't count the same late records") && error.contains(" count"),
        "{error}"
    );
}

/// A value that loses a part when it is encoded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Lossy {
    n: i64,
    #[serde(skip)]
    lost: i64,
}

#[test]
fn a_value_that_is_encoded_otherwise_is_found() {
    let error = error(&feed(40, 9), |builder| {
        let lossy = stream(builder, "events").map_values(|v| Lossy { n: v, lost: v });
        let groups = lossy.group_by(|_, v| ((v.n % 3).to_string(), v.clone()));
        groups.max().map_values(|v| v.lost).to("lost", pair());
    });
    assert!(error.contains("can't make the same rows of topic lost again"), "{error}");
    assert!(error.contains("encoded rows") || error.contains("processes"), "{error}");
}
