//! Kafka to Delta: a topic becomes a table that is right at every commit.
//!
//! `cargo run --example kafka_to_delta -- 127.0.0.1:9092 readings lake/latest` reads JSON objects
//! such as `{"sensor": "s1", "celsius": 21}` and keeps the greatest value of each sensor as a Delta
//! table. A second start continues after the last commit. No record counts twice.
//!
//! ```text
//! 3 new records, commit 1
//! s1 23
//! s2 18
//! ```

use serde::{Deserialize, Serialize};
use watershed::connectors::delta::{Delta, Table};
use watershed::connectors::kafka::Kafka;
use watershed::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Reading {
    sensor: String,
    celsius: i64,
}

fn topology(builder: &StreamsBuilder<'_>) {
    builder
        .stream("readings", Consumed::keyed_by(Json, |reading: &Reading| reading.sensor.clone()))
        .map_values(|reading| reading.celsius)
        .group_by_key()
        .max()
        .to("greatest", Produced::columns(["sensor", "celsius"]));
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, lake] = args.as_slice() else {
        return Err(Error::config("three arguments are needed: BROKERS TOPIC FOLDER"));
    };
    let table = format!("{lake}/greatest");
    let state = Some(Store::open(&format!("{lake}/_watershed"))?);
    let summary = Streams::new(Topology::new("readings", topology))
        .source("readings", Kafka::open(&format!("kafka://{brokers}"))?.topic(topic)?)
        .sink("greatest", Delta::table(&table)?)
        .run(Config { state, ..Config::default() })?;

    let new = summary.topics["readings"].read - summary.recovered;
    println!("{new} new records, commit {}", summary.committed);
    // The rows of a table have no order: each worker writes those of its keys.
    let mut rows = Vec::new();
    Table::open(&table)?.for_each(&mut |row| {
        rows.push(row.to_vec());
        Ok(())
    })?;
    rows.sort();
    for row in &rows {
        if let [Value::Text(sensor), Value::Long(celsius)] = row.as_slice() {
            println!("{sensor} {celsius}");
        }
    }
    Ok(())
}
