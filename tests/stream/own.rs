//! Aggregates of a program in windows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use watershed::Aggregator;
use watershed::options::Windowing;
use watershed::prelude::{Value::Long, *};
use watershed::testing::{Feed, assert_aggregator_laws, explore};

const SECOND_MICROS: i64 = 1_000_000;
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// The greatest value less the least. `MERGES` states are merged, others are filled again.
#[derive(Default)]
struct Spread<const MERGES: bool>(BTreeMap<i64, i64>);

static MERGED: AtomicU64 = AtomicU64::new(0);

impl<const MERGES: bool> Aggregator<i64> for Spread<MERGES> {
    type Out = i64;

    fn update(&mut self, value: &i64, diff: i64) {
        let count = self.0.entry(*value).or_default();
        *count += diff;
        if *count == 0 {
            self.0.remove(value);
        }
    }

    fn result(&self) -> Option<i64> {
        Some(self.0.keys().next_back()? - self.0.keys().next()?)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn merge(&mut self, other: &Self) -> bool {
        if MERGES {
            MERGED.fetch_add(1, Ordering::Relaxed);
            other.0.iter().for_each(|(value, count)| self.update(value, *count));
        }
        MERGES
    }
}

/// Returns the topology of spreads in windows of a topic.
fn topology<const MERGES: bool, W>(windows: W) -> Topology
where
    W: Into<Windowing> + Copy + Send + Sync + 'static,
{
    Topology::new("spreads", move |builder: &StreamsBuilder<'_>| {
        let values = builder.stream("in", Consumed::with(Int64, Int64)).group_by_key();
        let spreads = values.windowed_by(windows).aggregate_with(Spread::<MERGES>::default);
        spreads.to("out", Produced::columns(["key", "from", "to", "spread"]));
    })
}

/// Returns start, end and spread of each window, with times in seconds. Each value is committed
/// alone.
fn spreads<const MERGES: bool, W>(windows: W, values: &[(i64, i64)]) -> Vec<[i64; 3]>
where
    W: Into<Windowing> + Copy + Send + Sync + 'static,
{
    let mut driver = TopologyTestDriver::new(topology::<MERGES, W>(windows)).unwrap();
    let input = driver.input("in", Int64, Int64);
    for (second, value) in values {
        input.pipe_at(&mut driver, &1, value, Timestamp(second * SECOND_MICROS));
        driver.commit().unwrap();
    }
    let row = |row: &Vec<Value>| match row[1..] {
        [Value::Timestamp(from), Value::Timestamp(to), Long(spread)] => {
            [from / SECOND_MICROS, to / SECOND_MICROS, spread]
        }
        _ => panic!("{row:?}"),
    };
    driver.rows("out").iter().map(row).collect()
}

#[test]
fn bridged_sessions_merge_the_states_of_an_own_aggregate() {
    let sessions = SessionWindows::of_inactivity_gap(TEN_SECONDS);
    let values = [(0, 5), (20, 9), (40, 3), (10, 1)];
    let merged = spreads::<true, _>(sessions, &values);
    assert_eq!(merged, [[0, 20, 8], [40, 40, 0]]);
    assert!(MERGED.load(Ordering::Relaxed) >= 2, "both sessions are merged into one");
    assert_eq!(spreads::<false, _>(sessions, &values), merged, "values are added again");
}

#[test]
fn an_own_aggregate_follows_hopping_and_sliding_windows() {
    let hopping = TimeWindows::of_size(TEN_SECONDS).advance_by(TEN_SECONDS / 2);
    let values = [(0, 1), (7, 2), (12, 4), (-3, 8)];
    let expected = [[-10, 0, 0], [-5, 5, 7], [0, 10, 1], [5, 15, 2], [10, 20, 0]];
    assert_eq!(spreads::<false, _>(hopping, &values), expected);
    let sliding = SlidingWindows::of_time_difference(TEN_SECONDS);
    let values = [(108, 1), (103, 2), (112, 4)];
    let expected = [[93, 103, 0], [98, 108, 1], [102, 112, 3], [103, 113, 3], [108, 118, 0]];
    assert_eq!(spreads::<true, _>(sliding, &values), expected);
}

#[test]
fn an_own_aggregate_keeps_its_laws_and_survives_restarts() {
    let values = [3, 1, 4, 1, 5, -9];
    assert_aggregator_laws(Spread::<true>::default, &values);
    assert_aggregator_laws(Spread::<false>::default, &values);
    let sessions = SessionWindows::of_inactivity_gap(TEN_SECONDS).grace(3 * TEN_SECONDS);
    let mut feed = Feed::default();
    for n in 0..40_i64 {
        let at = Timestamp((n * 7 % 23 + n * 5) * SECOND_MICROS);
        let (key, value) = ((n % 3).to_be_bytes(), (n * n % 31).to_be_bytes());
        feed.push_at("in", (n % 2) as u32, at, Some(&key), Some(&value));
    }
    explore(&topology::<true, _>(sessions), &feed, 1, 20).unwrap();
    explore(&topology::<false, _>(sessions), &feed, 2, 20).unwrap();
}
