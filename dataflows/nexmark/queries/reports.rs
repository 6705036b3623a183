//! Reports of the bids of a day: how many bids, bidders and auctions there are at each level of
//! price.

use std::time::Duration;

use watershed::options::TimeWindows;
use watershed::{Datum, KTable, Windowed, row};

use super::Bids;
use super::bids::written;
use super::windows::GRACE;
use crate::model::Bid;

row! {
    /// The numbers of a subject: of all prices, and at each level of price.
    #[derive(Default)]
    pub(crate) struct Levels {
        total: i64,
        rank1: i64,
        rank2: i64,
        rank3: i64,
    }
}

row! {
    /// The numbers of bids, and of different bidders and auctions.
    #[derive(Default)]
    pub(crate) struct Activity {
        bids: Levels,
        bidders: Levels,
        auctions: Levels,
    }
}

impl Activity {
    /// The columns of a report.
    pub(crate) const REPORT: [&str; 12] = [
        "total_bids",
        "rank1_bids",
        "rank2_bids",
        "rank3_bids",
        "total_bidders",
        "rank1_bidders",
        "rank2_bidders",
        "rank3_bidders",
        "total_auctions",
        "rank1_auctions",
        "rank2_auctions",
        "rank3_auctions",
    ];
}

row! {
    /// A number of a report, with its place in it.
    struct Entry {
        /// 0 for bids, 1 for bidders, 2 for auctions.
        subject: i64,
        /// 0 for all prices, else the rank.
        rank: i64,
        number: i64,
    }
}

const BIDS: i64 = 0;
const BIDDERS: i64 = 1;
const AUCTIONS: i64 = 2;

/// How many bids, bidders and auctions are there a day, in total and by price range? (Bidding
/// statistics report.)
pub(crate) fn q15<'s>(bids: &Bids<'s>) -> KTable<'s, String, Activity> {
    activity(bids, |_bid| (), |day, ()| day)
}

/// How many bids, bidders and auctions are there a day in each channel, in total and by price
/// range, and in which minute is the last bid? (Channel statistics report.)
pub(crate) fn q16<'s>(bids: &Bids<'s>) -> KTable<'s, (String, String), (String, Activity)> {
    let activity = activity(bids, |bid| bid.channel.clone(), |day, channel| (channel, day));
    let minutes = bids.group_by(|_id, bid| (bid.channel.clone(), written(bid.date_time, "%H:%M")));
    let last = minutes.windowed_by(days()).max();
    let last = last.group_by(|window, minute| ((window.key.clone(), day(window)), minute.clone()));
    last.max().join(&activity, |minute, activity| (minute.clone(), activity.clone()))
}

/// Counts bids, different bidders and different auctions by day and by a group of each bid. `key`
/// makes the key of a row of the day and the group.
fn activity<'s, G: Datum, K: Datum>(
    bids: &Bids<'s>,
    group: fn(&Bid) -> G,
    key: fn(String, G) -> K,
) -> KTable<'s, K, Activity> {
    let counted = bids.flat_map(move |_id, bid| {
        let group = group(&bid);
        ranks(bid.price).map(move |rank| ((group.clone(), BIDS, rank), ()))
    });
    let different = bids.flat_map(move |_id, bid| {
        let group = group(&bid);
        ranks(bid.price).into_iter().flat_map(move |rank| {
            [(BIDDERS, bid.bidder), (AUCTIONS, bid.auction)]
                .map(|(subject, id)| ((group.clone(), subject, rank), id))
        })
    });
    let counts = counted.group_by_key().windowed_by(days()).count();
    let distinct = different.group_by_key().windowed_by(days()).count_distinct();
    let [counts, distinct] = [counts, distinct].map(|numbers| {
        numbers.group_by(move |window, number| {
            let (group, subject, rank) = window.key.clone();
            (key(day(window), group), Entry { subject, rank, number: *number })
        })
    });
    counts.cogroup(Activity::with).cogroup(&distinct, Activity::with).aggregate(Activity::default)
}

/// Days in UTC.
fn days() -> TimeWindows {
    TimeWindows::of_size(Duration::from_secs(86_400)).grace(GRACE)
}

/// Returns the day of a window.
fn day<G>(window: &Windowed<G>) -> String {
    written(window.start, "%Y-%m-%d")
}

/// Returns the ranks to which a price belongs: that of all prices, and its own.
fn ranks(price: i64) -> [i64; 2] {
    let rank = match price {
        ..10_000 => 1,
        10_000..1_000_000 => 2,
        _ => 3,
    };
    [0, rank]
}

impl Activity {
    /// Puts a number in its place.
    fn with(mut self, entry: &Entry) -> Self {
        let levels = match entry.subject {
            BIDS => &mut self.bids,
            BIDDERS => &mut self.bidders,
            _ => &mut self.auctions,
        };
        let level = match entry.rank {
            0 => &mut levels.total,
            1 => &mut levels.rank1,
            2 => &mut levels.rank2,
            _ => &mut levels.rank3,
        };
        *level = entry.number;
        self
    }
}
