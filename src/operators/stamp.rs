//! The changes of a table with the times of the records that made them.

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use super::datum::Datum;
use super::epochs::{Step, in_epochs};
use super::keyed::Timed;
use super::owners::Owners;
use super::seeds::Map;
use crate::metrics::Meter;
use crate::time::Epoch;

/// An update of a row, or a record that has updated it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Update<V> {
    /// The new row, without the former one; `None` deletes it.
    Row(Option<V>),
    /// The former row, which is retracted.
    Retracted(V),
    /// The times of a record that may have changed the row.
    Touch(Timed<()>),
}

/// The net change of a row in an epoch.
#[derive(Clone, Debug)]
pub(crate) struct Stamped<K, V> {
    pub(crate) key: K,
    /// The former row; `None` also where the updates have none.
    pub(crate) before: Option<V>,
    pub(crate) after: Option<V>,
    /// The times of the last record that has touched the row in the epoch.
    pub(crate) times: Timed<()>,
    /// The greatest times of all these records.
    pub(crate) greatest: Timed<()>,
}

/// The updates of a row in an open epoch.
struct Open<V> {
    before: Option<V>,
    after: Option<V>,
    is_updated: bool,
    touch: Option<Touch>,
}

/// The records that have touched a row in an open epoch.
struct Touch {
    last: Timed<()>,
    greatest: Timed<()>,
}

impl Touch {
    fn add(&mut self, times: Timed<()>) {
        let greatest = &mut self.greatest;
        greatest.timestamp = greatest.timestamp.max(times.timestamp);
        greatest.partition_time = greatest.partition_time.max(times.partition_time);
        if (self.last.order, &self.last.ordinal) <= (times.order, &times.ordinal) {
            self.last = times;
        }
    }
}

impl<V> Open<V> {
    fn new() -> Self {
        Open { before: None, after: None, is_updated: false, touch: None }
    }

    fn add(&mut self, update: Update<V>) {
        match update {
            Update::Row(row) => (self.after, self.is_updated) = (row, true),
            Update::Retracted(row) => {
                // The first retraction takes the row of earlier epochs.
                self.before = if self.is_updated { self.before.take() } else { Some(row) };
                (self.after, self.is_updated) = (None, true);
            }
            Update::Touch(times) => match &mut self.touch {
                Some(touch) => touch.add(times),
                None => self.touch = Some(Touch { last: times.clone(), greatest: times }),
            },
        }
    }
}

/// Emits, when an epoch is closed, the net change of each row with the times of the last touch; in
/// `per_record` also updates that leave a row as it was. It keeps nothing between epochs.
///
/// An update without a touch is that of a restored row, which is no change. Everything before the
/// epoch `first` is restored too.
pub(crate) fn stamp<'s, K: Datum, V: Datum>(
    updates: StreamVec<'s, Epoch, (K, Update<V>)>,
    first: Epoch,
    owners: &Owners,
) -> StreamVec<'s, Epoch, Stamped<K, V>> {
    let passes_unchanged = owners.mode().is_per_record();
    let mut open: Map<K, Open<V>> = owners.seeds().map();
    // Keys in the order of their first updates.
    let mut order: Vec<K> = Vec::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Vec<(K, Update<V>)>>,
                      out: &mut Vec<Stamped<K, V>>| match step {
        Step::Data(updates) => {
            for (key, update) in updates.drain(..) {
                match open.get_mut(&key) {
                    Some(row) => row.add(update),
                    None => {
                        order.push(key.clone());
                        open.entry(key).or_insert_with(Open::new).add(update);
                    }
                }
            }
            true
        }
        Step::Close => {
            for key in order.drain(..) {
                if let Some(Open { before, after, is_updated: true, touch: Some(touch) }) =
                    open.remove(&key)
                    && (before != after || passes_unchanged)
                    && epoch >= first
                {
                    let Touch { last: times, greatest } = touch;
                    out.push(Stamped { key, before, after, times, greatest });
                }
            }
            false
        }
    };
    let seeds = owners.seeds();
    let route = move |(key, _): &(K, Update<V>)| seeds.route(key);
    // The changes are those of a step that counts them itself.
    let none = Meter::default();
    in_epochs(updates, route, owners, "times", none, Box::new(logic), std::convert::identity)
}
