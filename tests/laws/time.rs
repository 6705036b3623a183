//! Verbs of event time make the same rows in random runs.

use std::time::Duration;

use watershed::prelude::*;
use watershed::testing::{Feed, explore};

use crate::support::Dice;

/// Returns records of two topics with two partitions each. The values are timestamps that go on by
/// about `step` microseconds a record, and up to `disorder` back.
fn feed(records: i64, step: i64, disorder: u64) -> Feed {
    let (mut feed, mut dice) = (Feed::default(), Dice::new(5));
    for n in 0..records {
        let topic = ["a", "b"][dice.below(2) as usize];
        let (key, partition) = (format!("k{}", dice.below(2)), dice.below(2) as u32);
        let value = (n * step - dice.below(disorder) as i64).to_string();
        feed.push(topic, partition, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    feed
}

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

fn consumed() -> Consumed<String, i64> {
    Consumed::with(Utf8, Json).timestamp(|_: &String, time: &i64| Timestamp(*time))
}

#[test]
fn newest_versions_are_the_same_in_random_runs() {
    let topology = Topology::new("versions", |builder: &StreamsBuilder<'_>| {
        let newest = |topic| builder.table(topic, consumed()).versioned(micros(30)).to_table();
        let (a, b) = (newest("a"), newest("b"));
        let pair = || Produced::columns(["key", "n"]);
        a.to("newest", pair());
        let outer = a.outer_join(&b, |a, b| a.unwrap_or(&0) * 1_000 + b.unwrap_or(&0));
        outer.to("outer", pair());
        outer.group_by(|_, n| (n % 7, *n)).max().to("groups", pair());
    });
    explore(&topology, &feed(60, 4, 60), 1, 60).unwrap();
}

fn columns() -> Produced {
    Produced::columns(["key", "start", "end", "n"])
}

#[test]
fn windows_are_the_same_in_random_runs() {
    let topology = Topology::new("windows", |builder: &StreamsBuilder<'_>| {
        let both = builder.stream("a", consumed()).merge(&builder.stream("b", consumed()));
        let grouped = both.group_by_key();
        let fixed = TimeWindows::of_size(micros(20)).advance_by(micros(10)).grace(micros(5));
        let fixed = grouped.windowed_by(fixed);
        fixed.late().to("late", columns());
        fixed.sum(|n| *n).to("sums", columns());
        fixed.emit(Emit::OnClose).count().to("closed", columns());
        let kept = TimeWindows::of_size(micros(10)).grace(micros(5)).retain(micros(30));
        grouped.windowed_by(kept).count().to("kept", columns());
        let sessions = SessionWindows::of_inactivity_gap(micros(8)).grace(micros(5));
        let sessions = grouped.windowed_by(sessions);
        sessions.count().to("sessions", columns());
        sessions.emit(Emit::OnClose).count().to("closed sessions", columns());
    });
    explore(&topology, &feed(60, 4, 30), 1, 60).unwrap();
}

#[test]
fn joins_within_windows_are_the_same_in_random_runs() {
    let topology = Topology::new("joins", |builder: &StreamsBuilder<'_>| {
        let (a, b) = (builder.stream("a", consumed()), builder.stream("b", consumed()));
        let windows = || JoinWindows::of(micros(10)).grace(micros(5));
        let pair = || Produced::columns(["key", "left", "right"]);
        let inner = a.join_within(&b, windows(), |l, r| (*l, *r));
        inner.to("inner", pair());
        let outer = a.outer_join_within(&b, windows(), |l, r| (l.copied(), r.copied()));
        outer.to("outer", pair());
        let minutes = TimeWindows::of_size(micros(20)).grace(micros(20));
        inner.group_by_key().windowed_by(minutes).count().to("pairs", columns());
    });
    explore(&topology, &feed(60, 4, 30), 1, 60).unwrap();
}
