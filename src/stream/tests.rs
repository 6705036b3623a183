//! Tests of the timestamps of events, which are not visible outside the engine.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use timely::dataflow::operators::Inspect;

use super::KStream;
use crate::prelude::{Consumed, Int64, Json, Timestamp, Topology, TopologyTestDriver};
use crate::{KTable, StreamsBuilder};

type Stamped = (&'static str, Option<Timestamp>);
type Log = Arc<Mutex<BTreeSet<Stamped>>>;

/// Collects the timestamps of a stream's events, under the name of the stream.
fn collect(name: &'static str, stream: &KStream<'_, i64, i64>, log: &Log) {
    let log = log.clone();
    let events = stream.events.clone().inspect(move |event| {
        log.lock().unwrap().insert((name, event.timestamp));
    });
    stream.graph.end(events);
}

#[test]
fn verbs_keep_the_timestamp_of_their_record() {
    let log = Log::default();
    let collected = log.clone();
    let build = move |builder: &StreamsBuilder<'_>| {
        let numbers = builder.stream::<i64, i64>("numbers", Consumed::with(Int64, Int64));
        let rows: KTable<'_, i64, i64> = builder.table("rows", Consumed::with(Int64, Int64));
        let streams = [
            ("filter", numbers.filter(|_, _| true)),
            ("map", numbers.map(|k, v| (v, k))),
            ("map_values", numbers.map_values(|v| v + 1)),
            ("flat_map", numbers.flat_map(|k, v| [(k, v), (v, k)])),
            ("flat_map_values", numbers.flat_map_values(|v| [v, v + 1])),
            ("select_key", numbers.select_key(|_, v| *v)),
            ("peek", numbers.peek(|_, _| {})),
            ("merge", numbers.merge(&numbers.map(|k, v| (v, k)))),
            ("join", numbers.join(&rows, |v, row| v + row)),
            ("left_join", numbers.left_join(&rows, |v, row| v + row.unwrap_or(&0))),
        ];
        streams.iter().for_each(|(name, stream)| collect(name, stream, &collected));
    };
    let mut driver = TopologyTestDriver::new(Topology::new("times", build)).unwrap();
    let (numbers, rows) =
        (driver.input("numbers", Int64, Int64), driver.input("rows", Int64, Int64));
    rows.pipe_at(&mut driver, &1, &2, Timestamp(99));
    numbers.pipe_at(&mut driver, &1, &7, Timestamp(-5));
    driver.commit().unwrap();
    let seen = std::mem::take(&mut *log.lock().unwrap());
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|(_, time)| *time == Some(Timestamp(-5))), "{seen:?}");
}

#[test]
fn the_extractor_goes_before_the_connector_and_none_stays_none() {
    let log = Log::default();
    let collected = log.clone();
    let build = move |builder: &StreamsBuilder<'_>| {
        let taken = Consumed::with(Int64, Json).timestamp(|k: &i64, v: &i64| Timestamp(k + v));
        collect("taken", &builder.stream("taken", taken), &collected);
        collect("given", &builder.stream("given", Consumed::with(Int64, Json)), &collected);
    };
    let mut driver = TopologyTestDriver::new(Topology::new("times", build)).unwrap();
    let inputs = ["taken", "given"].map(|topic| driver.input::<i64, i64, _, _>(topic, Int64, Json));
    for time in [Some(Timestamp(8)), None] {
        driver.set_time(time);
        inputs.iter().for_each(|input| input.pipe(&mut driver, &40, &2));
    }
    driver.commit().unwrap();
    let seen: Vec<Stamped> = log.lock().unwrap().iter().copied().collect();
    let expected = [("given", None), ("given", Some(Timestamp(8))), ("taken", Some(Timestamp(42)))];
    assert_eq!(seen, expected);
}
