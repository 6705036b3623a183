//! The join of two tables on a range: a value of each left row lies in the interval of a right row.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate;

use super::datum::{Datum, Diffs, Side};
use super::epochs::Step;
use super::intervals::{End, Interval, Intervals};
use super::owners::Owners;
use super::settle::put_net;
use super::sides::in_epochs_of_both;
use crate::metrics::Meter;
use crate::time::Epoch;

/// The place of a left row among those with one value.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place<K> {
    First,
    Of(K),
    Last,
}

/// The left rows, in the order of their values.
struct Lefts<X, K, V>(BTreeMap<(X, Place<K>), V>);

impl<X: Ord + Clone, K: Ord, V> Lefts<X, K, V> {
    /// Calls `each` with the rows whose value lies in the interval.
    fn search(&self, interval: &Interval<X>, mut each: impl FnMut(&K, &V)) {
        let from =
            interval.start.0.as_ref().map(|(value, after)| {
                (value.clone(), if *after { Place::Last } else { Place::First })
            });
        let to = match &interval.end {
            End::At(value, true) => Some((value.clone(), Place::Last)),
            End::At(value, false) => Some((value.clone(), Place::First)),
            End::Never => None,
        };
        if let (Some(from), Some(to)) = (&from, &to)
            && from >= to
        {
            return;
        }
        let range = (
            from.map_or(Bound::Unbounded, Bound::Included),
            to.map_or(Bound::Unbounded, Bound::Included),
        );
        for ((_, place), row) in self.0.range(range) {
            if let Place::Of(key) = place {
                each(key, row);
            }
        }
    }
}

/// The closures of a join on a range.
pub(crate) struct RangeJoin<K, V, L, W, X, O> {
    /// Returns the value of a left row, if it has one.
    pub(crate) value: Box<dyn Fn(&K, &V) -> Option<X>>,
    /// Returns the interval of a right row, if it has one.
    pub(crate) interval: Box<dyn Fn(&L, &W) -> Option<Interval<X>>>,
    /// Makes a row of two rows; `None` is no row.
    pub(crate) joiner: Rc<dyn Fn(&V, &W) -> Option<O>>,
}

type Batch<D> = Vec<(D, Epoch, isize)>;

/// Maintains the rows of all pairs of a left row and a right row whose interval includes the value
/// of the left one. When an epoch is closed, it emits the net changes.
///
/// Each worker needs all right rows, and any share of the left ones. It keeps the rows of both
/// sides.
pub(crate) fn join_between<'s, K, V, L, W, X, O>(
    lefts: Diffs<'s, (K, V)>,
    rights: Diffs<'s, (L, W)>,
    join: RangeJoin<K, V, L, W, X, O>,
    name: &str,
    owners: &Owners,
    meter: Meter,
) -> Diffs<'s, ((K, L), O)>
where
    K: Datum,
    V: Datum,
    L: Datum,
    W: Datum,
    X: Ord + Clone + 'static,
    O: Datum,
{
    let mode = owners.mode();
    let RangeJoin { value, interval, joiner } = join;
    let mut left_rows: Lefts<X, K, V> = Lefts(BTreeMap::new());
    let mut right_rows: Intervals<X, L, W> = Intervals::new(owners.seeds());
    let (mut left_changes, mut right_changes) = (Vec::new(), Vec::new());
    let mut net: Vec<(((K, L), O), isize)> = Vec::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Side<Batch<(K, V)>, Batch<(L, W)>>>,
                      out: &mut Batch<((K, L), O)>| {
        match step {
            Step::Data(Side::Left(diffs)) => {
                left_changes.extend(diffs.drain(..).map(|(row, _, diff)| (row, diff)));
            }
            Step::Data(Side::Right(diffs)) => {
                right_changes.extend(diffs.drain(..).map(|(row, _, diff)| (row, diff)));
            }
            Step::Close => {
                if !mode.is_per_record() {
                    consolidate(&mut left_changes);
                    consolidate(&mut right_changes);
                }
                let mut put = |(key, left): (&K, &V), (other, right): (&L, &W), diff: isize| {
                    let row = joiner(left, right);
                    net.extend(row.map(|row| (((key.clone(), other.clone()), row), diff)));
                };
                // Rows that go meet the other side as it was, and rows that come meet it as it is.
                for ((key, row), diff) in left_changes.extract_if(.., |(_, diff)| *diff < 0) {
                    let Some(value) = value(&key, &row) else { continue };
                    right_rows.search(&value, &mut |l, w| put((&key, &row), (l, w), diff));
                    left_rows.0.remove(&(value, Place::Of(key)));
                }
                for ((key, row), diff) in right_changes.extract_if(.., |(_, diff)| *diff < 0) {
                    let Some(interval) = interval(&key, &row) else { continue };
                    left_rows.search(&interval, |k, v| put((k, v), (&key, &row), diff));
                    right_rows.remove(&interval, &key);
                }
                for ((key, row), diff) in right_changes.drain(..) {
                    let Some(interval) = interval(&key, &row) else { continue };
                    left_rows.search(&interval, |k, v| put((k, v), (&key, &row), diff));
                    right_rows.insert(interval, key, row);
                }
                for ((key, row), diff) in left_changes.drain(..) {
                    let Some(value) = value(&key, &row) else { continue };
                    right_rows.search(&value, &mut |l, w| put((&key, &row), (l, w), diff));
                    left_rows.0.insert((value, Place::Of(key)), row);
                }
                put_net(&mut net, epoch, mode, out);
            }
        }
        !left_changes.is_empty() || !right_changes.is_empty()
    };
    let (lefts, rights) = (lefts.inner, rights.inner);
    in_epochs_of_both(lefts, rights, name, meter, Box::new(logic), std::convert::identity)
        .as_collection()
}
