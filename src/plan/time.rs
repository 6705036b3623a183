//! The topics whose time a topology uses, and the steps that use watermarks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The part of a plan that is about time. Topics are named by their ranks.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimePlan {
    /// The topics whose time is used.
    pub(crate) timed: BTreeSet<u16>,
    /// The different sets of topics before the steps that use watermarks.
    pub(crate) watermarks: Vec<BTreeSet<u16>>,
    /// The topics whose timestamps are taken from keys and values.
    pub(crate) extracted: BTreeSet<u16>,
    /// The time after which a silent partition of a topic is idle.
    pub(crate) idle_after: BTreeMap<u16, Duration>,
    /// The steps whose records can't have times.
    pub(crate) untimed: Vec<usize>,
    /// The steps whose records have times if a step behind them uses these.
    pub(crate) optional: Vec<usize>,
    /// Those of them that have such a step behind them.
    pub(crate) asked: BTreeSet<usize>,
}
