//! [`Suppressed`]: when the changes of a table are emitted.

use std::time::Duration;

/// The time for which changes of a table wait, so that later ones replace them.
///
/// ```
/// use std::time::Duration;
/// use watershed::options::Suppressed;
///
/// let hourly = Suppressed::until_time_limit(Duration::from_secs(3_600)).max_records(900);
/// assert_eq!(hourly.emit_early().describe(), "for 3600s, up to 900 changes, then the oldest go");
/// assert_eq!(Suppressed::until_window_closes().describe(), "until windows close");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// None until the window of a row closes.
    pub(crate) limit: Option<Duration>,
    pub(crate) max_records: Option<usize>,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) emits_early: bool,
}

impl Suppressed {
    /// Emits the row of each window once, when the window closes.
    pub fn until_window_closes() -> Self {
        Suppressed { limit: None, max_records: None, max_bytes: None, emits_early: false }
    }

    /// Emits the last row of each key at most once in `limit` of stream time.
    pub fn until_time_limit(limit: Duration) -> Self {
        Suppressed { limit: Some(limit), ..Self::until_window_closes() }
    }

    /// Limits the number of changes that wait. All of them are on one worker then.
    #[must_use]
    pub fn max_records(self, max_records: usize) -> Self {
        Suppressed { max_records: Some(max_records), ..self }
    }

    /// Limits the bytes of the changes that wait: of each its encoded key and value, and 28 for its
    /// times and position. All of them are on one worker then.
    #[must_use]
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Suppressed { max_bytes: Some(max_bytes), ..self }
    }

    /// Emits the oldest change when too many wait.
    #[must_use]
    pub fn emit_early(self) -> Self {
        Suppressed { emits_early: true, ..self }
    }

    /// Ends the run with an error when too many changes wait. This is the default.
    #[must_use]
    pub fn shut_down(self) -> Self {
        Suppressed { emits_early: false, ..self }
    }

    /// Returns a description, with all settings.
    pub fn describe(&self) -> String {
        let time = match self.limit {
            Some(limit) => format!("for {limit:?}"),
            None => "until windows close".to_string(),
        };
        let records = self.max_records.map(|n| format!(", up to {n} changes")).unwrap_or_default();
        let bytes = self.max_bytes.map(|n| format!(", up to {n} bytes")).unwrap_or_default();
        let is_limited = self.max_records.or(self.max_bytes).is_some();
        let full = match (is_limited, self.emits_early) {
            (false, _) => "",
            (true, true) => ", then the oldest go",
            (true, false) => ", then the run ends",
        };
        format!("{time}{records}{bytes}{full}")
    }
}
