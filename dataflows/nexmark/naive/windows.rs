//! The answers about windows and days. A record that is too late for a window is left out of it.

use std::collections::{BTreeMap, BTreeSet};

use watershed::Timestamp;
use watershed::program::Expected;
use watershed::row::{Row, Value};

use super::{Events, Placed, formatted};
use crate::model::Bid;

const SECOND_MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND_MICROS;
const PERIOD: i64 = 10 * SECOND_MICROS;
const STEP: i64 = 2 * SECOND_MICROS;
/// The time after its end at which a window takes no more records.
const GRACE: i64 = 4 * SECOND_MICROS;

impl<V> Placed<V> {
    /// Returns true unless the partition has passed the end of a window by the grace.
    fn is_in_time(&self, end: i64) -> bool {
        end.saturating_add(GRACE) > self.partition_time.0
    }
}

/// Returns the start of the window of a size to which a time belongs.
fn start(time: Timestamp, size: i64) -> i64 {
    time.0.div_euclid(size).saturating_mul(size)
}

/// Returns the bounds of a window of ten seconds.
fn bounds(start: i64) -> [Timestamp; 2] {
    [Timestamp(start), Timestamp(start.saturating_add(PERIOD))]
}

fn add(expected: &mut Expected, topic: &'static str, parts: &[&dyn Row]) {
    let mut row: Vec<Value> = Vec::new();
    parts.iter().for_each(|part| part.put(&mut row));
    expected.row(topic, &row);
}

impl Events {
    pub(super) fn windows(&self, expected: &mut Expected) {
        self.hot_items(expected);
        self.highest(expected);
        self.newcomers(expected);
        self.sessions(expected);
        self.by_bidder(expected);
        self.reports(expected);
    }

    fn hot_items(&self, expected: &mut Expected) {
        let mut counts: BTreeMap<i64, BTreeMap<i64, i64>> = BTreeMap::new();
        for bid in &self.bids {
            for step in 0..PERIOD / STEP {
                let start = start(bid.event.date_time, STEP).saturating_sub(step * STEP);
                if bid.is_in_time(start.saturating_add(PERIOD)) {
                    *counts.entry(start).or_default().entry(bid.event.auction).or_default() += 1;
                }
            }
        }
        for (start, counts) in &counts {
            let most = counts.values().max();
            for (auction, num) in counts.iter().filter(|(_, num)| Some(*num) == most) {
                let [from, to] = bounds(*start);
                add(expected, "q5", &[&from, &to, auction, num]);
            }
        }
    }

    fn highest(&self, expected: &mut Expected) {
        let mut highest: BTreeMap<i64, BTreeSet<(i64, i64, &Bid)>> = BTreeMap::new();
        for Placed { id, event: bid, .. } in self.within_period() {
            let highest = highest.entry(start(bid.date_time, PERIOD)).or_default();
            if highest.first().is_some_and(|(price, ..)| *price < bid.price) {
                highest.clear();
            }
            if highest.first().is_none_or(|(price, ..)| *price == bid.price) {
                highest.insert((bid.price, *id, bid));
            }
        }
        for (start, bids) in &highest {
            let [from, to] = bounds(*start);
            // Bids that differ in their channels alone are one row.
            let rows: BTreeSet<_> = bids
                .iter()
                .map(|(price, id, bid)| {
                    (id, bid.auction, bid.bidder, price, bid.date_time, &bid.extra)
                })
                .collect();
            for (id, auction, bidder, price, time, extra) in rows {
                add(expected, "q7", &[&from, &to, id, &auction, &bidder, price, &time, extra]);
            }
        }
    }

    /// Returns the bids that are in time for their windows of ten seconds.
    fn within_period(&self) -> impl Iterator<Item = &Placed<Bid>> {
        self.bids
            .iter()
            .filter(|bid| bid.is_in_time(start(bid.event.date_time, PERIOD).saturating_add(PERIOD)))
    }

    fn newcomers(&self, expected: &mut Expected) {
        let mut opened = BTreeSet::new();
        for listed in &self.listed {
            let start = start(listed.event.date_time, PERIOD);
            if listed.is_in_time(start.saturating_add(PERIOD)) {
                opened.insert((listed.event.seller, start));
            }
        }
        for (id, person) in &self.persons {
            let start = start(person.date_time, PERIOD);
            if opened.contains(&(*id, start)) {
                let [from, to] = bounds(start);
                add(expected, "q8", &[id, &from, &to, &person.name]);
            }
        }
    }

    fn sessions(&self, expected: &mut Expected) {
        let mut times: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for bid in &self.bids {
            // The record alone is a session, which ends with it. Its end is inclusive.
            let time = bid.event.date_time.0;
            if bid.is_in_time(time.saturating_add(PERIOD + 1)) {
                times.entry(bid.event.bidder).or_default().push(time);
            }
        }
        for (bidder, times) in &mut times {
            times.sort_unstable();
            for session in times.chunk_by(|a, b| b.saturating_sub(*a) <= PERIOD) {
                let [from, to] = [session.first(), session.last()]
                    .map(|time| Timestamp(time.copied().unwrap_or_default()));
                add(expected, "q11", &[bidder, &from, &to, &(session.len() as i64)]);
            }
        }
    }

    fn by_bidder(&self, expected: &mut Expected) {
        let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        for Placed { event: bid, .. } in self.within_period() {
            *counts.entry((bid.bidder, start(bid.date_time, PERIOD))).or_default() += 1;
        }
        for ((bidder, start), count) in &counts {
            let [from, to] = bounds(*start);
            add(expected, "q12", &[bidder, &from, &to, count]);
        }
    }

    fn reports(&self, expected: &mut Expected) {
        let mut of_days: BTreeMap<String, Vec<&Bid>> = BTreeMap::new();
        let mut of_channels: BTreeMap<(&str, String), Vec<&Bid>> = BTreeMap::new();
        for placed in &self.bids {
            let bid = &placed.event;
            if placed.is_in_time(start(bid.date_time, DAY).saturating_add(DAY)) {
                let day = formatted(bid.date_time, "%F");
                of_days.entry(day.clone()).or_default().push(bid);
                of_channels.entry((&bid.channel, day)).or_default().push(bid);
            }
        }
        for (day, bids) in &of_days {
            let [counts, bidders, auctions] = report(bids);
            add(expected, "q15", &[day, &counts, &bidders, &auctions]);
        }
        for ((channel, day), bids) in &of_channels {
            let minutes = bids.iter().map(|bid| formatted(bid.date_time, "%R"));
            let minute = minutes.max().unwrap_or_default();
            let [counts, bidders, auctions] = report(bids);
            let channel = channel.to_string();
            add(expected, "q16", &[&channel, day, &minute, &counts, &bidders, &auctions]);
        }
    }
}

/// The numbers of all prices, and of low, middle and high ones.
type Numbers = (i64, i64, i64, i64);

/// Returns the numbers of bids, bidders and auctions.
fn report(bids: &[&Bid]) -> [Numbers; 3] {
    let count = |keep: &dyn Fn(i64) -> bool| {
        let kept = || bids.iter().filter(|bid| keep(bid.price));
        let bidders: BTreeSet<i64> = kept().map(|bid| bid.bidder).collect();
        let auctions: BTreeSet<i64> = kept().map(|bid| bid.auction).collect();
        [kept().count(), bidders.len(), auctions.len()].map(|count| count as i64)
    };
    let all = count(&|_| true);
    let low = count(&|price| price < 10_000);
    let middle = count(&|price| (10_000..1_000_000).contains(&price));
    let high = count(&|price| price >= 1_000_000);
    [0, 1, 2].map(|subject| (all[subject], low[subject], middle[subject], high[subject]))
}
