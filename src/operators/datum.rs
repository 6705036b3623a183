//! The types of the data that flow between operators.

use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::{ExchangeData, VecCollection};
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;

use crate::time::Epoch;

/// A key or a value of a stream or a table. Every type that satisfies the bounds implements it.
///
/// `Hash` must include everything that `Eq` compares, because repeated values are recognised by the
/// digest of the bytes that they hash.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use watershed::Datum;
///
/// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
/// struct Place {
///     country: String,
///     year: i32,
/// }
///
/// fn is_datum<T: Datum>() {}
/// is_datum::<(Place, Option<i64>)>();
/// ```
pub trait Datum: ExchangeData + Hash + Sync {}
impl<T: ExchangeData + Hash + Sync> Datum for T {}

/// A value of one of two inputs.
///
/// ```
/// use watershed::Side;
///
/// let values: [Side<i64, &str>; 2] = [Side::Left(7), Side::Right("seven")];
/// assert_ne!(values[0], Side::Left(8));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side<L, R> {
    /// A value of the first input.
    Left(L),
    /// A value of the second input.
    Right(R),
}

/// The change of a row.
#[derive(Clone, Debug)]
pub(crate) struct Upsert<V> {
    /// The number of its key.
    pub(crate) number: u32,
    /// 16 bits of the digest of the record's value; 0 without a row, and for a row that is not the
    /// value of a record.
    pub(crate) digest: u16,
    /// The new value; `None` deletes the row.
    pub(crate) value: Option<V>,
}

impl<V> Upsert<V> {
    /// Makes the change of a row that is not the value of a record.
    pub(crate) fn new(number: u32, value: Option<V>) -> Self {
        Upsert { number, digest: 0, value }
    }
}

/// Upserts on the worker that owns their keys, shared by all readers.
pub(crate) type Upserts<'s, V> = Stream<'s, Epoch, Rc<Vec<Upsert<V>>>>;
/// A differential collection of `D` over Watershed's epochs: retractions and additions.
///
/// A program that uses it depends on `differential-dataflow` in the same version, 0.25. See
/// [`KTable::from_collection`](crate::KTable::from_collection) for an example.
pub type Diffs<'s, D> = VecCollection<'s, Epoch, D, isize>;

/// The rows of a stream or a table that flow again after a restart from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Restored {
    /// Those of records that were read after the snapshot. Before an operator that remembers rows,
    /// a cut must save them.
    Tail,
    /// All: they are saved in a cut, or computed from saved rows.
    All,
}

/// The worker on which the diffs of a key are. For each key it is always the same worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The worker that owns the key.
    Owner,
    /// Any worker: an exchange is needed before keys are numbered.
    AnyWorker,
}
