//! Laws: random feeds through a topology of most verbs ([`program`]), against plain loops over the
//! same records ([`oracle`]).
//!
//! The oracle has no operators, epochs or changes. It computes the tables from the set of records.
//! The topology must equal it after every commit, for any order, batching and number of workers.
//! This proves that incremental results equal results from scratch.

mod explore;
mod feed;
mod oracle;
mod program;
mod sliding;
mod suppression;
mod time;
mod windows;

use std::collections::BTreeMap;

use watershed::Topology;
use watershed::row::Value;
use watershed::testing::TopologyTestDriver;

use crate::support::Dice;
use feed::Entry;
use oracle::{Rows, rows_of};

/// The number of records of a commit.
#[derive(Clone, Copy, Debug)]
enum Batching {
    Each,
    UpTo(u64),
    Once,
}

/// Returns `few` seeds from `first` on. The variable SEEDS multiplies their number, for a long
/// campaign.
fn seeds(first: u64, few: u64) -> impl Iterator<Item = u64> {
    let times = std::env::var("SEEDS").ok().and_then(|times| times.parse().ok()).unwrap_or(1_u64);
    (0..few * times).map(move |n| first + n * 1000)
}

fn start(workers: usize) -> TopologyTestDriver {
    TopologyTestDriver::with_workers(Topology::new("laws", program::build), workers).unwrap()
}

/// Pipes a feed, commits by `batching`, and calls `look` after each commit with the records so far.
fn drive(
    driver: &mut TopologyTestDriver,
    feed: &[Entry],
    batching: Batching,
    dice: &mut Dice,
    mut look: impl FnMut(&mut TopologyTestDriver, &[Entry]),
) {
    let mut at = 0;
    while at < feed.len() {
        let size = match batching {
            Batching::Each => 1,
            Batching::UpTo(most) => 1 + dice.below(most) as usize,
            Batching::Once => feed.len(),
        };
        let next = (at + size).min(feed.len());
        feed[at..next].iter().for_each(|entry| entry.pipe(driver));
        driver.commit().unwrap();
        at = next;
        look(driver, &feed[..at]);
    }
}

fn agree(driver: &TopologyTestDriver, arrived: &[Entry], what: &str) {
    for (topic, rows) in oracle::tables(arrived) {
        assert_eq!(
            rows_of(&driver.rows(topic)),
            rows,
            "{topic} after {} records, {what}",
            arrived.len()
        );
    }
}

/// Returns the rows of each topic at the end of a feed.
fn ends(
    feed: &[Entry],
    workers: usize,
    batching: Batching,
    seed: u64,
) -> BTreeMap<&'static str, Rows> {
    ends_of(start(workers), feed, batching, seed)
}

/// Returns the rows of each topic at the end of a feed, and ends the run.
fn ends_of(
    mut driver: TopologyTestDriver,
    feed: &[Entry],
    batching: Batching,
    seed: u64,
) -> BTreeMap<&'static str, Rows> {
    drive(&mut driver, feed, batching, &mut Dice::new(seed), |_, _| {});
    let rows = oracle::TOPICS.iter().map(|topic| (*topic, rows_of(&driver.rows(topic)))).collect();
    driver.finish().unwrap();
    rows
}

#[test]
fn after_every_commit_the_tables_equal_those_from_scratch() {
    for seed in seeds(0, 6) {
        let mut dice = Dice::new(seed);
        let feed = feed::draw(160, &mut dice);
        let workers = [1, 2, 4][seed as usize / 1000 % 3];
        let what = format!("seed {seed}, {workers} workers");
        drive(&mut start(workers), &feed, Batching::UpTo(24), &mut dice, |driver, arrived| {
            agree(driver, arrived, &what)
        });
    }
}

#[test]
fn one_two_and_four_workers_agree() {
    for seed in seeds(100, 2) {
        let feed = feed::draw(250, &mut Dice::new(seed));
        let [one, two, four] = [1, 2, 4]
            .map(|workers| ends(&feed, workers, Batching::UpTo(40), seed + workers as u64));
        assert_eq!(one, oracle::tables(&feed), "seed {seed}");
        assert_eq!(one, two, "seed {seed}");
        assert_eq!(one, four, "seed {seed}");
    }
}

#[test]
fn any_number_of_processes_leads_to_the_same_rows() {
    for seed in seeds(700, 2) {
        let feed = feed::draw(250, &mut Dice::new(seed));
        let expected = oracle::tables(&feed);
        for (processes, workers) in [(1, 1), (2, 1), (2, 2), (4, 1)] {
            let topology = Topology::new("laws", program::build);
            let driver = TopologyTestDriver::with_processes(topology, processes, workers).unwrap();
            let ends = ends_of(driver, &feed, Batching::UpTo(40), seed);
            assert_eq!(ends, expected, "seed {seed}, {processes} processes of {workers} workers");
        }
    }
}

#[test]
fn rows_that_are_encoded_between_workers_stay_the_same() {
    for seed in seeds(800, 2) {
        let feed = feed::draw(250, &mut Dice::new(seed));
        let topology = Topology::new("laws", program::build);
        let driver = TopologyTestDriver::serialised(topology, 3).unwrap();
        let ends = ends_of(driver, &feed, Batching::UpTo(40), seed);
        assert_eq!(ends, oracle::tables(&feed), "seed {seed}");
    }
}

#[test]
fn any_batching_leads_to_the_same_rows() {
    for seed in seeds(200, 2) {
        let feed = feed::draw(60, &mut Dice::new(seed));
        for batching in [Batching::Each, Batching::UpTo(3), Batching::UpTo(100), Batching::Once] {
            assert_eq!(
                ends(&feed, 1, batching, seed),
                oracle::tables(&feed),
                "seed {seed}, {batching:?}"
            );
        }
    }
}

#[test]
fn any_order_of_arrival_leads_to_the_same_rows() {
    for seed in seeds(300, 2) {
        let mut dice = Dice::new(seed);
        let mut feed = feed::draw(200, &mut dice);
        let expected = oracle::tables(&feed);
        for shuffle in 0..3 {
            dice.shuffle(&mut feed);
            assert_eq!(
                ends(&feed, 2, Batching::UpTo(50), seed),
                expected,
                "seed {seed}, shuffle {shuffle}"
            );
        }
    }
}

#[test]
fn changes_turn_old_rows_into_new_with_one_change_a_key() {
    for seed in seeds(400, 2) {
        let mut dice = Dice::new(seed);
        let feed = feed::draw(200, &mut dice);
        let mut stand: BTreeMap<&str, BTreeMap<Vec<Value>, Vec<Value>>> = BTreeMap::new();
        drive(&mut start(2), &feed, Batching::UpTo(16), &mut dice, |driver, _| {
            for topic in oracle::TOPICS.iter().filter(|topic| !program::APPENDED.contains(topic)) {
                let rows = stand.entry(topic).or_default();
                let mut seen = Vec::new();
                for (key, row) in driver.changes(topic) {
                    assert!(!seen.contains(&key), "{key:?} of {topic} changes twice in a commit");
                    let before = match &row {
                        Some(row) => rows.insert(key.clone(), row.clone()),
                        None => rows.remove(&key),
                    };
                    assert_ne!(before, row, "a change of {topic} that is none");
                    seen.push(key);
                }
                let mut rows: Vec<_> = rows.values().cloned().collect();
                rows.sort();
                assert_eq!(rows, driver.rows(topic), "{topic}, seed {seed}");
            }
        });
    }
}

#[test]
fn the_stream_of_a_tables_changes_makes_the_table() {
    for seed in seeds(500, 3) {
        let mut dice = Dice::new(seed);
        let feed = feed::draw(200, &mut dice);
        let mut stand: BTreeMap<&str, BTreeMap<Value, Value>> = BTreeMap::new();
        drive(
            &mut start([1, 2, 4][seed as usize / 1000 % 3]),
            &feed,
            Batching::UpTo(16),
            &mut dice,
            |driver, _| {
                for (topic, changes) in program::CHANGES {
                    let rows = stand.entry(topic).or_default();
                    let mut seen = Vec::new();
                    for change in driver.changes(changes).into_iter().filter_map(|(_, row)| row) {
                        let [key, value] = <[Value; 2]>::try_from(change).unwrap();
                        assert!(
                            !seen.contains(&key),
                            "{key:?} of {changes} comes twice in a commit"
                        );
                        let gone = value == Value::Null;
                        let before = if gone {
                            rows.remove(&key)
                        } else {
                            rows.insert(key.clone(), value.clone())
                        };
                        assert_ne!(
                            before,
                            (!gone).then_some(value),
                            "a change of {topic} that is none"
                        );
                        seen.push(key);
                    }
                    let rows: Vec<Vec<Value>> =
                        rows.iter().map(|(key, value)| vec![key.clone(), value.clone()]).collect();
                    assert_eq!(rows, driver.rows(topic), "{topic}, seed {seed}");
                }
            },
        );
    }
}

#[test]
fn every_record_is_accounted_for() {
    for seed in seeds(600, 2) {
        let feed = feed::draw(300, &mut Dice::new(seed));
        let mut driver = start(2);
        drive(&mut driver, &feed, Batching::UpTo(60), &mut Dice::new(seed), |driver, arrived| {
            let position = |row: &Vec<Value>| (row[0].clone(), row[1].clone(), row[2].clone());
            let mut dead: Vec<_> = driver.dead_letters().iter().map(position).collect();
            dead.sort();
            assert_eq!(dead, oracle::dead(arrived));
        });
        let standing = oracle::tables(&feed);
        for (topic, summary) in driver.finish().unwrap().topics {
            assert!(summary.balances(), "{topic}: {summary:?}");
            assert_eq!(
                summary.read,
                feed.iter().filter(|entry| entry.topic == topic).count() as u64
            );
            assert_eq!(
                summary.rows as usize,
                standing.get(topic.as_str()).map_or(0, Vec::len),
                "{topic}"
            );
        }
    }
}
