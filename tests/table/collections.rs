//! Promises of the way out of the DSL into differential, and back into a table.

use std::sync::Arc;

use differential_dataflow::operators::Iterate;
use object_store::memory::InMemory;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::options::Materialized;
use watershed::runtime::{Config, Streams};
use watershed::store::Store;
use watershed::testing::TopologyTestDriver;
use watershed::{Diffs, ErrorKind, KTable, ReadOnlyStore, StreamsBuilder, Topology};

use crate::support::{Trial, pair, parsed, shown, table};

type Rows<'s> = Diffs<'s, (String, i64)>;

/// The number of steps from each key along `next`, by a loop of differential.
fn depths(builder: &StreamsBuilder<'_>) {
    let rows = table(builder, "next");
    let next: Rows<'_> = (&rows).into();
    let next = next.map(|(key, to)| (key, format!("n{to}")));
    let reached = next.clone().iterate(|scope, reached| {
        let next = next.enter(scope);
        let by_end = reached.map(|(key, end)| (end, key));
        let further = by_end.join_map(next.clone(), |_, key, end| (key.clone(), end.clone()));
        further.concat(next).distinct()
    });
    let depths = reached.map(|(key, _)| key).count().map(|(key, n)| (key, n as i64));
    let depths = KTable::from_collection(builder, "depths", depths);
    depths.to("depths", pair());
    depths.filter(|_, n| *n > 1).join(&rows, |n, to| n * 100 + to).to("joined", pair());
    depths.group_by(|_, n| (format!("d{n}"), *n)).count().to("counts", pair());
}

#[test]
fn a_fixpoint_comes_back_as_a_maintained_table() {
    let mut trial = Trial::of(depths);
    assert_eq!(trial.after("next", "n1=0 n2=1 n3=2 n4=3", "depths"), "n1=1 n2=2 n3=3 n4=4");
    assert_eq!(trial.rows("joined"), "n2=201 n3=302 n4=403");
    assert_eq!(trial.after("next", "n3=1", "depths"), "n1=1 n2=2 n3=2 n4=3");
    assert_eq!(trial.rows("joined"), "n2=201 n3=201 n4=303");
    assert_eq!(trial.rows("counts"), "d1=1 d2=2 d3=1");
    assert_eq!(trial.after("next", "n1= n5=4", "depths"), "n2=1 n3=1 n4=2 n5=3");
    assert_eq!(trial.rows("joined"), "n4=203 n5=304");
}

/// Runs records through `build`, which must break the contract of a table, and returns the error.
fn broken(
    build: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync + 'static,
    records: &str,
) -> [String; 2] {
    let topology = Topology::new("broken", build);
    [1, 3].map(|workers| {
        let mut driver = TopologyTestDriver::with_workers(topology.clone(), workers).unwrap();
        for (key, value) in parsed(records) {
            driver.pipe("rows", 0, key, value);
        }
        let error = driver.commit().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(driver.rows("out").is_empty(), "the epoch is not committed");
        error.to_string().lines().next().unwrap().to_string()
    })
}

#[test]
fn a_second_row_of_a_key_is_an_error_that_names_the_key() {
    let twice = |builder: &StreamsBuilder<'_>| {
        let rows: Rows<'_> = (&table(builder, "rows")).into();
        let rows = rows.map(|(_, value)| ("all".to_string(), value));
        KTable::from_collection(builder, "sums", rows).to("out", pair());
    };
    let told = "can't make table sums of a collection: key \"all\" has 2 rows";
    assert_eq!(broken(twice, "a=1 b=2"), [told, told]);
    assert_eq!(broken(twice, "a=1 b=1"), [told, told]);
}

#[test]
fn a_row_below_zero_is_an_error_that_names_the_key() {
    let negative = |builder: &StreamsBuilder<'_>| {
        let rows: Rows<'_> = (&table(builder, "rows")).into();
        KTable::from_collection(builder, "less", rows.negate()).to("out", pair());
    };
    let told = "can't make table less of a collection: key \"a\" loses a row that it does not have";
    assert_eq!(broken(negative, "a=1"), [told, told]);
}

#[test]
fn a_program_with_a_loop_continues_its_state() {
    let log = MemoryLog::default();
    let state = Store::objects(Arc::new(InMemory::new()), "state").unwrap();
    let tables = ["depths", "joined", "counts"].map(|topic| (topic, MemoryTable::default()));
    let run = |workers, records: &str| {
        for (key, value) in parsed(records) {
            log.append(0, key, value);
        }
        let mut streams = Streams::new(Topology::new("depths", depths)).source("next", log.clone());
        for (topic, table) in &tables {
            streams = streams.sink(topic, table.clone());
        }
        let config = Config { workers, state: Some(state.clone()), ..Config::default() };
        streams.run(config).unwrap();
        tables[0].1.rows().iter().map(|row| shown(row)).collect::<Vec<_>>()
    };
    let rows = |workers, records| run(workers, records).join(" ");
    assert_eq!(rows(1, "n1=0 n2=1 n3=2 n4=3"), "n1=1 n2=2 n3=3 n4=4");
    assert_eq!(rows(3, "n3=1 n5=4 n2="), "n1=1 n3=2 n4=3 n5=4");
    assert_eq!(rows(2, ""), "n1=1 n3=2 n4=3 n5=4");
}

#[test]
fn a_store_shows_the_rows_of_a_collection() {
    let topology = Topology::new("store", |builder: &StreamsBuilder<'_>| {
        let rows: Rows<'_> = (&table(builder, "rows")).into();
        let back = KTable::from_collection(builder, "back", rows);
        back.materialize(Materialized::named("back"));
    });
    let mut driver = TopologyTestDriver::with_workers(topology, 3).unwrap();
    let store: ReadOnlyStore<String, i64> = driver.store("back").unwrap();
    for (key, value) in parsed("a=1 b=2 a=3") {
        driver.pipe("rows", 0, key, value);
    }
    driver.commit().unwrap();
    assert_eq!((store.get("a"), store.get("b")), (Some(3), Some(2)));
}
