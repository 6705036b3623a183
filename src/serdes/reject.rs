//! [`Reject`]: the reason and the detail of a dead letter.

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// The class of a dead letter, a short fixed phrase such as `invalid json`.
pub type Reason = &'static str;

/// The rejection of a record that can't be used. The record changes nothing and becomes a dead
/// letter.
///
/// ```
/// use watershed::prelude::*;
///
/// let even = |bytes: Option<&[u8]>| -> Result<(i64, ()), Reject> {
///     let n: i64 = Json.decode(bytes)?;
///     if n % 2 == 0 { Ok((n, ())) } else { Err(Reject::new("odd number", n)) }
/// };
/// let topology = Topology::new("even", move |builder: &StreamsBuilder<'_>| {
///     builder.stream("numbers", Consumed::from_value(even)).print("even");
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// driver.pipe("numbers", 0, None, Some(b"7"));
/// driver.commit()?;
/// let letters = driver.dead_letters();
/// let texts = ["odd number", "7"].map(|text| Value::Text(text.to_string()));
/// assert_eq!(letters[0][3..5], texts);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The class of the dead letter: a short fixed phrase.
    pub reason: std::borrow::Cow<'static, str>,
    /// The details, at most 200 characters.
    pub detail: String,
}

impl Reject {
    /// Returns a rejection. `detail` is cut off after 200 characters.
    pub fn new(reason: Reason, detail: impl ToString) -> Self {
        let mut detail = detail.to_string();
        if let Some((cut, _)) = detail.char_indices().nth(200) {
            detail.truncate(cut);
        }
        Reject { reason: reason.into(), detail }
    }

    /// Rejects a record whose value was too large to be read whole. Such a record is never decoded.
    ///
    /// # Errors
    /// When only the beginning of the value was read. The reason is `too large`.
    pub fn unless_whole(record: &Record<'_>) -> Result<(), Self> {
        record.cut.map_or(Ok(()), |length| Err(Reject::new("too large", format!("{length} bytes"))))
    }
}
