//! One log in two places: for any end of the archive and any begin of the topic, a reader gets the
//! whole log.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed::connect::memory::MemoryLog;
use watershed::connect::{Partition, Poll, Source};
use watershed::connectors::archive::{ArchiveTopic, HybridSource, Rotation};
use watershed::{ErrorKind, Result};

use super::contract::{Held, source_contract};
use super::{Spot, Topic};

/// A log in memory whose retention has removed the records before an offset.
#[derive(Clone, Default)]
pub(super) struct Topics(pub(super) MemoryLog, pub(super) Arc<AtomicU64>);

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
            "offset {from:?} is requested from a topic that begins at {kept}"
        );
        self.0.open(partition, Some(from.unwrap_or(kept)), follow)
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        Ok(self.0.span(partition)?.map(|span| self.1.load(Ordering::Relaxed)..span.end))
    }
}

/// A topic, and an archive that lags behind it.
pub(super) struct Log {
    pub(super) topic: Topics,
    pub(super) archive: Topic,
    /// After every `every` appends the whole partition is archived; 0 for never.
    every: u64,
    appends: AtomicU64,
}

impl Log {
    pub(super) fn new(every: u64) -> Self {
        Log {
            topic: Topics::default(),
            archive: Topic::new(Spot::memory()),
            every,
            appends: AtomicU64::default(),
        }
    }

    /// Creates a partition with all kinds of records. The first `archived` are in the archive, and
    /// those from `kept` on are in the topic.
    pub(super) fn of(archived: u64, kept: u64) -> Self {
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

    /// Archives a partition up to an offset.
    pub(super) fn archive(&self, partition: u32, to: u64) {
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

    pub(super) fn archived(&self) -> ArchiveTopic {
        self.archive.topic()
    }

    pub(super) fn both(&self) -> HybridSource {
        HybridSource::new(self.archived(), self.topic.clone())
    }
}

pub(super) const RECORDS: u64 = 12;

impl Held for Log {
    fn append(&self, partition: u32, values: &[&[u8]]) {
        Held::append(&self.topic.0, partition, values);
        if self.every > 0 && self.appends.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every)
        {
            self.archive(partition, u64::MAX);
        }
    }

    fn lose(&self, partition: u32, before: u64) -> bool {
        self.topic.1.store(before, Ordering::Relaxed);
        self.archive.lose(partition, before)
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(self.both())
    }
}

/// Reads all records: offset, presence of a key or timestamp, and value.
pub(super) fn read(partition: &mut dyn Partition) -> Result<Vec<(u64, bool, String)>> {
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

pub(super) fn refused(source: &dyn Source, from: Option<u64>) -> String {
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
fn any_boundary_of_archive_and_topic_gives_the_same_records() {
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
fn a_topic_older_than_its_archive_is_read_from_its_start() {
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
fn a_reader_overtaken_by_retention_continues_in_the_archive() {
    let log = Log::of(4, 0);
    let mut opened = log.both().open(2, None, false).unwrap();
    log.archive(2, 9);
    log.topic.1.store(8, Ordering::Relaxed);
    let offsets: Vec<u64> = read(&mut *opened).unwrap().iter().map(|record| record.0).collect();
    assert_eq!(offsets, (0..RECORDS).collect::<Vec<_>>());
    assert_eq!(opened.remaining(), 0);
}

#[test]
fn an_archive_of_another_topic_is_refused() {
    let log = Log::of(4, 5);
    assert!(refused(&log.both(), None).contains("lacks the offsets from 4 up to 5"));
    let (longer, log) = (Log::of(RECORDS, 0), Log::new(0));
    log.topic.0.append(2, None, Some(b"{}"));
    assert!(
        refused(&HybridSource::new(longer.archived(), log.topic.clone()), None)
            .contains("ends at 12, the other at 1")
    );
    // A record of the same length with other bytes.
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
        let both = HybridSource::new(log.archived(), other.topic.clone());
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
    let error = log.both().restore(&serde_json::json!({ "two": 2 })).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.described(|_| "OPTIONS").ends_with("or begin anew. OPTIONS"), "{error}");
    assert!(refused(&log.both(), Some(RECORDS + 1)).contains("from 0 up to 12"));
}
