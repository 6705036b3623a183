//! Questions about auctions together with their bids and sellers.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use watershed::options::Ties;
use watershed::row::Double;
use watershed::{Datum, KGrouped, KTable, Timestamp, row};

use super::{Auctions, Bids, Listed, Persons};
use crate::model::{Auction, Bid, Person};

/// The winning bid of each auction, by the id of the auction.
pub(crate) type Winning<'s> = KTable<'s, i64, Offer>;

/// The part of a bid that decides which bid wins: the greatest offer. The highest price is the
/// greatest, then the earliest time, then the lowest id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Offer {
    price: i64,
    date_time: Reverse<Timestamp>,
    id: Reverse<i64>,
    bidder: i64,
    extra: String,
}

/// Finds the winning bid of each auction: the highest one while the auction was open.
pub(crate) fn winning_bids<'s>(bids: &Bids<'s>, auctions: &Auctions<'s>) -> Winning<'s> {
    let offers = bids.map(|id, bid| {
        let (date_time, id) = (Reverse(bid.date_time), Reverse(id));
        (
            bid.auction,
            Offer { price: bid.price, date_time, id, bidder: bid.bidder, extra: bid.extra },
        )
    });
    let open = auctions.map_values(|auction| (auction.date_time, auction.expires));
    let valid = offers.join(&open, |offer, (from, to)| {
        (*from..=*to).contains(&offer.date_time.0).then(|| offer.clone())
    });
    valid.flat_map_values(|offer| offer).group_by_key().max()
}

row! {
    /// A seller of a local item.
    #[derive(Default)]
    pub(crate) struct Seller {
        name: String,
        city: String,
        state: String,
    }
}

/// Which people sell something of category 10 in Oregon, Idaho or California, and in which
/// auctions? (Local item suggestion.)
pub(crate) fn q3<'s>(listed: &Listed<'s>, persons: &Persons<'s>) -> KTable<'s, i64, Seller> {
    let local = persons.filter(|_id, person| ["OR", "ID", "CA"].contains(&person.state.as_str()));
    let sellers = local.map_values(|Person { name, city, state, .. }| Seller {
        name: name.clone(),
        city: city.clone(),
        state: state.clone(),
    });
    let by_seller = listed.map(|id, auction| (auction.seller, (id, auction.category == 10)));
    // An auction may be announced again with another seller, who may be unknown or live elsewhere.
    // Only the last announcement counts, so all of them must reach the table.
    let suggested = by_seller
        .left_join(&sellers, |(id, wanted), seller| (*id, seller.filter(|_| *wanted).cloned()));
    let by_id = suggested.map(|_seller, (id, seller)| (id, seller)).to_table();
    by_id
        .filter(|_id, seller| seller.is_some())
        .map_values(|seller| seller.clone().unwrap_or_default())
}

/// How much is the average winning bid in each category? (Average price for a category.)
pub(crate) fn q4<'s>(winning: &Winning<'s>, auctions: &Auctions<'s>) -> KTable<'s, i64, Double> {
    let categories = auctions.map_values(|auction| auction.category);
    let sold = winning.join(&categories, |offer, category| (*category, offer.price));
    average(&sold.group_by(|_auction, sold| *sold))
}

/// How much is the average winning bid in the last ten auctions of each seller? (Average selling
/// price by seller.)
///
/// An auction counts if it has a winning bid. The last auctions are those that expire last. While
/// bids still arrive, the answer is the one that would hold if all auctions closed now.
pub(crate) fn q6<'s>(winning: &Winning<'s>, auctions: &Auctions<'s>) -> KTable<'s, i64, Double> {
    let closing = auctions.map_values(|auction| (auction.seller, auction.expires));
    let sold = winning.join(&closing, |offer, (seller, expires)| (*seller, *expires, offer.price));
    let by_seller =
        sold.group_by(|auction, (seller, expires, price)| (*seller, (*expires, *auction, *price)));
    let last = by_seller.top(10, Ties::Cut, |(expires, auction, _price)| (*expires, *auction));
    average(&last.group_by(|(seller, (_expires, _auction, price)), ()| (*seller, *price)))
}

row! {
    /// The winning bid of an auction.
    pub(crate) struct Winner {
        bid: i64,
        bidder: i64,
        price: i64,
        bid_date_time: Timestamp,
        bid_extra: String,
    }
}

/// Which bid wins each auction? (Winning bids.)
pub(crate) fn q9<'s>(
    winning: &Winning<'s>,
    auctions: &Auctions<'s>,
) -> KTable<'s, i64, (Auction, Winner)> {
    winning.join(auctions, |offer, auction| {
        let winner = Winner {
            bid: offer.id.0,
            bidder: offer.bidder,
            price: offer.price,
            bid_date_time: offer.date_time.0,
            bid_extra: offer.extra.clone(),
        };
        (auction.clone(), winner)
    })
}

row! {
    /// A bid with the auction that it is for.
    pub(crate) struct Expanded {
        auction: i64,
        bidder: i64,
        price: i64,
        channel: String,
        url: String,
        bid_date_time: Timestamp,
        bid_extra: String,
        item_name: String,
        description: String,
        initial_bid: i64,
        reserve: i64,
        auction_date_time: Timestamp,
        expires: Timestamp,
        seller: i64,
        category: i64,
        auction_extra: String,
    }
}

/// Which auctions are the bids in category 10 for? (Expand bid with auction.)
pub(crate) fn q20<'s>(bids: &Bids<'s>, auctions: &Auctions<'s>) -> KTable<'s, i64, Expanded> {
    let wanted = auctions.filter(|_id, auction| auction.category == 10);
    let by_auction = bids.map(|id, bid| (bid.auction, (id, bid)));
    let expanded = by_auction.join(&wanted, |(id, bid), auction| (*id, expand(bid, auction)));
    expanded.map(|_auction, (id, expanded)| (id, expanded)).to_table()
}

fn expand(bid: &Bid, auction: &Auction) -> Expanded {
    let (bid, of) = (bid.clone(), auction.clone());
    Expanded {
        auction: bid.auction,
        bidder: bid.bidder,
        price: bid.price,
        channel: bid.channel,
        url: bid.url,
        bid_date_time: bid.date_time,
        bid_extra: bid.extra,
        item_name: of.item_name,
        description: of.description,
        initial_bid: of.initial_bid,
        reserve: of.reserve,
        auction_date_time: of.date_time,
        expires: of.expires,
        seller: of.seller,
        category: of.category,
        auction_extra: of.extra,
    }
}

/// Returns the average price of each group.
fn average<'s, G: Datum>(prices: &KGrouped<'s, G, i64>) -> KTable<'s, G, Double> {
    prices
        .sum(|price| *price)
        .join(&prices.count(), |sum, count| Double::from(*sum as f64 / *count as f64))
}
