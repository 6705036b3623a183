//! A reader in any thread sees a materialized table as of the close of one epoch.

use std::sync::mpsc::channel;
use std::time::Duration;

use watershed::options::{Materialized, Produced, Ties};
use watershed::row::{Row, Value};
use watershed::testing::TopologyTestDriver;
use watershed::{Datum, KTable, StreamsBuilder, Topology, View};

use crate::support::{Dice, pair, parsed, table};

const WORKERS: [usize; 3] = [1, 2, 4];

fn driver(
    workers: usize,
    build: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync + 'static,
) -> TopologyTestDriver {
    TopologyTestDriver::with_workers(Topology::new("stores", build), workers).unwrap()
}

fn pipe(driver: &mut TopologyTestDriver, records: &str) {
    parsed(records).for_each(|(key, value)| driver.pipe("rows", 0, key, value));
}

/// Returns all rows of a view in the notation of records.
fn all(view: &View<String, i64>) -> String {
    view.all().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// Returns all rows of a view as a sink receives them.
fn rows<K: Datum + Row, V: Datum + Row>(view: &View<K, V>) -> Vec<Vec<Value>> {
    let row = |(key, value): (&K, &V)| {
        let mut row = Vec::new();
        key.put(&mut row);
        value.put(&mut row);
        row
    };
    view.all().map(row).collect()
}

#[test]
fn a_store_shows_the_table_as_of_the_last_closed_epoch() {
    for workers in WORKERS {
        let mut driver =
            driver(workers, |b| drop(table(b, "rows").materialize(Materialized::named("kept"))));
        let kept = driver.store::<String, i64>("kept").unwrap();
        assert_eq!((kept.view().epoch(), kept.view().is_empty()), (Some(0), true));
        pipe(&mut driver, "a=1 b=2 c=3 a=4 d=5 d=");
        assert!(kept.view().is_empty(), "the epoch is open");
        driver.commit().unwrap();
        let view = kept.view();
        assert_eq!((all(&view), view.len(), view.epoch()), ("a=4 b=2 c=3".into(), 3, Some(1)));
        assert_eq!((kept.get("a"), kept.get("d"), kept.get("e")), (Some(4), None, None));
        pipe(&mut driver, "b= e=6 c=3");
        driver.commit().unwrap();
        assert_eq!((all(&kept.view()), kept.view().epoch()), ("a=4 c=3 e=6".into(), Some(2)));
        assert_eq!(all(&view), "a=4 b=2 c=3", "a view stays what it was");
        driver.commit().unwrap();
        assert_eq!(kept.view().epoch(), Some(2), "nothing new is no epoch");
    }
}

#[test]
fn a_range_of_keys_is_read_in_their_order() {
    let mut driver = driver(2, |b| drop(table(b, "rows").materialize(Materialized::named("kept"))));
    let records: Vec<String> = (0..500).map(|n| format!("k{n:03}={n}")).collect();
    pipe(&mut driver, &records.join(" "));
    driver.commit().unwrap();
    let view = driver.store::<String, i64>("kept").unwrap().view();
    let range = |from: &str, to: &str| {
        view.range(from.to_string()..to.to_string()).map(|(_, n)| *n).collect::<Vec<_>>()
    };
    assert_eq!(range("k100", "k104"), [100, 101, 102, 103]);
    assert_eq!(range("k4985", "zzz"), [499]);
    assert_eq!(
        view.range("k497".to_string()..).rev().map(|(_, n)| *n).collect::<Vec<_>>(),
        [499, 498, 497]
    );
    assert_eq!(view.range(..="k001".to_string()).count(), 2);
    assert_eq!(range("k200", "k100"), [0; 0], "a range that ends before it begins is empty");
    assert_eq!(view.range::<String>(..).count(), 500);
}

#[test]
fn a_store_and_a_sink_of_one_table_hold_the_same_rows() {
    fn both<K: Datum + Row, V: Datum + Row>(table: KTable<'_, K, V>, name: &str) {
        let columns = K::columns().len() + V::columns().len();
        table
            .materialize(Materialized::named(name))
            .to(name, Produced::columns((0..columns).map(|n| n.to_string())));
    }
    for workers in WORKERS {
        let mut driver = driver(workers, |builder| {
            let rows = table(builder, "rows");
            let groups = rows.group_by(|_, v| ((v % 3).to_string(), *v));
            both(rows.clone(), "rows");
            both(rows.filter(|_, v| v % 2 == 0), "even");
            both(rows.join(&rows.map_values(|v| v + 1), |a, b| a * b), "joined");
            both(groups.count(), "count");
            both(groups.count().map_values(|n| n % 2), "parity");
            both(groups.top(2, Ties::Keep, |v| v % 5), "top");
        });
        let (mut dice, pairs) = (Dice::new(7), ["rows", "even", "joined", "count", "parity"]);
        let pairs = pairs.map(|name| (name, driver.store::<String, i64>(name).unwrap()));
        let top = driver.store::<(String, i64), ()>("top").unwrap();
        for epoch in 1..20 {
            for _ in 0..dice.below(20) + 1 {
                let value =
                    if dice.below(4) == 0 { String::new() } else { dice.below(30).to_string() };
                let (partition, key) = (dice.below(2), format!("k{}", dice.below(12)));
                let value = (!value.is_empty()).then_some(value.as_bytes());
                driver.pipe("rows", partition as u32, Some(key.as_bytes()), value);
            }
            driver.commit().unwrap();
            for (name, store) in &pairs {
                assert_eq!(
                    rows(&store.view()),
                    driver.rows(name),
                    "{name}, {workers} workers, epoch {epoch}"
                );
                assert_eq!(store.view().epoch(), Some(epoch), "{name}");
            }
            assert_eq!(rows(&top.view()), driver.rows("top"), "{workers} workers, epoch {epoch}");
        }
    }
}

#[test]
fn a_reader_never_sees_half_an_epoch() {
    const KEYS: usize = 64;
    for workers in WORKERS {
        let mut driver =
            driver(workers, |b| drop(table(b, "rows").materialize(Materialized::named("kept"))));
        let kept = driver.store::<String, i64>("kept").unwrap();
        let (sender, epochs) = channel();
        std::thread::scope(|scope| {
            // Each view is consistent and not older than the previous one.
            scope.spawn(move || {
                let mut last = None;
                while last != Some(40) {
                    let view = kept.view();
                    assert!(view.epoch() >= last);
                    if view.epoch() > Some(0) {
                        let values: Vec<u64> = view.all().map(|(_, value)| *value as u64).collect();
                        assert_eq!(values, [view.epoch().unwrap(); KEYS], "{workers} workers");
                    }
                    if view.epoch() != last {
                        last = view.epoch();
                        sender.send(last).unwrap();
                    }
                }
            });
            for epoch in 1..=40 {
                let records: Vec<String> = (0..KEYS).map(|key| format!("k{key}={epoch}")).collect();
                pipe(&mut driver, &records.join(" "));
                driver.commit().unwrap();
                // Wait until the reader has seen this epoch before the next one is made.
                while epochs.recv_timeout(Duration::from_secs(30)).unwrap() != Some(epoch) {}
            }
        });
    }
}

#[test]
fn a_table_may_be_materialized_and_used_as_before() {
    let mut driver = driver(2, |builder| {
        let rows =
            table(builder, "rows").materialize(Materialized::named("rows")).named("all rows");
        rows.map_values(|v| v * 2)
            .materialize(Materialized::named("doubled"))
            .to("doubled", pair());
    });
    pipe(&mut driver, "a=1 b=2");
    driver.commit().unwrap();
    assert_eq!(all(&driver.store("rows").unwrap().view()), "a=1 b=2");
    assert_eq!(all(&driver.store("doubled").unwrap().view()), "a=2 b=4");
    assert_eq!(driver.rows("doubled").len(), 2);
    assert_eq!(
        driver.store::<String, i64>("tripled").unwrap_err().kind(),
        watershed::ErrorKind::Config
    );
}
