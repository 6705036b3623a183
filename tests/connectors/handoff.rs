//! One log in two places: wherever the archive ends and the topic begins, what is read is the log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{HandOff, Partition, Poll, Source};
use watershed::connectors::archive::{ArchiveTopic, Rotation};
use watershed::options::{Consumed, Produced};
use watershed::row::Value;
use watershed::runtime::{Config, Streams, Summary};
use watershed::serdes::Reject;
use watershed::store::Store;
use watershed::{DEAD_LETTERS, ErrorKind, Result, StreamsBuilder, Topology};

use super::contract::{Held, source_contract};
use super::{Spot, Topic};
use crate::support::{Dice, shown};

/// A log in memory of which retention has taken what is before an offset.
#[derive(Clone, Default)]
struct Topics(MemoryLog, Arc<AtomicU64>);

impl Source for Topics {
    fn describe(&self) -> String {
        "the topic".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Source::partitions(&self.0)
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let kept = self.1.load(Ordering::Relaxed);
        assert!(
            from.is_none_or(|from| from >= kept),
            "offset {from:?} is asked for, of a topic that begins at {kept}"
        );
        self.0.open(partition, Some(from.unwrap_or(kept)), follow)
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        Ok(self.0.span(partition)?.map(|span| self.1.load(Ordering::Relaxed)..span.end))
    }
}

/// A topic, and an archive of it that is as far behind as is told.
struct Log {
    topic: Topics,
    archive: Topic,
    /// Of how many appends one is archived at once, with all before it; none if 0.
    every: u64,
    appends: AtomicU64,
}

impl Log {
    fn new(every: u64) -> Self {
        Log {
            topic: Topics::default(),
            archive: Topic::new(Spot::memory()),
            every,
            appends: AtomicU64::default(),
        }
    }

    /// A partition of records of every kind, of which `archived` are archived and the last from
    /// `kept` on are in the topic.
    fn of(archived: u64, kept: u64) -> Self {
        let log = Log::new(0);
        for n in 0..RECORDS {
            let text = format!("{{\"k\":{},\n\"v\":{n}}}", n % 4);
            let (key, value) = (n % 3 == 1)
                .then_some((&b"key"[..], text.as_bytes()))
                .map_or((None, text.as_bytes()), |(k, v)| (Some(k), v));
            log.topic.0.append(2, key, (n % 5 != 4).then_some(value));
        }
        log.archive(2, archived);
        log.topic.1.store(kept, Ordering::Relaxed);
        log
    }

    /// Brings the archive of a partition up to an offset.
    fn archive(&self, partition: u32, to: u64) {
        let mut copier = self
            .archived()
            .copy(partition, Rotation { flush_size: 1, rotate_interval: None })
            .unwrap();
        let mut reader = self.topic.0.open(partition, copier.next(), false).unwrap();
        while let Poll::Batch(mut batch) = reader.poll().unwrap() {
            batch.split_off(to);
            copier.push(&batch).unwrap();
        }
    }

    fn archived(&self) -> ArchiveTopic {
        self.archive.topic()
    }

    fn both(&self) -> HandOff {
        HandOff::new(self.archived(), self.topic.clone())
    }
}

const RECORDS: u64 = 12;

impl Held for Log {
    fn append(&self, partition: u32, values: &[&[u8]]) {
        Held::append(&self.topic.0, partition, values);
        if self.every > 0 && self.appends.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every)
        {
            self.archive(partition, u64::MAX);
        }
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(self.both())
    }
}

/// Offset, key, and value of each record that is there.
fn read(partition: &mut dyn Partition) -> Result<Vec<(u64, bool, String)>> {
    let mut records = Vec::new();
    while let Poll::Batch(batch) = partition.poll()? {
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        records.extend(
            batch
                .iter(0)
                .map(|r| (r.order.offset, r.key.is_some() || r.timestamp.is_some(), text(r.value))),
        );
    }
    Ok(records)
}

fn refused(source: &dyn Source, from: Option<u64>) -> String {
    let error =
        source.open(2, from, false).and_then(|mut partition| read(&mut *partition)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    error.to_string()
}

#[test]
fn a_log_in_two_places_keeps_the_contract_of_sources() {
    for every in 0..=3 {
        source_contract(|| Box::new(Log::new(every)));
    }
}

#[test]
fn the_same_records_come_wherever_the_archive_ends_and_the_topic_begins() {
    let whole = read(&mut *Log::of(RECORDS, 0).archived().open(2, None, false).unwrap()).unwrap();
    assert_eq!(whole.len() as u64, RECORDS);
    for archived in 0..=RECORDS {
        for kept in 0..=archived {
            let log = Log::of(archived, kept);
            assert_eq!(log.both().span(2).unwrap(), Some(0..RECORDS));
            for from in 0..=RECORDS {
                let records = read(&mut *log.both().open(2, Some(from), false).unwrap()).unwrap();
                assert_eq!(
                    records,
                    whole[from as usize..],
                    "{archived} archived, the topic from {kept}, read from {from}"
                );
            }
            let mut follower = log.both().open(2, None, true).unwrap();
            assert_eq!(read(&mut *follower).unwrap(), whole);
            log.topic.0.append(2, Some(b"key"), None);
            assert_eq!(read(&mut *follower).unwrap(), [(RECORDS, false, "null".to_string())]);
        }
    }
}

#[test]
fn a_topic_that_reaches_farther_back_than_its_archive_is_read_from_its_beginning() {
    let (log, late) = (Log::of(0, 0), Log::of(0, 0));
    let mut copier =
        late.archived().copy(2, Rotation { flush_size: 2, rotate_interval: None }).unwrap();
    let Poll::Batch(mut batch) = log.topic.0.open(2, None, false).unwrap().poll().unwrap() else {
        panic!("no batch")
    };
    copier.push(&batch.split_off(5)).unwrap();
    assert_eq!(late.archived().span(2).unwrap(), Some(5..11));
    assert_eq!(
        read(&mut *late.both().open(2, None, false).unwrap()).unwrap().len() as u64,
        RECORDS
    );
}

#[test]
fn a_reader_that_was_overtaken_by_retention_goes_on_in_the_archive_that_grew() {
    let log = Log::of(4, 0);
    let mut opened = log.both().open(2, None, false).unwrap();
    log.archive(2, 9);
    log.topic.1.store(8, Ordering::Relaxed);
    let offsets: Vec<u64> = read(&mut *opened).unwrap().iter().map(|record| record.0).collect();
    assert_eq!(offsets, (0..RECORDS).collect::<Vec<_>>());
    assert_eq!(opened.remaining(), 0);
}

#[test]
fn what_is_no_archive_of_the_topic_is_refused() {
    let log = Log::of(4, 5);
    assert!(refused(&log.both(), None).contains("lacks the offsets from 4 up to 5"));
    let (longer, log) = (Log::of(RECORDS, 0), Log::new(0));
    log.topic.0.append(2, None, Some(b"{}"));
    assert!(
        refused(&HandOff::new(longer.archived(), log.topic.clone()), None)
            .contains("ends at 12, the other at 1")
    );
    // Of the same length, but not the same.
    let log = Log::of(7, 0);
    let other = Log::of(0, 0);
    let path = "topics/topic/partition=2/topic+2+0000000006.json";
    let (line, reordered) =
        (log.archive.0.store.get(path).unwrap().unwrap(), b"{ \"v\":6, \"k\":2 }\n");
    assert_eq!(line, b"{\"k\":2, \"v\":6}\n");
    for (text, fits) in [
        (&line[..], true),
        (reordered, true),
        (b"{\"k\":2,\"v\":7}\n", false),
        (b"{\"k\"\n", false),
    ] {
        log.archive.0.store.put(path, text).unwrap();
        let both = HandOff::new(log.archived(), other.topic.clone());
        if fits {
            assert_eq!(
                read(&mut *both.open(2, None, false).unwrap()).unwrap().len() as u64,
                RECORDS
            );
        } else {
            [2, 6, 7].iter().for_each(|from| {
                assert!(
                    refused(&both, Some(*from)).contains("other records at offset 6"),
                    "from {from}"
                )
            });
        }
    }
    assert_eq!(
        log.both().recall(&serde_json::json!({ "two": 2 })).unwrap_err().kind(),
        ErrorKind::Data
    );
    assert!(refused(&log.both(), Some(RECORDS + 1)).contains("from 0 up to 12"));
}

/// Rows of a JSON object's `k` and `v`.
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

    fn shown(&self) -> [Vec<String>; 2] {
        [&self.kept, &self.dead].map(|table| table.rows().iter().map(|row| shown(row)).collect())
    }
}

#[test]
fn runs_between_which_the_archive_grows_and_the_topic_forgets_equal_one_over_a_whole_archive() {
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
            // One number for all: the topic keeps what is not archived of any of them.
            let archived = ends
                .keys()
                .map(|partition| {
                    log.archived().span(*partition).unwrap().map_or(0, |span| span.end)
                })
                .min();
            let kept = dice.below(archived.unwrap() + 1).max(log.topic.1.load(Ordering::Relaxed));
            log.topic.1.store(kept, Ordering::Relaxed);
            // The archive may be followed alone at first.
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
fn what_was_read_from_the_topic_is_read_there_again_though_the_archive_has_it_in_other_bytes() {
    let (world, log) = (World::default(), Log::of(3, 0));
    world.run(log.both()).unwrap();
    log.archive(2, RECORDS);
    let path = "topics/topic/partition=2/topic+2+0000000005.json";
    log.archive.0.store.put(path, b"{\"v\":5,\"k\":1}\n").unwrap();
    let again = world.run(log.both()).unwrap();
    assert_eq!((again.recovered, again.topics["rows"].read), (RECORDS, RECORDS));
    // Where it is gone, other bytes are another record.
    log.topic.1.store(6, Ordering::Relaxed);
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
fn a_value_that_is_too_long_is_the_same_dead_letter_wherever_it_is_read_and_stops_no_run() {
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
        // In the other place it is the same record.
        if archived < 3 {
            log.archive.append(2, &values[archived..]);
        }
        log.topic.1.store(3, Ordering::Relaxed);
        assert_eq!(world.run(log.both()).unwrap().recovered, 3, "{archived} archived");
    }
}

#[test]
fn a_value_of_which_only_the_beginning_was_read_is_not_copied() {
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
