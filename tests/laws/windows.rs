//! Windows, joins of streams and suppression make the same rows for any batches, workers, processes
//! and restarts, and late records are the same.

use std::time::Duration;

use watershed::prelude::*;
use watershed::testing::{Feed, explore};

use crate::support::Dice;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns records of two topics with three keys, and with times out of order.
fn feed(records: usize, seed: u64) -> Feed {
    let (mut feed, mut dice) = (Feed::default(), Dice::new(seed));
    for n in 0..records {
        let topic = ["a", "b"][dice.below(2) as usize];
        let at = n as i64 * 2 + dice.below(30) as i64;
        let (key, value) = (dice.below(3).to_string(), dice.below(5).to_string());
        let at = Timestamp(at * 1_000_000);
        feed.push_at(topic, 0, at, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    feed
}

/// Explores a topology over its input streams.
fn holds(
    build: impl for<'s> Fn(KStream<'s, i64, i64>, KStream<'s, i64, i64>) + Send + Sync + 'static,
) {
    let topology = Topology::new("windows", move |builder: &StreamsBuilder<'_>| {
        let stream = |topic| builder.stream::<i64, i64>(topic, Consumed::with(Json, Json));
        build(stream("a"), stream("b"));
    });
    for seed in 1..3 {
        if let Err(error) = explore(&topology, &feed(60, seed), seed * 100, 15) {
            panic!("{error}");
        }
    }
}

fn window() -> Produced {
    Produced::columns(["key", "from", "to", "result"])
}

#[test]
fn fixed_windows_make_the_same_rows_in_any_run() {
    holds(|a, b| {
        let both = a.merge(&b).group_by_key();
        let tumbling = TimeWindows::of_size(seconds(10)).grace(seconds(10));
        let hopping = TimeWindows::of_size(seconds(10)).advance_by(seconds(4)).grace(seconds(3));
        let windowed = both.windowed_by(tumbling);
        windowed.count().to("count", window());
        windowed.max().to("max", window());
        windowed.late().to("late", window());
        let closed = windowed.emit(Emit::OnClose);
        closed.sum(|n| *n).to_stream().to("closed", window());
        closed.top(2, Ties::Keep, |n| n % 3).to("closed top", window());
        let hopping = both.windowed_by(hopping);
        hopping.median().to("median", window());
        hopping.count_distinct().to("distinct", window());
        hopping.top(2, Ties::Keep, |n| n % 3).to("top", window());
        let kept = TimeWindows::of_size(seconds(10)).grace(seconds(10)).retain(seconds(30));
        both.windowed_by(kept).count().to("kept", window());
        a.group_by_key().windowed_by(tumbling).reduce(|all, n| all * 7 + n).to("all", window());
    });
}

#[test]
fn sessions_make_the_same_rows_in_any_run() {
    holds(|a, b| {
        let both = a.merge(&b).group_by_key();
        let sessions = SessionWindows::of_inactivity_gap(seconds(6)).grace(seconds(10));
        let windowed = both.windowed_by(sessions);
        windowed.count().to("count", window());
        windowed.median().to("median", window());
        windowed.late().to("late", window());
        windowed.emit(Emit::OnClose).max().to("closed", window());
        let kept = both.windowed_by(sessions.retain(seconds(12)));
        kept.count().to("kept", window());
    });
}

#[test]
fn sliding_windows_make_the_same_rows_in_any_run() {
    holds(|a, b| {
        let both = a.merge(&b).group_by_key();
        let sliding = SlidingWindows::of_time_difference(seconds(8));
        both.windowed_by(sliding).sum(|n| *n).to("open", window());
        let windowed = both.windowed_by(sliding.grace(seconds(3)));
        windowed.count().to("count", window());
        windowed.median().to("median", window());
        windowed.late().to("late", window());
        windowed.emit(Emit::OnClose).max().to("closed", window());
        let kept = both.windowed_by(sliding.grace(seconds(3)).retain(seconds(20)));
        kept.count_distinct().to("kept", window());
    });
}

#[test]
fn joins_within_windows_make_the_same_rows_in_any_run() {
    holds(|a, b| {
        let pairs = |names: [&str; 3]| Produced::columns(names);
        let windows = JoinWindows::of(seconds(8)).before(seconds(3));
        let names = ["key", "left", "right"];
        a.join_within(&b, windows, |l, r| (*l, *r)).to("inner", pairs(names));
        let windows = windows.grace(seconds(4));
        let pair = |l: Option<&i64>, r: Option<&i64>| (l.copied(), r.copied());
        let outer = a.outer_join_within(&b, windows, pair);
        outer.to("outer", pairs(names));
        a.left_join_within(&a, windows, |l, r| (*l, r.copied())).to("self", pairs(names));
        // A join behind a window, and a window behind a join.
        let minutes = TimeWindows::of_size(seconds(20)).grace(seconds(20));
        outer
            .group_by_key()
            .windowed_by(minutes)
            .emit(Emit::OnClose)
            .count()
            .to("counts", window());
    });
}

#[test]
fn suppression_by_windows_makes_the_same_rows_in_any_run() {
    holds(|a, b| {
        let windows = TimeWindows::of_size(seconds(10)).grace(seconds(10));
        let counts = a.merge(&b).group_by_key().windowed_by(windows).count();
        let last = counts.suppress(Suppressed::until_window_closes());
        last.to_stream().to("last", window());
        last.group_by(|window, n| (window.key, *n))
            .sum(|n| *n)
            .to("sums", Produced::columns(["key", "sum"]));
    });
}

#[test]
fn cogroups_make_the_same_rows_in_any_run() {
    holds(|a, b| {
        let windows = TimeWindows::of_size(seconds(10)).grace(seconds(10));
        let (a, b) = (a.group_by_key(), b.group_by_key());
        let net = a.cogroup(|net: i64, n| net + n).cogroup(&b, |net, n| net - n);
        net.aggregate(|| 0).to("net", Produced::columns(["key", "net"]));
        net.windowed_by(windows).aggregate(|| 0).to("windows", window());
    });
}

#[test]
fn temporal_joins_make_the_same_rows_in_any_run() {
    holds(|a, b| {
        let versions = b.to_table().versioned(seconds(20));
        let sums = |joined: KStream<'_, i64, i64>, topic: &str| {
            joined.group_by_key().sum(|n| *n).to(topic, Produced::columns(["key", "sum"]));
        };
        sums(a.temporal_join(&versions, |l, r| l * 10 + r), "inner");
        sums(a.left_temporal_join(&versions, |l, r| l * 10 + r.unwrap_or(&7)), "left");
        let late = versions.grace(seconds(12));
        let joined = a.temporal_join(&late, |l, r| (*l, *r));
        joined.to("waited", Produced::columns(["key", "left", "right"]));
    });
}

/// Runs tests of this file again, where each commit is followed by a snapshot. Returns the output,
/// and true if they have passed.
fn again(tests: &[&str], bug: &str) -> (bool, String) {
    let test = std::process::Command::new(std::env::current_exe().unwrap())
        .args(tests)
        .args(["--skip", "saved_state", "--nocapture"])
        .env("WATERSHED_LIMITS", "snapshot_bytes=1")
        .env("WATERSHED_BUG", bug)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&test.stdout) + String::from_utf8_lossy(&test.stderr);
    (test.status.success(), text.into_owned())
}

#[test]
fn a_run_from_saved_state_makes_the_same_rows() {
    let (passed, text) = again(&["laws::windows::"], "");
    assert!(passed && !text.contains(" 0 passed"), "{text}");
}

#[test]
fn a_lost_part_of_saved_state_is_found() {
    let (passed, text) = again(&["laws::windows::few_different_values", "--exact"], "lost_part");
    assert!(!passed && text.contains("killed"), "{text}");
}

#[test]
fn few_different_values() {
    let topology = Topology::new("few", |builder: &StreamsBuilder<'_>| {
        let stream = builder.stream::<i64, i64>("a", Consumed::with(Json, Json));
        let minutes = TimeWindows::of_size(seconds(60));
        stream.group_by_key().windowed_by(minutes).count_distinct().to("distinct", window());
    });
    if let Err(error) = explore(&topology, &feed(12, 1), 1, 20) {
        panic!("{error}");
    }
}
