//! Runs over one log in two places equal runs over one whole archive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use object_store::memory::InMemory;
use watershed::connect::memory::MemoryTable;
use watershed::connect::{Poll, Source};
use watershed::connectors::archive::Rotation;
use watershed::options::{Consumed, Produced};
use watershed::row::Value;
use watershed::runtime::{Config, Streams, Summary};
use watershed::serdes::Reject;
use watershed::store::Store;
use watershed::{DEAD_LETTERS, ErrorKind, Result, StreamsBuilder, Topology};

use super::contract::Held;
use super::handoff::*;
use crate::support::{Dice, shown};

/// Decodes a JSON object's `k` and `v`.
fn row(value: Option<&[u8]>) -> Result<(i64, i64), Reject> {
    let object: serde_json::Value = serde_json::from_slice(value.unwrap_or_default())
        .map_err(|e| Reject::new("invalid json", e))?;
    object["k"].as_i64().zip(object["v"].as_i64()).ok_or_else(|| Reject::new("no row", ""))
}

fn program() -> Topology {
    Topology::new("program", |builder: &StreamsBuilder<'_>| {
        builder.table("rows", Consumed::from_value(row)).to("kept", Produced::columns(["k", "v"]));
    })
}

/// Tables and state, which outlive runs.
#[derive(Default)]
struct World {
    kept: MemoryTable,
    dead: MemoryTable,
    objects: Arc<InMemory>,
}

impl World {
    fn run(&self, source: impl Source + 'static) -> Result<Summary> {
        let streams = Streams::new(program()).source("rows", source);
        let streams = streams.sink("kept", self.kept.clone()).sink(DEAD_LETTERS, self.dead.clone());
        let state = Some(Store::objects(self.objects.clone(), "state")?);
        streams.run(Config { workers: 2, state, commit_every: Duration::ZERO, ..Config::default() })
    }

    /// Deletes all snapshots, so that the next run reads all records again.
    fn forget_snapshots(&self) {
        let state = Store::objects(self.objects.clone(), "state").unwrap();
        for (name, _) in state.list("snap").unwrap() {
            state.delete(&format!("snap/{name}")).unwrap();
        }
    }

    fn shown(&self) -> [Vec<String>; 2] {
        [&self.kept, &self.dead].map(|table| table.rows().iter().map(|row| shown(row)).collect())
    }
}

#[test]
fn runs_over_a_moving_boundary_equal_one_over_an_archive() {
    for seed in 0..20 {
        let (world, log, mut dice) = (World::default(), Log::new(0), Dice::new(seed));
        let mut ends = BTreeMap::from([(0, 0), (1, 0), (2, 0)]);
        for step in 0..8 {
            for (partition, end) in &mut ends {
                for _ in 0..dice.below(6) {
                    let text = format!("{{\"k\":{},\"v\":1{seed}{end}{partition}}}", dice.below(5));
                    let value = [Some(text.as_bytes()), None, Some(b"\n")]
                        [dice.below(7).saturating_sub(4) as usize];
                    log.topic.0.append(*partition, (dice.below(2) == 0).then_some(b"key"), value);
                    *end += 1;
                }
                log.archive(*partition, dice.below(*end + 1));
            }
            // Retention has one offset for all partitions, so it must keep the unarchived records
            // of each.
            let archived = ends
                .keys()
                .map(|partition| {
                    log.archived().span(*partition).unwrap().map_or(0, |span| span.end)
                })
                .min();
            let kept = dice.below(archived.unwrap() + 1).max(log.topic.1.load(Ordering::Relaxed));
            log.topic.1.store(kept, Ordering::Relaxed);
            // The first runs may follow the archive alone.
            if step < 2 && seed % 2 == 0 {
                world.run(log.archived())
            } else {
                world.run(log.both())
            }
            .unwrap();
        }
        let (whole, copy) = (World::default(), Log::new(0));
        for partition in ends.keys() {
            let mut copier = copy
                .archived()
                .copy(*partition, Rotation { flush_size: 1, rotate_interval: None })
                .unwrap();
            let mut reader = log.topic.0.open(*partition, None, false).unwrap();
            while let Poll::Batch(batch) = reader.poll().unwrap() {
                copier.push(&batch).unwrap();
            }
        }
        whole.run(copy.archived()).unwrap();
        assert_eq!(world.shown(), whole.shown(), "seed {seed}");
    }
}

#[test]
fn records_of_the_topic_are_read_there_again() {
    let (world, log) = (World::default(), Log::of(3, 0));
    world.run(log.both()).unwrap();
    log.archive(2, RECORDS);
    let path = "topics/topic/partition=2/topic+2+0000000005.json";
    log.archive.0.store.put(path, b"{\"v\":5,\"k\":1}\n").unwrap();
    world.forget_snapshots();
    let again = world.run(log.both()).unwrap();
    assert_eq!((again.recovered, again.topics["rows"].read), (RECORDS, RECORDS));
    // Once the record has expired in the topic, other bytes are another record.
    log.topic.1.store(6, Ordering::Relaxed);
    world.forget_snapshots();
    assert_eq!(world.run(log.both()).unwrap_err().kind(), ErrorKind::Data);
    log.archive.0.store.put(path, b"{\"k\":1, \"v\":5}\n").unwrap();
    world.run(log.both()).unwrap();
    assert_eq!(
        world.run(log.topic.clone()).unwrap_err().kind(),
        ErrorKind::Data,
        "half a log continues none"
    );
}

#[test]
fn a_long_value_is_the_same_dead_letter_in_both_places() {
    let long = [&b"{\"k\":1,\"v\":1"[..], &b" ".repeat(64 << 20), b"}"].concat();
    let values: [&[u8]; 3] = [b"{\"k\":0,\"v\":0}", &long, b"{\"k\":2,\"v\":2}"];
    let letter = [Value::Text("too large".into()), Value::Text(format!("{} bytes", long.len()))];
    for archived in 0..=3 {
        let (world, log) = (World::default(), Log::new(0));
        for value in values {
            log.topic.0.append(2, None, Some(value));
        }
        if archived > 0 {
            log.archive.append(2, &values[..archived]);
        }
        for run in 0..2 {
            let summary = world.run(log.both()).unwrap();
            assert_eq!(
                (summary.recovered, summary.topics["rows"].dead),
                (3 * run, 1),
                "{archived} archived"
            );
        }
        assert_eq!(
            world.kept.rows().iter().map(|row| shown(row)).collect::<Vec<_>>(),
            ["0=0", "2=2"]
        );
        let dead = world.dead.rows();
        assert_eq!((dead.len(), &dead[0][3..5]), (1, &letter[..]));
        assert_eq!(dead[0][5], Value::Binary(long[..2 << 20].to_vec()));
        // The record is recognised in the other place.
        if archived < 3 {
            log.archive.append(2, &values[archived..]);
        }
        log.topic.1.store(3, Ordering::Relaxed);
        assert_eq!(world.run(log.both()).unwrap().recovered, 3, "{archived} archived");
    }
}

#[test]
fn a_truncated_value_is_not_copied() {
    let (from, to) = (Log::new(0), Log::new(0));
    from.archive.append(2, &[b"{}", &b"x".repeat((64 << 20) + 1), b"{}"]);
    let mut copier =
        to.archived().copy(2, Rotation { flush_size: 1, rotate_interval: None }).unwrap();
    let mut reader = from.archived().open(2, None, false).unwrap();
    let error = std::iter::from_fn(|| match reader.poll() {
        Ok(Poll::Batch(batch)) => Some(copier.push(&batch)),
        _ => None,
    });
    let error = error.filter_map(Result::err).next().unwrap();
    assert!(
        error.kind() == ErrorKind::Data && error.to_string().contains("offset 1 of"),
        "{error}"
    );
    assert_eq!((copier.next(), to.archived().span(2).unwrap()), (Some(1), Some(0..1)));
}
