//! The whole benchmark: three streams and a side input in, the answers to its questions out.

use watershed::StreamsBuilder;
use watershed::options::{Consumed, Produced};

use crate::model::{Auction, Bid, Person, SIDE_INPUT, Side, consumed, decode};
use crate::queries::{auctions, bids, rankings, reports, windows};

/// Builds the topology: a function for each question.
pub(crate) fn topology(builder: &StreamsBuilder<'_>) {
    let persons = builder.table("person", consumed(|person: &Person| person.date_time));
    let listed = builder.stream("auction", consumed(|auction: &Auction| auction.date_time));
    let bids = builder.stream("bid", consumed(|bid: &Bid| bid.date_time));
    let sides = builder.table(SIDE_INPUT, Consumed::from_record(decode::<Side>));

    // A join of two tables needs equal keys; a stream joins by any key.
    let auctions = listed.to_table();
    let winning = auctions::winning_bids(&bids, &auctions);

    bids::q0(&bids).to("q0", id().and(Bid::COLUMNS));
    bids::q1(&bids).to("q1", id().and(bids::Euros::COLUMNS));
    bids::q2(&bids).to("q2", id().and(["auction", "price"]));
    auctions::q3(&listed, &persons).to("q3", id().and(auctions::Seller::COLUMNS));
    auctions::q4(&winning, &auctions).to("q4", Produced::columns(["category", "avg_price"]));
    windows::q5(&bids)
        .to("q5", Produced::columns(["starttime", "endtime"]).and(windows::HotItem::COLUMNS));
    auctions::q6(&winning, &auctions).to("q6", Produced::columns(["seller", "avg_price"]));
    windows::q7(&bids)
        .to("q7", Produced::columns(["starttime", "endtime"]).and(windows::HighestBid::COLUMNS));
    windows::q8(&listed, &persons)
        .to("q8", Produced::columns(["id", "starttime", "endtime", "name"]));
    auctions::q9(&winning, &auctions)
        .to("q9", id().and(Auction::COLUMNS).and(auctions::Winner::COLUMNS));
    bids::q10(&bids).to("q10", id().and(bids::Logged::COLUMNS));
    windows::q11(&bids).to("q11", bids_of_bidder());
    windows::q12(&bids).to("q12", bids_of_bidder());
    bids::q13(&bids, &sides).to("q13", id().and(bids::Enriched::COLUMNS));
    bids::q14(&bids).to("q14", id().and(bids::Calculated::COLUMNS));
    reports::q15(&bids).to("q15", Produced::columns(["day"]).and(reports::Activity::REPORT));
    reports::q16(&bids)
        .to("q16", Produced::columns(["channel", "day", "minute"]).and(reports::Activity::REPORT));
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

fn bids_of_bidder() -> Produced {
    Produced::columns(["bidder", "starttime", "endtime", "bid_count"])
}

fn id() -> Produced {
    Produced::columns(["id"])
}
