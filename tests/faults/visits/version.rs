//! The versions of `visits`.

use std::time::Duration;

use watershed::prelude::*;

/// The pages of views, or the amounts of orders, by user.
pub(crate) type Visits<'s> = KStream<'s, i64, i64>;

/// The tables that a version has. A state is never adopted by another family.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Family {
    /// Windows, sessions, suppression until windows close, outer joins.
    Windows,
    /// Joins that are maintained, also in time, and folds of tables.
    Joins,
    /// Tables that depend on where epochs end: a snapshot is part of each commit.
    Epochs,
}

/// The versions of the program, which adopt the state of one another within a family.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    pub(crate) family: Family,
    /// The table `totals` counts instead of adding up.
    pub(crate) counts: bool,
    /// Outer joins have users with a view only.
    pub(crate) is_left: bool,
    /// There is a table `digits`.
    pub(crate) has_digits: bool,
}

impl Version {
    /// Returns the version that these bits select; those from the fourth on are the family.
    pub(crate) fn of(bits: u8) -> Self {
        let [counts, is_left, has_digits] = [1, 2, 4].map(|bit| bits & bit > 0);
        let family = match bits >> 3 {
            0 => Family::Windows,
            1 => Family::Joins,
            _ => Family::Epochs,
        };
        Version { family, counts, is_left, has_digits }
    }
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
