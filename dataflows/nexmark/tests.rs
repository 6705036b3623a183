//! The topology and the naive program have the same answers to generated events.

use std::collections::{BTreeMap, BTreeSet};

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Poll, Source};
use watershed::connectors::archive::Archive;
use watershed::options::Produced;
use watershed::program::{Expected, Inputs};
use watershed::record::Batch;
use watershed::row::Value;
use watershed::runtime::{Config, Streams};
use watershed::testing::TopologyTestDriver;
use watershed::{DEAD_LETTERS, StreamsBuilder, Topology};

use crate::generator::{self, Kind};
use crate::model::{Auction, Bid, Identified, SIDE_INPUT, consumed};
use crate::queries::windows;
use crate::topology::topology;
use crate::{naive, program};

type Rows = Vec<Vec<Value>>;
type Sources = Vec<(&'static str, Vec<Box<dyn Source>>)>;

/// The answers.
const WRITTEN: [&str; 23] = [
    "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11", "q12", "q13", "q14",
    "q15", "q16", "q17", "q18", "q19", "q20", "q21", "q22",
];

fn sources(url: &str) -> Sources {
    let open = |topic| (topic, vec![generator::open(url, topic).unwrap()]);
    let topics = Kind::ALL.map(Kind::topic).into_iter().chain([SIDE_INPUT]);
    topics.map(open).collect()
}

/// Returns the answers of the naive program, sorted.
fn expected(sources: &Sources) -> BTreeMap<&'static str, Rows> {
    let mut expected = Expected::new(watershed::runtime::secret().unwrap());
    naive::rows(&Inputs::new(sources, &()), &mut expected).unwrap();
    let answer = |topic| {
        let mut rows: Rows = expected.held(topic).into_iter().map(<[Value]>::to_vec).collect();
        rows.sort();
        (topic, rows)
    };
    WRITTEN.map(answer).into()
}

/// Compares the rows of each topic, and shows the first that differ.
fn assert_same(expected: &BTreeMap<&'static str, Rows>, found: impl Fn(&str) -> Rows, what: &str) {
    for (topic, rows) in expected {
        let found = found(topic);
        let missing = rows.iter().filter(|row| found.binary_search(row).is_err()).take(2);
        let surplus = found.iter().filter(|row| rows.binary_search(row).is_err()).take(2);
        let (missing, surplus): (Vec<_>, Vec<_>) = (missing.collect(), surplus.collect());
        let counts = (rows.len(), found.len());
        assert!(
            *rows == found,
            "{topic} of {what} has {counts:?} rows: missing {missing:?}, surplus {surplus:?}"
        );
    }
}

/// The topology with its topics bound to sources, and to a table in memory each.
fn bound(sources: Sources) -> (Streams, BTreeMap<&'static str, MemoryTable>) {
    let mut streams = Streams::new(Topology::new("nexmark", topology));
    for (topic, sources) in sources {
        streams = sources.into_iter().fold(streams, |streams, log| streams.source(topic, log));
    }
    let mut tables = BTreeMap::new();
    for topic in WRITTEN.into_iter().chain([DEAD_LETTERS]) {
        let table = MemoryTable::default();
        streams = streams.sink(topic, table.clone());
        tables.insert(topic, table);
    }
    (streams, tables)
}

#[test]
fn every_answer_equals_that_of_the_naive_program() {
    // Twenty seconds between two events: all hours of a day, and several days. Two milliseconds:
    // windows of many events. Twenty milliseconds: many of them are too late for their windows.
    let (days, windows, late) = (20_000_000, 2_000, 20_000);
    let mut empty: BTreeSet<&str> = WRITTEN.into();
    for (seed, workers, spacing) in
        [(1, 1, days), (1, 2, windows), (7, 2, days), (42, 1, late), (43, 2, late)]
    {
        let url = format!("generated://?events=6000&seed={seed}&spacing_us={spacing}");
        let expected = expected(&sources(&url));
        empty.retain(|topic| expected[topic].is_empty());
        let (streams, tables) = bound(sources(&url));
        streams.run(Config { workers, ..Config::default() }).unwrap();
        let what = format!("seed {seed}, {workers} workers, spacing {spacing}");
        assert_same(&expected, |topic| tables[topic].rows(), &what);
        assert!(tables[DEAD_LETTERS].rows().is_empty());
    }
    assert!(empty.is_empty(), "no rows to compare in {empty:?}");
}

/// Returns the number of records that are too late for a window of bids or auctions.
fn late(url: &str) -> usize {
    let topology = Topology::new("late", |builder: &StreamsBuilder<'_>| {
        let listed = builder.stream("auction", consumed(|auction: &Auction| auction.date_time));
        let bids = builder.stream("bid", consumed(|bid: &Bid| bid.date_time));
        let (listed, bids) = (listed.map_values(|_| ()), bids.map_values(|_| ()));
        let late = [
            listed.group_by_key().windowed_by(windows::tumbling()).late(),
            bids.group_by_key().windowed_by(windows::tumbling()).late(),
            bids.group_by_key().windowed_by(windows::hopping()).late(),
            bids.group_by_key().windowed_by(windows::sessions()).late(),
        ];
        for (topic, late) in ["a", "b", "c", "d"].into_iter().zip(late) {
            late.to(topic, Produced::columns(["id", "from", "to"]));
        }
    });
    let read = [Kind::Auction, Kind::Bid].map(Kind::topic);
    let mut streams = Streams::new(topology);
    for (topic, sources) in sources(url).into_iter().filter(|(topic, _)| read.contains(topic)) {
        streams = sources.into_iter().fold(streams, |streams, log| streams.source(topic, log));
    }
    let tables = ["a", "b", "c", "d"].map(|topic| (topic, MemoryTable::default()));
    for (topic, table) in &tables {
        streams = streams.sink(topic, table.clone());
    }
    streams.run(Config::default()).unwrap();
    tables.iter().map(|(_, table)| table.rows().len()).sum()
}

#[test]
fn no_generated_event_is_too_late_for_its_windows() {
    assert_eq!(late("generated://?events=60000"), 0);
    // Events are out of order by the times of a thousand events.
    assert_eq!(late("generated://?events=30000&spacing_us=4000"), 0);
    assert!(late("generated://?events=30000&spacing_us=20000") > 100);
}

/// All events of a URL, batch by batch.
fn records(url: &str) -> Vec<(Kind, Batch)> {
    let mut records = Vec::new();
    for (kind, (_, sources)) in Kind::ALL.into_iter().zip(sources(url)) {
        for partition in sources[0].partitions().unwrap() {
            let mut reader = sources[0].open(partition, None, false).unwrap();
            while let Poll::Batch(batch) = reader.poll().unwrap() {
                records.push((kind, batch));
            }
        }
    }
    records
}

/// Pipes the side input.
fn pipe_side_input(driver: &mut TopologyTestDriver) {
    let source = generator::open("generated://", SIDE_INPUT).unwrap();
    let mut reader = source.open(0, None, false).unwrap();
    while let Poll::Batch(batch) = reader.poll().unwrap() {
        batch.iter(0).for_each(|row| driver.pipe(SIDE_INPUT, 0, row.key, row.value));
    }
}

#[test]
fn answers_are_right_after_every_commit_and_correction() {
    let url = "generated://?events=1500&seed=3&partitions=1&spacing_us=60000000";
    let topology = Topology::new("nexmark", topology);
    let mut driver = TopologyTestDriver::with_workers(topology, 2).unwrap();
    let logs = Kind::ALL.map(|_| MemoryLog::default());
    let pipe = |driver: &mut TopologyTestDriver, kind: Kind, key: &[u8], value: &[u8]| {
        logs[kind as usize].append(0, Some(key), Some(value));
        driver.pipe(kind.topic(), 0, Some(key), Some(value));
    };
    let all = || -> Sources {
        let log = |kind: Kind| Box::new(logs[kind as usize].clone()) as Box<dyn Source>;
        let side = generator::open(url, SIDE_INPUT).unwrap();
        let events = Kind::ALL.map(|kind| (kind.topic(), vec![log(kind)]));
        events.into_iter().chain([(SIDE_INPUT, vec![side])]).collect()
    };
    pipe_side_input(&mut driver);
    // Bids first: so each bid waits for its auction, and each auction for its seller.
    for (kind, batch) in records(url).iter().rev() {
        for (n, record) in batch.iter(0).enumerate() {
            pipe(&mut driver, *kind, record.key.unwrap(), record.value.unwrap());
            if n % 250 == 249 {
                driver.commit().unwrap();
                let what = format!("{n} records of {kind:?}");
                assert_same(&expected(&all()), |topic| driver.rows(topic), &what);
            }
        }
    }
    driver.commit().unwrap();
    assert_same(&expected(&all()), |topic| driver.rows(topic), "all records");

    // Every auction is announced again by another seller, in another category, and closes early.
    let before = driver.rows("q4");
    for (_, batch) in records(url).iter().filter(|(kind, _)| *kind == Kind::Auction) {
        for record in batch.iter(0) {
            let mut auction: Identified<Auction> =
                serde_json::from_slice(record.value.unwrap()).unwrap();
            auction.event.category = 10 + (auction.event.category - 9) % 5;
            auction.event.seller += 1;
            auction.event.expires.0 -= 3_600_000_000;
            let value = serde_json::to_vec(&auction).unwrap();
            pipe(&mut driver, Kind::Auction, record.key.unwrap(), &value);
        }
    }
    driver.commit().unwrap();
    assert_ne!(driver.rows("q4"), before);
    assert_same(&expected(&all()), |topic| driver.rows(topic), "corrected auctions");
}

#[test]
fn records_without_keys_are_keyed_by_the_id_in_them() {
    let url = "generated://?events=500&seed=9&partitions=1";
    let mut driver = TopologyTestDriver::new(Topology::new("nexmark", topology)).unwrap();
    pipe_side_input(&mut driver);
    for (kind, batch) in records(url) {
        batch.iter(0).for_each(|record| driver.pipe(kind.topic(), 0, None, record.value));
    }
    driver.pipe("bid", 0, None, Some(b"{\"auction\":1000}"));
    driver.commit().unwrap();
    assert_same(&expected(&sources(url)), |topic| driver.rows(topic), "no keys");
    assert_eq!(driver.dead_letters().len(), 1);
}

#[test]
fn bids_are_logged_to_an_archive_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().display().to_string();
    let url = "generated://?events=1000&seed=5";
    let run = ["nexmark", "run", "--from", url, "--lake", &lake, "--workers", "2"];
    program().perform(run, &mut Vec::new()).unwrap();
    let log = Archive::open(&format!("{lake}/archive")).unwrap().topic("q10");
    let mut found = Vec::new();
    for partition in Source::partitions(&log).unwrap() {
        let mut reader = Source::open(&log, partition, None, false).unwrap();
        while let Poll::Batch(batch) = reader.poll().unwrap() {
            for record in batch.iter(0) {
                let line: serde_json::Value =
                    serde_json::from_slice(record.value.unwrap()).unwrap();
                assert_eq!((&line["dt"], &line["hm"]), (&"2015-07-15".into(), &"00:00".into()));
                found.push((line["id"].as_i64().unwrap(), line["price"].as_i64().unwrap()));
            }
        }
    }
    found.sort_unstable();
    let rows = &expected(&sources(url))["q10"];
    let logged = rows.iter().map(|row| match (&row[0], &row[3]) {
        (Value::Long(id), Value::Long(price)) => (*id, *price),
        other => panic!("{other:?}"),
    });
    assert!(logged.eq(found));
}

#[test]
fn the_command_line_describes_every_topic() {
    let mut out = Vec::new();
    program().perform(["nexmark", "describe"], &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for topic in ["person", "auction", "bid"] {
        let bound = format!("{topic} <- generated {topic} of 100000 events with seed 7");
        assert!(text.contains(&bound), "{text}");
    }
    assert!(text.contains("side_input <- generated side input of 10000 rows"), "{text}");
    for topic in WRITTEN {
        let bound = match topic {
            "q10" => "q10 -> archive data/lake/archive topic q10\n".to_string(),
            _ => format!("{topic} -> delta data/lake/{topic}\n"),
        };
        assert!(text.contains(&bound), "{text}");
    }
}
