//! Why a record can't be used: the reason and detail of its dead letter.

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// The class of a dead letter, a short fixed phrase such as `invalid json`.
pub type Reason = &'static str;

/// A record that can't be used: it changes nothing and becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The class, one of few fixed phrases.
    pub reason: std::borrow::Cow<'static, str>,
    /// What exactly was wrong, at most 200 characters.
    pub detail: String,
}

impl Reject {
    /// A rejection for `reason`; `detail` is cut at 200 characters.
    pub fn new(reason: Reason, detail: impl ToString) -> Self {
        let mut detail = detail.to_string();
        if let Some((cut, _)) = detail.char_indices().nth(200) {
            detail.truncate(cut);
        }
        Reject { reason: reason.into(), detail }
    }

    /// Rejects a record of whose value only the beginning was read, which is never decoded.
    ///
    /// # Errors
    /// If it is one: it is `too large`.
    pub fn unless_whole(record: &Record<'_>) -> Result<(), Self> {
        record.cut.map_or(Ok(()), |length| Err(Reject::new("too large", format!("{length} bytes"))))
    }
}
