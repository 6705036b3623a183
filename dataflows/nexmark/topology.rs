//! The whole benchmark: three streams in, the answers to its questions out.

use watershed::StreamsBuilder;
use watershed::options::Produced;

use crate::model::{Auction, Bid, Person, consumed};
use crate::queries::{auctions, bids, rankings};

/// Builds the topology: a function for each question.
pub(crate) fn topology(builder: &StreamsBuilder<'_>) {
    let persons = builder.table("person", consumed(|person: &Person| person.date_time));
    let listed = builder.stream("auction", consumed(|auction: &Auction| auction.date_time));
    let bids = builder.stream("bid", consumed(|bid: &Bid| bid.date_time));

    // A join of two tables needs equal keys; a stream joins by any key.
    let auctions = listed.to_table();
    let winning = auctions::winning_bids(&bids, &auctions);

    bids::q0(&bids).to("q0", id().and(Bid::COLUMNS));
    bids::q1(&bids).to("q1", id().and(bids::Euros::COLUMNS));
    bids::q2(&bids).to("q2", id().and(["auction", "price"]));
    auctions::q3(&listed, &persons).to("q3", id().and(auctions::Seller::COLUMNS));
    auctions::q4(&winning, &auctions).to("q4", Produced::columns(["category", "avg_price"]));
    auctions::q6(&winning, &auctions).to("q6", Produced::columns(["seller", "avg_price"]));
    auctions::q9(&winning, &auctions)
        .to("q9", id().and(Auction::COLUMNS).and(auctions::Winner::COLUMNS));
    bids::q10(&bids).to("q10", id().and(bids::Logged::COLUMNS));
    bids::q14(&bids).to("q14", id().and(bids::Calculated::COLUMNS));
    rankings::q17(&bids)
        .to("q17", Produced::columns(["auction", "day"]).and(rankings::Statistics::COLUMNS));
    rankings::q18(&bids)
        .to("q18", Produced::columns(["bidder", "auction"]).and(rankings::LastBid::COLUMNS));
    rankings::q19(builder, &bids)
        .to("q19", Produced::columns(["auction", "rank"]).and(rankings::TopBid::COLUMNS));
    auctions::q20(&bids, &auctions).to("q20", id().and(auctions::Expanded::COLUMNS));
    bids::q21(&bids).to("q21", id().and(bids::Channel::COLUMNS));
    bids::q22(&bids).to("q22", id().and(bids::Directories::COLUMNS));
}

fn id() -> Produced {
    Produced::columns(["id"])
}
