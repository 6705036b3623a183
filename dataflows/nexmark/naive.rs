//! The answers by plain loops over all events: the oracle of the topology. Both use the same
//! decoding of records, but they share no operator.

mod windows;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use chrono::DateTime;
use serde::de::DeserializeOwned;
use watershed::program::{Expected, Inputs};
use watershed::row::{Row, Value};
use watershed::serdes::Reject;
use watershed::{Result, Timestamp};

use crate::generator::Kind;
use crate::model::{Auction, Bid, Person, SIDE_INPUT, Side, decode};

/// Lists the rows of all answers.
///
/// # Errors
/// When a source can't be read.
pub(crate) fn rows(inputs: &Inputs<'_>, expected: &mut Expected) -> Result<()> {
    let persons = read(Kind::Person.topic(), inputs, expected, |it: &Person| Some(it.date_time))?;
    let listed = read(Kind::Auction.topic(), inputs, expected, |it: &Auction| Some(it.date_time))?;
    let bids = read(Kind::Bid.topic(), inputs, expected, |it: &Bid| Some(it.date_time))?;
    let sides = read(SIDE_INPUT, inputs, expected, |_: &Side| None)?;
    let listed = present(listed);
    let auctions = listed.iter().map(|listed| (listed.id, listed.event.clone())).collect();
    let (persons, sides, bids) = (latest(persons), latest(sides), present(bids));
    let events = Events { persons, sides, listed, auctions, bids };
    events.about_bids(expected);
    events.enriched(expected);
    events.about_auctions(expected);
    events.expanded(expected);
    events.rankings(expected);
    events.windows(expected);
    Ok(())
}

/// All events.
struct Events {
    /// The latest record of each person.
    persons: BTreeMap<i64, Person>,
    /// The latest row of the side input.
    sides: BTreeMap<i64, Side>,
    /// All records of auctions, in order.
    listed: Vec<Placed<Auction>>,
    /// The latest record of each auction.
    auctions: BTreeMap<i64, Auction>,
    /// All records of bids, in order.
    bids: Vec<Placed<Bid>>,
}

/// An event with its place in time.
struct Placed<V> {
    id: i64,
    event: V,
    /// The greatest time of its partition up to the event.
    partition_time: Timestamp,
}

/// Reads all events of a topic, in order; `None` is a tombstone. Invalid records become dead
/// letters.
fn read<V: DeserializeOwned>(
    topic: &'static str,
    inputs: &Inputs<'_>,
    expected: &mut Expected,
    time: fn(&V) -> Option<Timestamp>,
) -> Result<Vec<Placed<Option<V>>>> {
    // Tombstones delete rows of tables.
    let is_table = [Kind::Person.topic(), SIDE_INPUT].contains(&topic);
    let mut events = Vec::new();
    inputs.each(topic, |record| {
        let event = Reject::unless_whole(&record).and_then(|()| decode(&record));
        let event = event.and_then(|(id, event)| match event {
            None if !is_table => {
                Err(Reject::new("null value", "a stream has no use for a tombstone"))
            }
            event => Ok((id, event)),
        });
        match event {
            Ok((id, event)) => events.push((record.order, id, event)),
            Err(reject) => expected.dead_letter(topic, &record, reject),
        }
    })?;
    events.sort_by_key(|(order, ..)| *order);
    let mut partition_times = HashMap::new();
    let placed = events.into_iter().map(|(order, id, event)| {
        let before =
            partition_times.entry((order.source, order.partition)).or_insert(Timestamp::MIN);
        *before = event.as_ref().and_then(time).unwrap_or(*before).max(*before);
        Placed { id, event, partition_time: *before }
    });
    Ok(placed.collect())
}

/// Leaves out tombstones.
fn present<V>(events: Vec<Placed<Option<V>>>) -> Vec<Placed<V>> {
    let present = |Placed { id, event, partition_time }: Placed<Option<V>>| {
        Some(Placed { id, event: event?, partition_time })
    };
    events.into_iter().filter_map(present).collect()
}

/// Keeps the event of the latest record of each id, unless that is a tombstone.
fn latest<V>(events: Vec<Placed<Option<V>>>) -> BTreeMap<i64, V> {
    let latest: BTreeMap<i64, Option<V>> =
        events.into_iter().map(|placed| (placed.id, placed.event)).collect();
    latest.into_iter().filter_map(|(id, event)| Some((id, event?))).collect()
}

impl Events {
    fn about_bids(&self, expected: &mut Expected) {
        for Placed { id, event: bid, .. } in &self.bids {
            let Bid { auction, bidder, price, channel, url, date_time, extra } = bid;
            let mut put = |topic, parts: &[&dyn Row]| add(expected, topic, id, parts);
            let euros = 0.908 * *price as f64;
            let hour = date_time.0.rem_euclid(86_400_000_000) / 3_600_000_000;

            put("q0", &[auction, bidder, price, channel, url, date_time, extra]);
            put("q1", &[auction, bidder, &euros, date_time, extra]);
            if auction % 123 == 0 {
                put("q2", &[auction, price]);
            }
            let (day, minute) = (formatted(*date_time, "%F"), formatted(*date_time, "%R"));
            put("q10", &[auction, bidder, price, date_time, extra, &day, &minute]);
            if 1_000_000.0 < euros && euros < 50_000_000.0 {
                let kind = if (8..=18).contains(&hour) {
                    "dayTime"
                } else if hour <= 6 || hour >= 20 {
                    "nightTime"
                } else {
                    "otherTime"
                };
                let count = extra.bytes().filter(|byte| *byte == b'c').count() as i64;
                put("q14", &[auction, bidder, &euros, &kind.to_string(), date_time, extra, &count]);
            }
            if let Some(id) = channel_id(channel, url) {
                put("q21", &[auction, bidder, price, channel, &id]);
            }
            let parts: Vec<&str> = url.split('/').collect();
            let [a, b, c] = [3, 4, 5].map(|part| parts.get(part).map(|part| part.to_string()));
            put("q22", &[auction, bidder, price, channel, &a, &b, &c]);
        }
    }

    fn enriched(&self, expected: &mut Expected) {
        let mut by_id: BTreeMap<i64, (&Bid, &Side)> = BTreeMap::new();
        for Placed { id, event: bid, .. } in &self.bids {
            if let Some(side) = self.sides.get(&(bid.auction % 10_000)) {
                by_id.insert(*id, (bid, side));
            }
        }
        for (id, (bid, side)) in &by_id {
            let Bid { auction, bidder, price, date_time, .. } = bid;
            add(expected, "q13", id, &[auction, bidder, price, date_time, &side.value]);
        }
    }

    fn about_auctions(&self, expected: &mut Expected) {
        let mut by_category: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut by_seller: BTreeMap<i64, Vec<(Timestamp, i64, i64)>> = BTreeMap::new();
        let mut by_auction: BTreeMap<i64, Vec<(i64, &Bid)>> = BTreeMap::new();
        for Placed { id, event: bid, .. } in &self.bids {
            by_auction.entry(bid.auction).or_default().push((*id, bid));
        }
        for (id, auction) in &self.auctions {
            if let Some(Person { name, city, state, .. }) = self.persons.get(&auction.seller)
                && auction.category == 10
                && (state == "OR" || state == "ID" || state == "CA")
            {
                add(expected, "q3", id, &[name, city, state]);
            }
            let bids = by_auction.get(id).map(Vec::as_slice).unwrap_or_default();
            let Some((bid_id, bid)) = winner(bids, auction.date_time..=auction.expires) else {
                continue;
            };
            by_category.entry(auction.category).or_default().push(bid.price);
            let sale = (auction.expires, *id, bid.price);
            by_seller.entry(auction.seller).or_default().push(sale);
            add(
                expected,
                "q9",
                id,
                &[auction, &bid_id, &bid.bidder, &bid.price, &bid.date_time, &bid.extra],
            );
        }
        for (category, prices) in &by_category {
            add(expected, "q4", category, &[&average(prices)]);
        }
        for (seller, sales) in &mut by_seller {
            sales.sort();
            let last = sales.iter().rev().take(10).map(|(_, _, price)| *price);
            add(expected, "q6", seller, &[&average(&last.collect::<Vec<_>>())]);
        }
    }

    fn expanded(&self, expected: &mut Expected) {
        // The last bid with an id is its row.
        let by_id: BTreeMap<i64, (&Bid, &Auction)> = self
            .bids
            .iter()
            .filter_map(|Placed { id, event: bid, .. }| {
                Some((*id, (bid, self.auctions.get(&bid.auction)?)))
            })
            .filter(|(_, (_, auction))| auction.category == 10)
            .collect();
        for (id, (bid, auction)) in &by_id {
            let of_auction: [&dyn Row; 9] = [
                &auction.item_name,
                &auction.description,
                &auction.initial_bid,
                &auction.reserve,
                &auction.date_time,
                &auction.expires,
                &auction.seller,
                &auction.category,
                &auction.extra,
            ];
            let parts: Vec<&dyn Row> = [*bid as &dyn Row].into_iter().chain(of_auction).collect();
            add(expected, "q20", id, &parts);
        }
    }

    fn rankings(&self, expected: &mut Expected) {
        let mut by_day: BTreeMap<(i64, String), Vec<i64>> = BTreeMap::new();
        let mut by_bidder: BTreeMap<(i64, i64), Vec<(i64, &Bid)>> = BTreeMap::new();
        let mut by_auction: BTreeMap<i64, Vec<(i64, &Bid)>> = BTreeMap::new();
        for Placed { id, event: bid, .. } in &self.bids {
            by_day
                .entry((bid.auction, formatted(bid.date_time, "%F")))
                .or_default()
                .push(bid.price);
            by_bidder.entry((bid.bidder, bid.auction)).or_default().push((*id, bid));
            by_auction.entry(bid.auction).or_default().push((*id, bid));
        }
        for ((auction, day), prices) in &by_day {
            let ranked = |rank: RangeInclusive<i64>| {
                prices.iter().filter(|price| rank.contains(price)).count() as i64
            };
            let ranks = (
                prices.len() as i64,
                ranked(i64::MIN..=9_999),
                ranked(10_000..=999_999),
                ranked(1_000_000..=i64::MAX),
            );
            let bounds = (prices.iter().min().copied(), prices.iter().max().copied());
            let (average, sum) = (average(prices), sum(prices));
            add(expected, "q17", auction, &[day, &ranks, &bounds, &average, &sum]);
        }
        for ((bidder, auction), bids) in &by_bidder {
            let last = bids.iter().max_by_key(|(id, bid)| (bid.date_time, *id));
            if let Some((id, bid)) = last {
                let Bid { price, channel, url, date_time, extra, .. } = bid;
                add(expected, "q18", bidder, &[auction, date_time, id, price, channel, url, extra]);
            }
        }
        for (auction, bids) in &mut by_auction {
            bids.sort_by_key(|(id, bid)| (Reverse(bid.price), bid.date_time, *id));
            for (rank, (id, bid)) in (1_i64..).zip(bids.iter().take(10)) {
                let Bid { bidder, price, channel, url, date_time, extra, .. } = bid;
                let parts: [&dyn Row; 8] =
                    [&rank, id, bidder, price, channel, url, date_time, extra];
                add(expected, "q19", auction, &parts);
            }
        }
    }
}

/// Adds the row of `key` and `parts`.
fn add(expected: &mut Expected, topic: &'static str, key: &i64, parts: &[&dyn Row]) {
    let mut row = vec![Value::Long(*key)];
    parts.iter().for_each(|part| part.put(&mut row));
    expected.row(topic, &row);
}

/// Returns the highest bid within the time of the auction; of equal prices the earliest bid.
fn winner<'a>(bids: &[(i64, &'a Bid)], open: RangeInclusive<Timestamp>) -> Option<(i64, &'a Bid)> {
    let mut best: Option<(i64, &Bid)> = None;
    for (id, bid) in bids.iter().filter(|(_, bid)| open.contains(&bid.date_time)) {
        let better = |(other_id, other): &(i64, &Bid)| {
            bid.price > other.price
                || bid.price == other.price && (bid.date_time, *id) < (other.date_time, *other_id)
        };
        if best.as_ref().is_none_or(better) {
            best = Some((*id, bid));
        }
    }
    best
}

/// Returns a time in a format, or its microseconds if the calendar can't hold it.
fn formatted(time: Timestamp, format: &str) -> String {
    DateTime::from_timestamp_micros(time.0)
        .map_or_else(|| time.0.to_string(), |date| date.format(format).to_string())
}

fn average(prices: &[i64]) -> f64 {
    sum(prices) as f64 / prices.len() as f64
}

/// Returns the sum of some prices, at most the greatest integer.
fn sum(prices: &[i64]) -> i64 {
    prices.iter().fold(0, |sum: i64, price| sum.saturating_add(*price))
}

fn channel_id(channel: &str, url: &str) -> Option<String> {
    const NAMED: [&str; 4] = ["apple", "google", "facebook", "baidu"];
    if let Some(id) = NAMED.iter().position(|name| channel.eq_ignore_ascii_case(name)) {
        return Some(id.to_string());
    }
    let begins = |at: usize| at == 0 || url[..at].ends_with('&');
    let (at, name) = url.match_indices("channel_id=").find(|(at, _)| begins(*at))?;
    url[at + name.len()..].split('&').next().map(str::to_string)
}
