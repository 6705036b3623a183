//! Questions about each bid alone.

use chrono::DateTime;
use watershed::row::Double;
use watershed::{KStream, KTable, Timestamp, row};

use super::{Bids, Sides};
use crate::model::SIDE_INPUT_ROWS;

/// Euros that a dollar is worth.
const EUROS_PER_DOLLAR: f64 = 0.908;

/// Which bids are there? (Pass through.)
pub(crate) fn q0<'s>(bids: &Bids<'s>) -> Bids<'s> {
    bids.clone()
}

row! {
    /// A bid with its price in hundredths of a euro.
    pub(crate) struct Euros {
        auction: i64,
        bidder: i64,
        price: Double,
        date_time: Timestamp,
        extra: String,
    }
}

/// How much is each bid in euros? (Currency conversion.)
pub(crate) fn q1<'s>(bids: &Bids<'s>) -> KStream<'s, i64, Euros> {
    bids.map_values(|bid| Euros {
        auction: bid.auction,
        bidder: bid.bidder,
        price: euros(bid.price),
        date_time: bid.date_time,
        extra: bid.extra,
    })
}

/// Which bids are for every 123rd auction, and at which price? (Selection.)
pub(crate) fn q2<'s>(bids: &Bids<'s>) -> KStream<'s, i64, (i64, i64)> {
    bids.filter(|_id, bid| bid.auction % 123 == 0).map_values(|bid| (bid.auction, bid.price))
}

row! {
    /// A bid with its day and its minute, by which a log is partitioned.
    pub(crate) struct Logged {
        auction: i64,
        bidder: i64,
        price: i64,
        date_time: Timestamp,
        extra: String,
        dt: String,
        hm: String,
    }
}

/// Which bids were made in which minute? (Log to file system.)
pub(crate) fn q10<'s>(bids: &Bids<'s>) -> KStream<'s, i64, Logged> {
    bids.map_values(|bid| Logged {
        dt: written(bid.date_time, "%Y-%m-%d"),
        hm: written(bid.date_time, "%H:%M"),
        auction: bid.auction,
        bidder: bid.bidder,
        price: bid.price,
        date_time: bid.date_time,
        extra: bid.extra,
    })
}

row! {
    /// A bid with a value of the side input.
    pub(crate) struct Enriched {
        auction: i64,
        bidder: i64,
        price: i64,
        date_time: Timestamp,
        value: String,
    }
}

/// Which value of the side input belongs to each bid? (Bounded side input join.)
///
/// The benchmark joins the row that stands at the processing time of the bid. Here the join is
/// maintained: a row that changes later corrects the answer, which is the same in each run.
pub(crate) fn q13<'s>(bids: &Bids<'s>, sides: &Sides<'s>) -> KTable<'s, i64, Enriched> {
    let by_side = bids.map(|id, bid| {
        let (auction, bidder, price, date_time) =
            (bid.auction, bid.bidder, bid.price, bid.date_time);
        let value = String::new();
        (auction % SIDE_INPUT_ROWS, (id, Enriched { auction, bidder, price, date_time, value }))
    });
    let enriched = by_side.join(sides, |(id, bid), side| {
        (*id, Enriched { value: side.value.clone(), ..bid.clone() })
    });
    enriched.map(|_side, (id, enriched)| (id, enriched)).to_table()
}

row! {
    /// A bid with values that are calculated from it.
    pub(crate) struct Calculated {
        auction: i64,
        bidder: i64,
        price: Double,
        bid_time_type: String,
        date_time: Timestamp,
        extra: String,
        c_counts: i64,
    }
}

/// At which time of day were bids of more than 1,000,000 and less than 50,000,000 hundredths of a
/// euro made, and how often is there a `c` in their texts? (Calculation.)
pub(crate) fn q14<'s>(bids: &Bids<'s>) -> KStream<'s, i64, Calculated> {
    let dear = bids.filter(|_id, bid| {
        let price = euros(bid.price).get();
        price > 1_000_000.0 && price < 50_000_000.0
    });
    dear.map_values(|bid| Calculated {
        auction: bid.auction,
        bidder: bid.bidder,
        price: euros(bid.price),
        bid_time_type: match bid.date_time.0.div_euclid(3_600_000_000).rem_euclid(24) {
            8..=18 => "dayTime",
            ..=6 | 20.. => "nightTime",
            _ => "otherTime",
        }
        .to_string(),
        date_time: bid.date_time,
        c_counts: bid.extra.matches('c').count() as i64,
        extra: bid.extra,
    })
}

row! {
    /// A bid with the id of its channel.
    pub(crate) struct Channel {
        auction: i64,
        bidder: i64,
        price: i64,
        channel: String,
        channel_id: String,
    }
}

/// Which id has the channel of each bid? Bids of channels without an id are left out. (Add channel
/// id.)
pub(crate) fn q21<'s>(bids: &Bids<'s>) -> KStream<'s, i64, Channel> {
    bids.flat_map_values(|bid| {
        let channel_id = match bid.channel.to_ascii_lowercase().as_str() {
            "apple" => Some("0"),
            "google" => Some("1"),
            "facebook" => Some("2"),
            "baidu" => Some("3"),
            _ => bid.url.split('&').find_map(|part| part.strip_prefix("channel_id=")),
        };
        channel_id.map(|channel_id| Channel {
            auction: bid.auction,
            bidder: bid.bidder,
            price: bid.price,
            channel_id: channel_id.to_string(),
            channel: bid.channel.clone(),
        })
    })
}

row! {
    /// A bid with the first directories of its URL; null where there is none.
    pub(crate) struct Directories {
        auction: i64,
        bidder: i64,
        price: i64,
        channel: String,
        dir1: Option<String>,
        dir2: Option<String>,
        dir3: Option<String>,
    }
}

/// In which directories is the page of each bid? (Get URL directories.)
pub(crate) fn q22<'s>(bids: &Bids<'s>) -> KStream<'s, i64, Directories> {
    bids.map_values(|bid| {
        // Three parts precede the directories: scheme, empty text and host.
        let mut parts = bid.url.split('/').skip(3).map(str::to_string);
        let [dir1, dir2, dir3] = [(); 3].map(|()| parts.next());
        let (auction, bidder, price) = (bid.auction, bid.bidder, bid.price);
        Directories { auction, bidder, price, channel: bid.channel, dir1, dir2, dir3 }
    })
}

fn euros(price: i64) -> Double {
    (EUROS_PER_DOLLAR * price as f64).into()
}

/// Returns a time in UTC in a format, or its microseconds if the calendar can't hold it.
pub(super) fn written(time: Timestamp, format: &str) -> String {
    match DateTime::from_timestamp_micros(time.0) {
        Some(date) => date.format(format).to_string(),
        None => time.0.to_string(),
    }
}
