//! Partition times and watermarks, as an operator receives them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use timely::dataflow::operators::Inspect;

use crate::builder::StreamsBuilder;
use crate::options::{Consumed, Produced};
use crate::row::Value;
use crate::serdes::Int64;
use crate::sync::lock;
use crate::testing::TopologyTestDriver;
use crate::time::{Epoch, Timestamp};
use crate::topology::Topology;

/// The times that an operator behind a topic has received.
#[derive(Default)]
struct Seen {
    /// By partition and value, the partition time.
    times: BTreeMap<(u32, i64), i64>,
    /// By worker, its watermarks.
    watermarks: BTreeMap<usize, Vec<(Epoch, i64)>>,
}

/// A topology that passes its times to a log. The value of a record is its timestamp.
fn timed(seen: &Arc<Mutex<Seen>>) -> Topology {
    let seen = seen.clone();
    Topology::new("timed", move |builder: &StreamsBuilder<'_>| {
        let consumed = || {
            let at = |_: &i64, value: &i64| (*value != 13).then_some(Timestamp(*value));
            Consumed::with(Int64, Int64).timestamp(at)
        };
        let events = builder.stream("a", consumed()).merge(&builder.stream("b", consumed()));
        let (log, graph) = (seen.clone(), events.graph.clone());
        graph.end(events.events.clone().inspect(move |event| {
            let id = (event.order.partition, event.value);
            lock(&log).times.insert(id, event.partition_time.0);
        }));
        let (log, worker) = (seen.clone(), graph.scope().index());
        graph.end(graph.watermarks(events.node).inspect_time(move |epoch, watermark| {
            lock(&log).watermarks.entry(worker).or_default().push((*epoch, watermark.0));
        }));
    })
}

#[test]
fn records_have_the_greatest_timestamp_of_their_partition() {
    for (workers, processes) in [(1, 1), (3, 1), (2, 2)] {
        let seen = Arc::default();
        let mut driver =
            TopologyTestDriver::with_processes(timed(&seen), processes, workers).unwrap();
        let pipe = |driver: &mut TopologyTestDriver, topic: &str, partition, time: i64| {
            driver.pipe(topic, partition, Some(&[0; 8]), Some(&time.to_be_bytes()));
        };
        for time in [5, 3, 9, 13, 7] {
            pipe(&mut driver, "a", 0, time);
        }
        driver.commit().unwrap();
        assert!(lock(&seen).watermarks.is_empty(), "a partition of topic b has no time");
        [6, 2].into_iter().for_each(|time| pipe(&mut driver, "b", 0, time));
        driver.commit().unwrap();
        [20, 1].into_iter().for_each(|time| pipe(&mut driver, "b", 0, time));
        driver.commit().unwrap();
        pipe(&mut driver, "a", 0, 8);
        driver.commit().unwrap();
        assert_eq!(driver.dead_letters().len(), 1);
        drop(driver);
        let seen = lock(&seen);
        let times = [(5, 5), (3, 5), (9, 9), (7, 9), (6, 6), (2, 6), (20, 20), (1, 20), (8, 9)];
        assert_eq!(seen.times, times.map(|(value, time)| ((0, value), time)).into());
        let watermarks: Vec<_> = seen.watermarks.values().collect();
        assert_eq!(watermarks.len(), workers * processes);
        for worker in watermarks {
            let values: Vec<_> = worker.iter().map(|(_, watermark)| *watermark).collect();
            assert_eq!(values, [6, 9]);
        }
    }
}

#[test]
fn a_record_without_a_time_is_a_dead_letter_where_time_is_used() {
    let run = |is_timed: bool| {
        let topology = Topology::new("timed", move |builder: &StreamsBuilder<'_>| {
            let events = builder.stream("in", Consumed::with(Int64, Int64));
            if is_timed {
                events.graph.use_time(events.node);
            }
            events.to("out", Produced::columns(["id", "n"]));
        });
        let mut driver = TopologyTestDriver::new(topology).unwrap();
        driver.set_time(None);
        driver.pipe("in", 0, Some(&[0; 8]), Some(&[0; 8]));
        driver.commit().unwrap();
        let letters = driver.dead_letters();
        (driver.rows("out").len(), letters.first().map(|letter| letter[3].clone()))
    };
    assert_eq!(run(true), (0, Some(Value::Text("no timestamp".into()))));
    assert_eq!(run(false), (1, None));
}
