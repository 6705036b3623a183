//! The questions: each a function whose doc comment is the question.
//!
//! Each answer is maintained: a late bid or auction moves it. Those about windows are final when
//! their windows close.

pub(crate) mod auctions;
pub(crate) mod bids;
pub(crate) mod rankings;
pub(crate) mod reports;
pub(crate) mod windows;

use watershed::program::Output;
use watershed::{KStream, KTable};

use crate::model::{Auction, Bid, Person, Side};

/// Bids by id.
pub(crate) type Bids<'s> = KStream<'s, i64, Bid>;
/// Auctions by id: a stream of announcements.
pub(crate) type Listed<'s> = KStream<'s, i64, Auction>;
/// Auctions by id: a table of the latest announcements.
pub(crate) type Auctions<'s> = KTable<'s, i64, Auction>;
/// Persons by id.
pub(crate) type Persons<'s> = KTable<'s, i64, Person>;

/// Rows of the side input by id.
pub(crate) type Sides<'s> = KTable<'s, i64, Side>;

/// The answers with their titles, in printing order.
const TITLES: [(&str, &str); 23] = [
    ("q0", "Which bids are there?"),
    ("q1", "How much is each bid in euros?"),
    ("q2", "Which bids are for every 123rd auction, and at which price?"),
    ("q3", "Which people sell something of category 10 in Oregon, Idaho or California?"),
    ("q4", "How much is the average winning bid in each category?"),
    ("q5", "Which auctions have the most bids of the last ten seconds?"),
    ("q6", "How much is the average winning bid in the last ten auctions of each seller?"),
    ("q7", "Which are the highest bids of each ten seconds?"),
    ("q8", "Which people open an auction in the same ten seconds in which they join?"),
    ("q9", "Which bid wins each auction?"),
    ("q10", "Which bids were made in which minute?"),
    ("q11", "How many bids does each bidder make in each session?"),
    ("q12", "How many bids does each bidder make in ten seconds?"),
    ("q13", "Which value of the side input belongs to each bid?"),
    ("q14", "At which time of day were the dear bids made?"),
    ("q15", "How many bids, bidders and auctions are there a day?"),
    ("q16", "How many bids, bidders and auctions are there a day in each channel?"),
    ("q17", "How many bids are made on each auction a day, and at which prices?"),
    ("q18", "Which is the last bid of each bidder on each auction?"),
    ("q19", "Which are the ten highest bids of each auction?"),
    ("q20", "Which auctions are the bids in category 10 for?"),
    ("q21", "Which id has the channel of each bid?"),
    ("q22", "In which directories is the page of each bid?"),
];
/// The tables with about as many rows as there are bids or channels.
const LONG: [&str; 7] = ["q0", "q1", "q13", "q16", "q20", "q21", "q22"];
/// The answer that is a log of files, as in the benchmark.
const LOG: &str = "q10";

/// Returns all answers. Long tables are printed only if they are named.
pub(crate) fn outputs() -> [Output; 23] {
    TITLES.map(|(topic, title)| {
        let output = Output::new(topic).title(title);
        match topic {
            LOG => output.archived(),
            _ if LONG.contains(&topic) => output.unlisted(),
            _ => output,
        }
    })
}
