//! Promises of the generator as a source, and of its events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use watershed::connect::{Partition, Poll, Source};

use super::source::Clock;
use super::*;
use crate::model::{Auction, Bid, Identified, Person};

type Stored = (u64, Option<watershed::Timestamp>, Vec<u8>, Vec<u8>);

fn topic(kind: Kind, url: &str) -> Generated {
    Generated::new(kind, Settings::parse(&format!("generated://?{url}")).unwrap())
}

fn stored(batch: &watershed::record::Batch) -> Vec<Stored> {
    let one = |r: watershed::record::Record<'_>| {
        (r.order.offset, r.timestamp, r.key.unwrap().to_vec(), r.value.unwrap().to_vec())
    };
    batch.iter(0).map(one).collect()
}

/// The records of a partition from an offset on.
fn read(source: &Generated, partition: u32, from: Option<u64>) -> Vec<Stored> {
    let mut reader = source.open(partition, from, false).unwrap();
    let mut records = Vec::new();
    loop {
        match reader.poll().unwrap() {
            Poll::Batch(batch) => records.extend(stored(&batch)),
            Poll::Idle => panic!("a partition that is not followed has no pause"),
            Poll::End => return records,
        }
    }
}

fn events<V: serde::de::DeserializeOwned>(kind: Kind, url: &str) -> Vec<(i64, V)> {
    let source = topic(kind, &format!("{url}&partitions=1"));
    let records = read(&source, 0, None).into_iter();
    records
        .map(|(_, _, _, json)| {
            let Identified { id, event } = serde_json::from_slice(&json).unwrap();
            (id, event)
        })
        .collect()
}

/// The share of `n` that is true.
fn share<T>(all: &[T], counts: impl Fn(&T) -> bool) -> f64 {
    all.iter().filter(|one| counts(one)).count() as f64 / all.len() as f64
}

#[test]
fn fifty_events_have_one_person_and_three_auctions() {
    for events in [0_u64, 1, 2, 3, 4, 5, 49, 50, 51, 1000, 123_456] {
        let counts = Kind::ALL.map(|kind| kind.count(events));
        assert_eq!(counts.iter().sum::<u64>(), events);
        let naive = Kind::ALL.map(|kind| {
            let place = |event| match event % 50 {
                0 => Kind::Person,
                1..=3 => Kind::Auction,
                _ => Kind::Bid,
            };
            (0..events).filter(|event| place(*event) == kind).count() as u64
        });
        assert_eq!(counts, naive, "of {events}");
    }
    for kind in Kind::ALL {
        let source = topic(kind, "events=12345&partitions=3");
        let records = (0..3).map(|partition| read(&source, partition, None).len() as u64);
        assert_eq!(records.sum::<u64>(), kind.count(12_345));
        assert_eq!(source.span(1).unwrap(), Some(0..read(&source, 1, None).len() as u64));
    }
}

#[test]
fn an_offset_has_the_same_record_from_any_start() {
    for kind in Kind::ALL {
        let source = topic(kind, "events=60000&seed=3");
        let whole = read(&source, 2, None);
        for from in [0, 1, 7, whole.len() as u64 - 1, whole.len() as u64] {
            assert_eq!(read(&source, 2, Some(from)), whole[from as usize..]);
        }
        assert!(whole.iter().map(|record| record.0).eq(0..whole.len() as u64));
        let again = topic(kind, "events=60000&seed=3&rate=5");
        assert_eq!(read(&again, 2, None), whole);
        assert_ne!(read(&topic(kind, "events=60000&seed=4"), 2, None), whole);
        assert!(source.open(2, Some(whole.len() as u64 + 1), false).is_err());
        assert!(source.open(4, None, false).is_err());
    }
}

#[test]
fn more_events_continue_fewer() {
    for kind in Kind::ALL {
        let (few, many) = (topic(kind, "events=7777"), topic(kind, "events=20000"));
        assert_eq!(few.identities().unwrap(), many.identities().unwrap());
        for partition in 0..4 {
            let (few, many) = (read(&few, partition, None), read(&many, partition, None));
            assert_eq!(few, many[..few.len()]);
        }
        let identity = |url| topic(kind, url).identities().unwrap();
        for other in ["seed=8", "partitions=5", "spacing_us=7"] {
            assert_ne!(identity(other), identity(""), "{other}");
        }
    }
}

#[test]
fn each_id_occurs_once_and_times_are_slightly_out_of_order() {
    let bids = events::<Bid>(Kind::Bid, "events=50000");
    let ids: std::collections::BTreeSet<i64> = bids.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), bids.len());
    let late = bids.windows(2).filter(|pair| pair[1].1.date_time < pair[0].1.date_time);
    assert!(late.count() > bids.len() / 50);
    let mut greatest = i64::MIN;
    for (_, bid) in &bids {
        greatest = greatest.max(bid.date_time.0);
        assert!(greatest - bid.date_time.0 < 20 * 50 * 100, "by less than twenty rounds");
    }
    let auctions = events::<Auction>(Kind::Auction, "events=50000");
    let mut ids: Vec<i64> = auctions.iter().map(|(id, _)| *id).collect();
    assert!(!ids.is_sorted());
    ids.sort_unstable();
    assert!(ids.into_iter().eq(1000..4000));
    let persons = events::<Person>(Kind::Person, "events=50000");
    assert_eq!(persons.iter().map(|(id, _)| id).max(), Some(&1999));
    assert!(persons.iter().all(|(_, person)| person.state.len() == 2));
}

#[test]
fn half_of_the_bids_are_hot_and_most_bidders_too() {
    let bids = events::<Bid>(Kind::Bid, "events=100000&seed=11");
    let auctions = events::<Auction>(Kind::Auction, "events=100000&seed=11");
    let near = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 0.02, "{found} instead of {expected}");
    };
    near(share(&bids, |(_, bid)| bid.auction % 100 == 0), 0.5 + 0.5 / 100.0);
    near(share(&bids, |(_, bid)| bid.bidder % 100 == 1), 0.75 + 0.25 / 100.0);
    near(share(&auctions, |(_, auction)| auction.seller % 100 == 0), 0.75 + 0.25 / 100.0);
    near(share(&bids, |(_, bid)| !bid.channel.starts_with("channel-")), 0.5);
    near(share(&bids, |(_, bid)| bid.url.contains("&channel_id=")), 0.45);
    near(share(&bids, |(_, bid)| bid.price < 100_000), 0.5);
    near(share(&auctions, |(_, auction)| auction.category == 10), 0.2);
    assert!(bids.iter().all(|(_, bid)| (100..100_000_000).contains(&bid.price)));
    // Some bids are too early or too late, most are not.
    let open: BTreeMap<i64, _> =
        auctions.iter().map(|(id, a)| (*id, a.date_time..=a.expires)).collect();
    let valid =
        share(&bids, |(_, b)| open.get(&b.auction).is_some_and(|o| o.contains(&b.date_time)));
    assert!((0.3..0.95).contains(&valid), "{valid}");
}

#[test]
fn a_follower_receives_records_at_the_rate() {
    let time = Arc::new(AtomicU64::new(5_000));
    let held = time.clone();
    let clock: Clock = Arc::new(move || Duration::from_millis(held.load(Ordering::SeqCst)));
    // 46 of 50 events are bids: 920 a second in all, 230 a partition.
    let source = topic(Kind::Bid, "events=100000&rate=1000").clocked(clock);
    let mut reader = source.open(0, Some(40), true).unwrap();
    let polled = |reader: &mut Box<dyn Partition>| match reader.poll().unwrap() {
        Poll::Batch(batch) => batch.first..batch.next,
        Poll::Idle => 0..0,
        Poll::End => panic!("a partition that is followed does not end"),
    };
    assert_eq!(polled(&mut reader), 0..0);
    time.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(polled(&mut reader), 40..270);
    assert_eq!(polled(&mut reader), 0..0);
    time.fetch_add(500, Ordering::SeqCst);
    assert_eq!(polled(&mut reader), 270..385);
    time.fetch_add(1_000_000_000, Ordering::SeqCst);
    let mut next = 385;
    while !polled(&mut reader).is_empty() {
        next += 1;
    }
    assert_eq!(next, 385 + (23_000_u64 - 385).div_ceil(1000), "batches are bounded");
    assert!(reader.remaining() == 0);
    assert_eq!(read(&source, 0, Some(40)).len(), 23_000 - 40, "others are not held up");
}

#[test]
fn a_foreign_url_is_refused_with_the_generators_parameters() {
    let parse = |url: &str| Settings::parse(url).map_err(|error| error.to_string());
    assert_eq!(parse("generated://"), Ok(Settings::default()));
    assert_eq!(parse("generated://?"), parse("generated:///?seed=7"));
    let url = "generated://?events=9&seed=0&rate=5&partitions=2&spacing_us=1";
    let all = Settings { events: 9, seed: 0, rate: Some(5), partitions: 2, spacing_us: 1 };
    assert_eq!(parse(url), Ok(all));
    for (url, why) in [
        ("kafka://?events=1", "no generated:// URL"),
        ("generated://host?events=1", "no host"),
        ("generated://host", "no host"),
        ("generated://?event=1", "no parameter \"event\""),
        ("generated://?events", "events is a whole number from 1 to 10000000000"),
        ("generated://?events=0", "events is a whole number"),
        ("generated://?events=-1", "events is a whole number"),
        ("generated://?events=99999999999", "events is a whole number"),
        ("generated://?partitions=1001", "partitions is a whole number from 1 to 1000"),
    ] {
        let error = parse(url).unwrap_err();
        assert!(error.contains(why) && error.contains("spacing_us"), "{url}: {error}");
    }
}

#[test]
fn the_last_possible_event_has_a_time() {
    let settings = Settings::parse("generated://?events=10000000000&spacing_us=100000000").unwrap();
    let source = Generated::new(Kind::Auction, settings);
    let last = source.span(3).unwrap().unwrap().end - 1;
    assert_eq!(read(&source, 3, Some(last)).len(), 1);
}
