//! [`JoinWindows`]: the distance in time at which records of two streams are joined.

use std::time::Duration;

/// The distance in time at which records of two streams are a pair: the right record is at most
/// `before` earlier and at most `after` later than the left one.
///
/// Unlike Kafka's, a window without a stated [`grace`](Self::grace) never closes: all records are
/// kept, and a record without a partner is never emitted.
///
/// ```
/// use std::time::Duration;
/// use watershed::options::JoinWindows;
///
/// // An impression is followed by a click within a minute.
/// let minute = Duration::from_secs(60);
/// let windows = JoinWindows::of(minute).before(Duration::ZERO).grace(minute);
/// assert_eq!(windows.describe(), "from 0ns before to 60s after, grace 60s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWindows {
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    pub(crate) grace: Option<Duration>,
}

impl JoinWindows {
    /// Joins records that are at most `difference` apart.
    pub fn of(difference: Duration) -> Self {
        JoinWindows { before: difference, after: difference, grace: None }
    }

    /// Sets how much earlier than the left record the right one may be.
    #[must_use]
    pub fn before(self, before: Duration) -> Self {
        JoinWindows { before, ..self }
    }

    /// Sets how much later than the left record the right one may be.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        JoinWindows { after, ..self }
    }

    /// Closes the window of a record when stream time has passed its end by more than `grace`.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        JoinWindows { grace: Some(grace), ..self }
    }

    /// Returns a description, with all settings.
    pub fn describe(&self) -> String {
        let grace = self.grace.map(|grace| format!(", grace {grace:?}")).unwrap_or_default();
        format!("from {:?} before to {:?} after{grace}", self.before, self.after)
    }
}
