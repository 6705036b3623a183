//! The join of two tables. Each key has at most one row on each side, so one array holds both
//! sides, and the order in which they change does not matter.

use std::rc::Rc;

use differential_dataflow::AsCollection;

use super::column::Column;
use super::datum::{Datum, Diffs, Side, Upsert, Upserts};
use super::epochs::Step;
use super::keys::Keys;
use super::sides::in_epochs_of_both;
use crate::metrics::Meter;
use crate::time::Epoch;

/// Makes a row of a pair of rows, one of which may be missing.
pub(crate) type Joiner<K, L, R, O> = Rc<dyn Fn(&K, Option<&L>, Option<&R>) -> Option<O>>;

/// Upserts of one side.
type Part<L, R> = Side<Rc<Vec<Upsert<L>>>, Rc<Vec<Upsert<R>>>>;

/// The current rows of a key on both sides.
struct Pair<L, R> {
    left: Option<L>,
    right: Option<R>,
}

impl<L, R> Default for Pair<L, R> {
    fn default() -> Self {
        Pair { left: None, right: None }
    }
}

/// Maintains `joiner` over the rows of two tables that share their keys' numbers.
///
/// It keeps the current rows of both sides. `None` of the joiner is no row.
pub(crate) fn join<'s, K: Datum, L: Datum, R: Datum, O: Datum>(
    left: Upserts<'s, L>,
    right: Upserts<'s, R>,
    keys: Keys<K>,
    name: &str,
    meter: Meter,
    joiner: Joiner<K, L, R, O>,
) -> Diffs<'s, (K, O)> {
    let mut state: Column<Pair<L, R>> = Column::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Part<L, R>>,
                      out: &mut Vec<((K, O), Epoch, isize)>| {
        if let Step::Data(part) = step {
            let upserts = match &*part {
                Side::Left(upserts) => upserts.len(),
                Side::Right(upserts) => upserts.len(),
            };
            // Where all keys are new, each second upsert finds its partner.
            out.reserve(upserts / 2);
            touch(&mut state, part, &keys, &joiner, &mut |row, diff| out.push((row, epoch, diff)));
        }
        false
    };
    in_epochs_of_both(left, right, name, meter, Box::new(logic), std::convert::identity)
        .as_collection()
}

/// Applies upserts of one side, and emits the changes of the joined rows.
fn touch<K: Datum, L: Datum, R: Datum, O: Datum>(
    state: &mut Column<Pair<L, R>>,
    part: &Part<L, R>,
    keys: &Keys<K>,
    joiner: &Joiner<K, L, R, O>,
    emit: &mut impl FnMut((K, O), isize),
) {
    let passes_unchanged = keys.owners().mode().is_per_record();
    let keys = keys.open();
    let row = |key: &K, pair: &Pair<L, R>| {
        let (left, right) = (pair.left.as_ref(), pair.right.as_ref());
        if left.is_some() || right.is_some() { joiner(key, left, right) } else { None }
    };
    let mut apply = |number: u32, set: &dyn Fn(&mut Pair<L, R>)| {
        let (key, pair) = (keys.key(number), state.at(number));
        let old = row(key, pair);
        set(pair);
        let new = row(key, pair);
        if old != new || passes_unchanged {
            old.into_iter().for_each(|old| emit((key.clone(), old), -1));
            new.into_iter().for_each(|new| emit((key.clone(), new), 1));
        }
    };
    match part {
        Side::Left(upserts) => {
            upserts.iter().for_each(|it| apply(it.number, &|pair| pair.left.clone_from(&it.value)))
        }
        Side::Right(upserts) => {
            upserts.iter().for_each(|it| apply(it.number, &|pair| pair.right.clone_from(&it.value)))
        }
    }
}
