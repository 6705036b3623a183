//! The three kinds of events, and the rows of the side input. Each is keyed by its `id`, which is
//! not a field of the struct.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use watershed::options::Consumed;
use watershed::record::Record;
use watershed::serdes::{Deserializer, Json, Reject};
use watershed::{Timestamp, row};

row! {
    /// Somebody who sells, bids or does both.
    pub(crate) struct Person {
        pub(crate) name: String,
        pub(crate) email_address: String,
        pub(crate) credit_card: String,
        pub(crate) city: String,
        /// State of the USA, in two letters.
        pub(crate) state: String,
        pub(crate) date_time: Timestamp,
        /// Text that brings the event to its usual size.
        pub(crate) extra: String,
    }
}

row! {
    /// An item that is for sale from `date_time` until `expires`, both included.
    pub(crate) struct Auction {
        pub(crate) item_name: String,
        pub(crate) description: String,
        /// Least price of a bid, in cents.
        pub(crate) initial_bid: i64,
        /// Least price at which the item is sold, in cents. No query looks at it.
        pub(crate) reserve: i64,
        pub(crate) date_time: Timestamp,
        pub(crate) expires: Timestamp,
        /// Id of a person, whose event may come later.
        pub(crate) seller: i64,
        pub(crate) category: i64,
        /// Text that brings the event to its usual size.
        pub(crate) extra: String,
    }
}

row! {
    /// An offer of a price for an item. Its id is the number of the event.
    pub(crate) struct Bid {
        /// Id of an auction, whose event may come later.
        pub(crate) auction: i64,
        /// Id of a person, whose event may come later.
        pub(crate) bidder: i64,
        /// Price in cents.
        pub(crate) price: i64,
        /// Site or app that the bid came through.
        pub(crate) channel: String,
        /// Page on which the bid was made.
        pub(crate) url: String,
        pub(crate) date_time: Timestamp,
        /// Text that brings the event to its usual size.
        pub(crate) extra: String,
    }
}

/// The topic of the side input.
pub(crate) const SIDE_INPUT: &str = "side_input";
/// The rows of the side input. Their ids are the numbers from 0 on.
pub(crate) const SIDE_INPUT_ROWS: i64 = 10_000;

row! {
    /// A row of the side input, by which bids are enriched.
    pub(crate) struct Side {
        pub(crate) value: String,
    }
}

/// An event in the form of its record: its fields and its id.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Identified<V> {
    pub(crate) id: i64,
    #[serde(flatten)]
    pub(crate) event: V,
}

/// The id of an event. Its other fields are skipped.
#[derive(Deserialize)]
struct Id {
    id: i64,
}

/// Reads records of JSON as [`decode`] does, with the timestamps of the events.
pub(crate) fn consumed<V: DeserializeOwned + 'static>(
    date_time: fn(&V) -> Timestamp,
) -> Consumed<i64, V> {
    Consumed::from_record(decode).timestamp(move |_id, event| date_time(event))
}

/// Returns the id and the event of a record; `None` is a tombstone. The id is the key of the
/// record, or a field of its value if the log has no keys.
///
/// # Errors
/// When the record is no event of that kind.
pub(crate) fn decode<V: DeserializeOwned>(record: &Record<'_>) -> Result<(i64, Option<V>), Reject> {
    let id = match record.key {
        Some(key) => Json.decode(Some(key))?,
        None => {
            let Id { id } = Json.decode(record.value)?;
            id
        }
    };
    let event = record.value.map(|value| Json.decode(Some(value))).transpose()?;
    Ok((id, event))
}
