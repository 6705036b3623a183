//! Look-ups of the rows of a table that stand when an epoch is closed.

use std::rc::Rc;

use timely::Container;
use timely::dataflow::{Stream, StreamVec};

use super::column::Column;
use super::datum::{Datum, Side, Upsert};
use super::epochs::Step;
use super::keys::Keys;
use super::seeds::{Map, Seeds};
use super::sides::in_epochs_of_both;
use crate::faults;
use crate::metrics::Meter;
use crate::time::Epoch;

/// The current rows of a table, which change by `C`.
pub(crate) trait CurrentRows<C> {
    /// Applies changes, in their order.
    fn apply(&mut self, changes: &C);
}

/// Rows by the numbers of their keys, on the worker that owns the keys.
pub(crate) struct OwnedRows<G, W> {
    keys: Keys<G>,
    rows: Column<Option<W>>,
}

impl<G: Datum, W: Datum> OwnedRows<G, W> {
    pub(crate) fn new(keys: Keys<G>) -> Self {
        OwnedRows { keys, rows: Column::new() }
    }

    /// Returns the row of a key.
    pub(crate) fn get(&self, key: &G) -> Option<&W> {
        let number = self.keys.open().known(key)?;
        self.rows.get(number)?.as_ref()
    }
}

impl<G: Datum, W: Datum> CurrentRows<Rc<Vec<Upsert<W>>>> for OwnedRows<G, W> {
    fn apply(&mut self, changes: &Rc<Vec<Upsert<W>>>) {
        changes.iter().for_each(|change| self.rows.at(change.number).clone_from(&change.value));
    }
}

/// A copy of the rows of a table.
pub(crate) struct CopiedRows<G, W>(Map<G, W>);

impl<G: Datum, W: Datum> CopiedRows<G, W> {
    pub(crate) fn new(seeds: Seeds) -> Self {
        CopiedRows(seeds.map())
    }

    /// Returns the row of a key.
    pub(crate) fn get(&self, key: &G) -> Option<&W> {
        self.0.get(key)
    }
}

impl<G: Datum, W: Datum> CurrentRows<Vec<((G, W), Epoch, isize)>> for CopiedRows<G, W> {
    fn apply(&mut self, changes: &Vec<((G, W), Epoch, isize)>) {
        for ((key, row), _, diff) in changes {
            // The retraction of a row comes before the addition of another one.
            if *diff > 0 {
                self.0.insert(key.clone(), row.clone());
            } else {
                self.0.remove(key);
            }
        }
    }
}

/// Joins each record with the row that stands when its epoch is closed. Later changes of the row
/// change no result.
///
/// `make` finds the row of a record and makes the result; `None` is no result. Both inputs must be
/// on the worker that has the row. It keeps the rows, and records only until their epoch is closed.
/// Records of epochs before `first` have no result, because an earlier run has made it.
pub(crate) fn lookup<'s, D, C, O, S>(
    records: StreamVec<'s, Epoch, D>,
    changes: Stream<'s, Epoch, C>,
    mut rows: S,
    make: impl Fn(&S, D) -> Option<O> + 'static,
    first: Epoch,
    name: &str,
    meter: Meter,
) -> StreamVec<'s, Epoch, O>
where
    D: Clone + 'static,
    C: Container + Clone + Default,
    O: Clone + 'static,
    S: CurrentRows<C> + 'static,
{
    let mut held: Vec<D> = Vec::new();
    let logic = move |epoch: Epoch, step: Step<'_, Side<Vec<D>, C>>, out: &mut Vec<O>| {
        match step {
            Step::Data(Side::Left(records)) if epoch >= first => held.append(records),
            Step::Data(Side::Left(_)) => {}
            // A planted bug: the rows of earlier runs are absent.
            Step::Data(Side::Right(_)) if epoch < first && faults::bug("lost_rows") => {}
            Step::Data(Side::Right(changes)) => rows.apply(changes),
            Step::Close => out.extend(held.drain(..).filter_map(|record| make(&rows, record))),
        }
        !held.is_empty()
    };
    in_epochs_of_both(records, changes, name, meter, Box::new(logic), std::convert::identity)
}
