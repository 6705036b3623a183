//! Verbs of one record at a time, and verbs that end a stream.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use watershed::testing::TopologyTestDriver;
use watershed::{StreamsBuilder, Topology};

use crate::support::{Trial, pair, stream};

#[test]
fn filter_keeps_matching_records_and_filter_not_the_rest() {
    let mut trial = Trial::of(|builder| {
        let numbers = stream(builder, "numbers");
        numbers.filter(|_, v| v % 2 == 0).to("even", pair());
        numbers.filter_not(|_, v| v % 2 == 0).to("odd", pair());
    });
    trial.pipe("numbers", "a=1 a=2 b=4 a=2");
    assert_eq!(trial.rows("even"), "a=2 a=2 b=4");
    assert_eq!(trial.rows("odd"), "a=1");
}

#[test]
fn map_makes_another_record_and_map_values_keeps_the_key() {
    let mut trial = Trial::of(|builder| {
        let numbers = stream(builder, "numbers");
        numbers.map(|k, v| (format!("{k}{v}"), v * 10)).to("mapped", pair());
        numbers.map_values(|v| v + 1).to("values", pair());
        numbers.select_key(|k, v| format!("{k}{}", v % 2)).to("keyed", pair());
    });
    trial.pipe("numbers", "a=1 a=2 b=1");
    assert_eq!(trial.rows("mapped"), "a1=10 a2=20 b1=10");
    assert_eq!(trial.rows("values"), "a=2 a=3 b=2");
    assert_eq!(trial.rows("keyed"), "a0=2 a1=1 b1=1");
}

#[test]
fn flat_map_makes_many_records_and_flat_map_values_keeps_keys() {
    let mut trial = Trial::of(|builder| {
        let numbers = stream(builder, "numbers");
        numbers.flat_map(|k, v| (0..v).map(move |i| (format!("{k}{i}"), v))).to("flat", pair());
        numbers.flat_map_values(|v| 0..v).to("values", pair());
    });
    trial.pipe("numbers", "a=0 b=1 c=2");
    assert_eq!(trial.rows("flat"), "b0=1 c0=2 c1=2");
    assert_eq!(trial.rows("values"), "b=0 c=0 c=1");
}

#[test]
fn merge_has_all_records_and_with_itself_each_one_twice() {
    let mut trial = Trial::of(|builder| {
        let (left, right) = (stream(builder, "left"), stream(builder, "right"));
        left.merge(&right).to("both", pair());
        left.merge(&left).to("twice", pair());
    });
    trial.pipe("left", "a=1 b=1");
    trial.pipe("right", "a=1");
    assert_eq!(trial.rows("both"), "a=1 a=1 b=1");
    assert_eq!(trial.rows("twice"), "a=1 a=1 b=1 b=1");
}

#[test]
fn peek_and_for_each_see_every_record_once_and_change_nothing() {
    let peeked: Arc<Mutex<Vec<(String, i64)>>> = Arc::default();
    let ended = peeked.clone();
    let (here, there) = (peeked.clone(), Arc::new(Mutex::new(BTreeMap::<String, i64>::new())));
    let sums = there.clone();
    let build = move |builder: &StreamsBuilder<'_>| {
        let (here, sums) = (here.clone(), sums.clone());
        let numbers = stream(builder, "numbers");
        numbers.peek(move |k, v| here.lock().unwrap().push((k.clone(), *v))).to("same", pair());
        numbers.for_each(move |k, v| *sums.lock().unwrap().entry(k.clone()).or_default() += v);
    };
    let mut driver = TopologyTestDriver::with_workers(Topology::new("peek", build), 2).unwrap();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "1")] {
        driver.pipe("numbers", 0, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    driver.commit().unwrap();
    let mut seen = ended.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, [("a", 1), ("a", 1), ("a", 3), ("b", 2)].map(|(k, v)| (k.to_string(), v)));
    assert_eq!(
        *there.lock().unwrap(),
        BTreeMap::from([("a".to_string(), 5), ("b".to_string(), 2)])
    );
    assert_eq!(driver.rows("same").len(), 4);
}

#[test]
fn print_writes_each_record_behind_its_label() {
    const PRINTER: &str = "WATERSHED_TEST_PRINTS";
    if std::env::var_os(PRINTER).is_none() {
        // All tests share one standard output, so this test prints in a child process.
        let name = "stream::each::print_writes_each_record_behind_its_label";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output =
            command.args(["--exact", name, "--nocapture"]).env(PRINTER, "1").output().unwrap();
        let screen = String::from_utf8(output.stdout).unwrap();
        let mut printed: Vec<&str> = screen
            .lines()
            .filter_map(|line| line.find("[numbers]").map(|at| &line[at..]))
            .collect();
        printed.sort_unstable();
        assert_eq!(
            printed,
            ["[numbers]: \"a\", 1", "[numbers]: \"a\", 1", "[numbers]: \"b\", -2"],
            "{screen}"
        );
        return;
    }
    let topology = Topology::new("print", |builder: &StreamsBuilder<'_>| {
        stream(builder, "numbers").print("numbers")
    });
    let mut driver = TopologyTestDriver::with_workers(topology, 2).unwrap();
    for (key, value) in [("a", "1"), ("b", "-2"), ("a", "1"), ("c", "none")] {
        driver.pipe("numbers", 0, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    driver.finish().unwrap();
}

#[test]
fn to_writes_every_record_once_in_its_commit() {
    let mut trial = Trial::of(|builder| stream(builder, "numbers").to("all", pair()));
    trial.pipe("numbers", "a=1 b=2");
    assert_eq!(trial.changes("all"), "a=1 b=2");
    trial.pipe("numbers", "a=1 c=3");
    assert_eq!(trial.changes("all"), "a=1 c=3");
    assert_eq!(trial.changes("all"), "");
    assert_eq!(trial.rows("all"), "a=1 a=1 b=2 c=3");
}

#[test]
fn the_later_declared_topic_of_a_merge_wins() {
    for [first, second] in [["left", "right"], ["right", "left"]] {
        let mut trial = Trial::of(|builder| {
            stream(builder, "left").merge(&stream(builder, "right")).to_table().to("out", pair());
        });
        for topic in [first, second] {
            trial.pipe(topic, if topic == "left" { "a=1" } else { "a=2" });
            trial.rows("out");
        }
        assert_eq!(trial.rows("out"), "a=2");
    }
}
