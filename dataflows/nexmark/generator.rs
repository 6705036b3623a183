//! The three streams as the benchmark's generator makes them, from a seed: a source that holds no
//! data.
//!
//! Events are numbered. In each round of 50 the first is a person, the next 3 are auctions, and 46
//! are bids. An event is a function of the seed and of its number alone, so any record can be made
//! again at any time, and a source of more events continues one of fewer.
//!
//! - **Partition**: records go to the partitions in turn, by their number in the topic.
//! - **Position**: the number of a record in its partition.
//! - **Guaranteed**: the same records at the same offsets, for the same seed, spacing and number of
//!   partitions; whatever the rate and the number of events.
//!
//! The figures are those of Apache Beam's and Flink's generators: half of the bids are for the hot
//! auction, which is the first of a hundred; three quarters of the bids come from the hot bidder,
//! and of the auctions from the hot seller, which are the second and the first of a hundred
//! persons. Other bids go to one of the last 100 auctions, other persons are among the last 1,000;
//! up to 10 of each may be yet to come.

mod draw;
mod events;
mod settings;
mod source;
#[cfg(test)]
mod tests;

use watershed::connect::Source;
use watershed::{Error, Result};

pub(crate) use events::Kind;
use settings::Settings;
use source::Generated;

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
    let kind = Kind::ALL.into_iter().find(|kind| kind.topic() == topic).ok_or_else(|| {
        Error::internal(format!("can't generate {topic}: there is no such kind of events"))
    })?;
    Ok(Box::new(Generated::new(kind, settings)))
}
