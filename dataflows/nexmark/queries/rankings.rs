//! Questions about all bids of an auction or of a bidder.

use std::cmp::Reverse;

use watershed::options::Ties;
use watershed::row::Double;
use watershed::{Diffs, KTable, StreamsBuilder, Timestamp, row};

use super::Bids;
use super::bids::written;

row! {
    /// The bids of a day on an auction: their number, in total and by price range, and their
    /// prices.
    pub(crate) struct Statistics {
        total_bids: i64,
        rank1_bids: i64,
        rank2_bids: i64,
        rank3_bids: i64,
        min_price: i64,
        max_price: i64,
        avg_price: Double,
        sum_price: i64,
    }
}

/// How many bids are made on each auction a day, and at which prices? (Auction statistics report.)
pub(crate) fn q17<'s>(bids: &Bids<'s>) -> KTable<'s, (i64, String), Statistics> {
    let by_day =
        bids.group_by(|_id, bid| ((bid.auction, written(bid.date_time, "%Y-%m-%d")), bid.price));
    let sums = by_day.aggregate(Statistics::none, |all, price| all.with(*price));
    sums.map_values(|all| {
        let avg_price = Double::from(all.sum_price as f64 / all.total_bids as f64);
        Statistics { avg_price, ..all.clone() }
    })
}

impl Statistics {
    fn none() -> Self {
        Statistics {
            total_bids: 0,
            rank1_bids: 0,
            rank2_bids: 0,
            rank3_bids: 0,
            min_price: i64::MAX,
            max_price: i64::MIN,
            avg_price: Double::default(),
            sum_price: 0,
        }
    }

    fn with(mut self, price: i64) -> Self {
        let rank = match price {
            ..10_000 => &mut self.rank1_bids,
            10_000..1_000_000 => &mut self.rank2_bids,
            _ => &mut self.rank3_bids,
        };
        *rank += 1;
        self.total_bids += 1;
        self.min_price = self.min_price.min(price);
        self.max_price = self.max_price.max(price);
        self.sum_price = self.sum_price.saturating_add(price);
        self
    }
}

row! {
    /// A bid, ordered by time, then by id.
    pub(crate) struct LastBid {
        date_time: Timestamp,
        id: i64,
        price: i64,
        channel: String,
        url: String,
        extra: String,
    }
}

/// Which is the last bid of each bidder on each auction? (Find last bid.)
pub(crate) fn q18<'s>(bids: &Bids<'s>) -> KTable<'s, (i64, i64), LastBid> {
    let by_bidder = bids.group_by(|id, bid| {
        let last = LastBid {
            date_time: bid.date_time,
            id: *id,
            price: bid.price,
            channel: bid.channel.clone(),
            url: bid.url.clone(),
            extra: bid.extra.clone(),
        };
        ((bid.bidder, bid.auction), last)
    });
    by_bidder.max()
}

row! {
    /// A bid that is among the ten highest of its auction.
    pub(crate) struct TopBid {
        id: i64,
        bidder: i64,
        price: i64,
        channel: String,
        url: String,
        date_time: Timestamp,
        extra: String,
    }
}

/// Which are the ten highest bids of each auction, with their ranks? Of equal prices the earlier
/// bid is the higher. (Auction top ten.)
pub(crate) fn q19<'s>(
    builder: &StreamsBuilder<'s>,
    bids: &Bids<'s>,
) -> KTable<'s, (i64, i64), TopBid> {
    let by_auction = bids.group_by(|id, bid| {
        let top = TopBid {
            id: *id,
            bidder: bid.bidder,
            price: bid.price,
            channel: bid.channel.clone(),
            url: bid.url.clone(),
            date_time: bid.date_time,
            extra: bid.extra.clone(),
        };
        (bid.auction, top)
    });
    let highest = by_auction.top(10, Ties::Cut, height);
    let tens = highest.group_by(|(auction, bid), ()| (*auction, bid.clone())).aggregate(
        Vec::new,
        |mut ten, bid| {
            ten.push(bid.clone());
            ten
        },
    );
    // The DSL has no verb that makes several rows of one, so the ranks are given outside of it.
    let ranked = Diffs::from(&tens).flat_map(|(auction, mut ten)| {
        ten.sort_by_key(|bid| Reverse(height(bid)));
        (1..).zip(ten).map(move |(rank, bid)| ((auction, rank), bid))
    });
    KTable::from_collection(builder, "ranked bids", ranked)
}

/// The order of bids: by price, then the earlier first.
fn height(bid: &TopBid) -> (i64, Reverse<Timestamp>, Reverse<i64>) {
    (bid.price, Reverse(bid.date_time), Reverse(bid.id))
}
