//! Questions about the events of a window of event time.
//!
//! Windows have a grace: events may be as much out of order. Later ones are left out, so that the
//! state of a closed window can be freed. Rows of closed windows stay.

use std::time::Duration;

use watershed::options::{SessionWindows, Ties, TimeWindows};
use watershed::{KTable, Timestamp, Windowed, row};

use super::{Bids, Listed, Persons};

/// The time by which an event may be later than the events before it. It is the delay of the
/// benchmark's watermark. Generated events are out of order by the times of 1,000 events: 0.1 s,
/// unless another spacing is given.
pub(crate) const GRACE: Duration = Duration::from_secs(4);
/// The length of a window, and of the pause that ends a session.
const PERIOD: Duration = Duration::from_secs(10);
/// The distance between two windows that overlap.
const ADVANCE_DURATION: Duration = Duration::from_secs(2);

/// Windows of ten seconds, one after the other.
pub(crate) fn tumbling() -> TimeWindows {
    TimeWindows::of_size(PERIOD).grace(GRACE)
}

/// Windows of ten seconds that begin every two seconds.
pub(crate) fn hopping() -> TimeWindows {
    TimeWindows::of_size(PERIOD).advance_by(ADVANCE_DURATION).grace(GRACE)
}

/// Sessions that end with a pause of more than ten seconds.
pub(crate) fn sessions() -> SessionWindows {
    SessionWindows::of_inactivity_gap(PERIOD).grace(GRACE)
}

row! {
    /// The bounds of a window: its start is inclusive, its end is not.
    pub(crate) struct Bounds {
        starttime: Timestamp,
        endtime: Timestamp,
    }
}

row! {
    /// An auction with its number of bids in a window.
    pub(crate) struct HotItem {
        auction: i64,
        num: i64,
    }
}

/// Which auctions have the most bids of the last ten seconds? (Hot items.)
pub(crate) fn q5<'s>(bids: &Bids<'s>) -> KTable<'s, (Bounds, HotItem), ()> {
    let counts = bids.group_by(|_id, bid| (bid.auction, ())).windowed_by(hopping()).count();
    let by_window = counts.group_by(|Windowed { key: auction, start, end }, num| {
        (Bounds { starttime: *start, endtime: *end }, HotItem { auction: *auction, num: *num })
    });
    by_window.top(1, Ties::Keep, |item| item.num)
}

row! {
    /// A bid that is the highest of a window.
    pub(crate) struct HighestBid {
        id: i64,
        auction: i64,
        bidder: i64,
        price: i64,
        date_time: Timestamp,
        extra: String,
    }
}

/// Which are the highest bids of each ten seconds? (Highest bid.)
pub(crate) fn q7<'s>(bids: &Bids<'s>) -> KTable<'s, (Windowed<()>, HighestBid), ()> {
    let all = bids.group_by(|id, bid| {
        let highest = HighestBid {
            id: *id,
            auction: bid.auction,
            bidder: bid.bidder,
            price: bid.price,
            date_time: bid.date_time,
            extra: bid.extra.clone(),
        };
        ((), highest)
    });
    all.windowed_by(tumbling()).top(1, Ties::Keep, |bid| bid.price)
}

/// Which people open an auction in the same ten seconds in which they join? (Monitor new users.)
pub(crate) fn q8<'s>(
    listed: &Listed<'s>,
    persons: &Persons<'s>,
) -> KTable<'s, Windowed<i64>, String> {
    let opened = listed.group_by(|_id, auction| (auction.seller, ())).windowed_by(tumbling());
    // Persons are a table, which has no windows. So a person is joined by the window of the time at
    // which the person joined.
    let joined = persons.group_by(|id, person| {
        let start = person.date_time.0.div_euclid(PERIOD_MICROS).saturating_mul(PERIOD_MICROS);
        let end = Timestamp(start.saturating_add(PERIOD_MICROS));
        (Windowed { key: *id, start: Timestamp(start), end }, person.name.clone())
    });
    joined.max().join(&opened.count(), |name, _auctions| name.clone())
}

/// [`PERIOD`] in microseconds.
const PERIOD_MICROS: i64 = PERIOD.as_micros() as i64;

/// How many bids does each bidder make in each session? (User sessions.)
///
/// The end of a session is the time of its last bid, as in Kafka. In the benchmark's SQL it is ten
/// seconds later.
pub(crate) fn q11<'s>(bids: &Bids<'s>) -> KTable<'s, Windowed<i64>, i64> {
    bids.group_by(|_id, bid| (bid.bidder, ())).windowed_by(sessions()).count()
}

/// How many bids does each bidder make in ten seconds? (Processing time windows.)
///
/// The benchmark means ten seconds by the clock of the machine, so that its answer depends on the
/// speed of the run. Here they are seconds of event time.
pub(crate) fn q12<'s>(bids: &Bids<'s>) -> KTable<'s, Windowed<i64>, i64> {
    bids.group_by(|_id, bid| (bid.bidder, ())).windowed_by(tumbling()).count()
}
