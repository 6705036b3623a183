//! [`Limits`]: the time limits of the connections between processes.

use std::time::Duration;

use crate::faults;

/// The time limits of the connections between processes. All processes need the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest time until all processes are connected.
    pub(crate) gather: Duration,
    /// Time until the first warning that a process has not come.
    pub(crate) first_warning: Duration,
    /// Time between two later warnings.
    pub(crate) warning: Duration,
    /// The longest time of one handshake.
    pub(crate) handshake: Duration,
    /// The most handshakes at the same time.
    pub(crate) pending: usize,
    /// Time between two signs of life.
    pub(crate) beat: Duration,
    /// Time without any byte after which a process counts as lost.
    pub(crate) silence: Duration,
    /// The longest wait for the first cause of a failure, once its consequences are seen.
    pub(crate) verdict: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let millis = |name, default| Duration::from_millis(faults::limit(name, default));
        Limits {
            gather: millis("gather_millis", 60_000),
            first_warning: millis("first_warning_millis", 10_000),
            warning: Duration::from_secs(60),
            handshake: Duration::from_secs(2),
            pending: 4,
            beat: millis("beat_millis", 1_000),
            silence: millis("silence_millis", 9_000),
            verdict: Duration::from_millis(500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_hangs_is_noticed_within_10_seconds() {
        let Limits { beat, silence, verdict, .. } = Limits::default();
        // The end of all threads takes a moment too.
        assert!(silence + verdict < Duration::from_millis(9_900));
        assert!(beat * 4 < silence, "a busy machine delays signs of life");
    }
}
