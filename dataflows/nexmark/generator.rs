//! The three streams and the side input as the benchmark's generator makes them, from a seed: a
//! source that holds no data.
//!
//! Events are numbered. In each round of 50 the first is a person, the next 3 are auctions, and 46
//! are bids. An event depends only on the seed and on its number. So any record can be generated
//! again at any time, and a source of more events continues one of fewer.
//!
//! - **Partition**: records go to the partitions in turn, by their number in the topic.
//! - **Position**: the number of a record in its partition.
//! - **Guaranteed**: the same records at the same offsets, for the same seed, spacing and number of
//!   partitions. Rate and number of events make no difference.
//!
//! The figures are those of Apache Beam's and Flink's generators. In each hundred auctions the
//! first is hot: half of the bids are for it. In each hundred persons the first is the hot seller
//! and the second the hot bidder: three quarters of the auctions and of the bids come from them.
//! Other bids are for one of the last 100 auctions. Other sellers and bidders are among the last
//! 1,000 persons. Up to 10 auctions or persons are named before their own events.

mod draw;
mod events;
mod settings;
mod side_input;
mod source;
#[cfg(test)]
mod tests;

use watershed::connect::Source;
use watershed::{Error, Result};

pub(crate) use events::Kind;
use settings::Settings;
use side_input::SideInput;
use source::Generated;

use crate::model::SIDE_INPUT;

/// Opens the source of a topic at a URL such as `generated://?events=1000000&seed=7&rate=5000`.
///
/// Its parameters are `events` (100,000 if it is not given), `seed` (7), `rate` in events a second
/// for followers (no limit), `partitions` of a topic (4), and `spacing_us`, the microseconds of
/// event time between two events (100).
///
/// # Errors
/// When a parameter is unknown or out of its range, or there is no such topic.
pub(crate) fn open(url: &str, topic: &str) -> Result<Box<dyn Source>> {
    let settings = Settings::parse(url)?;
    if topic == SIDE_INPUT {
        return Ok(Box::new(SideInput));
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.topic() == topic).ok_or_else(|| {
        Error::internal(format!("can't generate {topic}: there is no such kind of events"))
    })?;
    Ok(Box::new(Generated::new(kind, settings)))
}
