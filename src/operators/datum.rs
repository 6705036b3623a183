//! The types of the data that flow between operators.

use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;

use crate::time::Epoch;

/// A key or a value of a stream or a table. Every type that satisfies the bounds implements it.
///
/// `Hash` must include everything that `Eq` compares: a repeated value is recognised by the digest
/// of the bytes that it hashes.
pub trait Datum: ExchangeData + Hash + Sync {}
impl<T: ExchangeData + Hash + Sync> Datum for T {}

/// The new value at the key of a number; `None` deletes it.
pub(crate) type Upsert<V> = (u32, Option<V>);
/// Upserts on the worker that owns their keys, shared by all readers.
pub(crate) type Upserts<'s, V> = Stream<'s, Epoch, Rc<Vec<Upsert<V>>>>;
/// A differential collection of `D` over Watershed's epochs: retractions and additions.
///
/// A program that uses it depends on the `differential-dataflow` of the same version: 0.25.
pub type Diffs<'s, D> = VecCollection<'s, Epoch, D, isize>;

/// The worker that has the diffs of a key. It is always the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The worker that owns the key.
    Owner,
    /// Any worker: an exchange is needed before keys are numbered.
    AnyWorker,
}
