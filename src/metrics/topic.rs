//! The counters of a topic, and their values.

use std::sync::atomic::{AtomicI64, Ordering};

use super::prometheus::Kind;
use super::tally::{Tallies, Tally};
use crate::faults;
use crate::time::Epoch;

/// Declares each counter once: its kind, its name, and its description, which is also the doc
/// comment of the field and the help text in Prometheus.
macro_rules! counters {
    ($($(#[doc = $help:literal])+ $kind:ident $field:ident,)+) => {
        /// Numbers of the records of a topic. Always
        /// `read = applied + duplicates + superseded + dead`.
        ///
        /// ```
        /// use watershed::prelude::*;
        ///
        /// let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
        ///     let rows = builder.table::<i64, i64>("rows", Consumed::with(Json, Json));
        ///     rows.to("kept", Produced::columns(["id", "n"]));
        /// });
        /// let mut driver = TopologyTestDriver::new(topology)?;
        /// for (offset, value) in [(1, "7"), (3, "8"), (2, "9"), (4, "8"), (5, "eight")] {
        ///     driver.pipe_at("rows", 0, offset, Some(b"1"), Some(value.as_bytes()));
        /// }
        /// driver.commit()?;
        /// let rows = &driver.finish()?.topics["rows"];
        /// assert_eq!((rows.read, rows.rows, rows.applied, rows.replaced), (5, 1, 2, 1));
        /// assert_eq!((rows.duplicates, rows.superseded, rows.dead), (1, 1, 1));
        /// assert!(rows.balances());
        /// # Ok::<(), Error>(())
        /// ```
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct TopicSummary {
            $($(#[doc = $help])+ pub $field: u64,)+
        }

        /// The counters behind a [`TopicSummary`], one for each field, shared by all workers.
        #[derive(Debug, Default)]
        pub(crate) struct TopicCounters {
            $(pub(crate) $field: AtomicI64,)+
            /// The outcomes of records by epoch, from which these counters are summed up.
            pub(crate) tallies: Tallies,
        }

        impl TopicCounters {
            /// Returns the current values.
            pub(crate) fn summary(&self) -> TopicSummary {
                TopicSummary { $($field: value(&self.$field),)+ }
            }
        }

        impl TopicSummary {
            /// The kind, name and help text of each field.
            pub(super) const FIELDS: &[(Kind, &str, &str)] =
                &[$((Kind::$kind, stringify!($field), concat!($($help),+)),)+];

            /// Returns the values in the order of [`FIELDS`](Self::FIELDS).
            pub(super) fn values(&self) -> Vec<u64> {
                vec![$(self.$field),+]
            }
        }
    };
}

counters! {
    /// Records read since the beginning of the state.
    Counter read,
    /// Bytes of these records.
    Counter bytes,
    /// Rows in the table now; 0 for a stream.
    Gauge rows,
    /// Keys with a row, and deleted keys whose position is still needed; 0 for a stream.
    Gauge keys,
    /// Records that changed their table, or that a stream passed on.
    Counter applied,
    /// Of the applied records, those that replaced another row.
    Counter replaced,
    /// Records equal to the current row of their key, and tombstones for a key without a row.
    Counter duplicates,
    /// Records that arrived after one with a later position.
    Counter superseded,
    /// Records that could not be used.
    Counter dead,
}

impl TopicCounters {
    /// Counts the outcomes of records of an epoch. Call it once a batch, because all workers share
    /// the counters.
    pub(crate) fn count(&self, epoch: Epoch, tally: Tally) {
        self.add_all(tally);
        if !(tally.dead > 0 && faults::bug("uncounted_record")) {
            self.tallies.add(epoch, tally);
        }
    }

    /// Begins with the numbers up to a snapshot. Rows and keys are counted anew.
    pub(crate) fn restore(&self, earlier: Tally) {
        self.add_all(earlier);
        self.tallies.restore(earlier);
    }

    fn add_all(&self, tally: Tally) {
        Self::add(&self.read, tally.read);
        Self::add(&self.applied, tally.applied);
        Self::add(&self.duplicates, tally.duplicates);
        Self::add(&self.superseded, tally.superseded);
        Self::add(&self.dead, tally.dead);
        Self::add(&self.bytes, tally.bytes);
        Self::add(&self.replaced, tally.replaced);
    }

    /// Adds to a counter. Call it once a batch, because all workers share the counter.
    pub(crate) fn add(counter: &AtomicI64, n: u64) {
        counter.fetch_add(n as i64, Ordering::Relaxed);
    }
}

impl TopicSummary {
    /// Returns true if every record that was read is accounted for.
    pub fn balances(&self) -> bool {
        self.read == self.applied + self.duplicates + self.superseded + self.dead
    }
}

/// Returns the value of a counter or gauge. A gauge is below 0 while one worker has counted a
/// retraction and another has not yet counted the addition before it; then it is shown as 0.
pub(super) fn value(counter: &AtomicI64) -> u64 {
    u64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(0)
}
