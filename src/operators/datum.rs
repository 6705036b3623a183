//! The types of all that flows between operators.

use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;

use crate::time::Epoch;

/// A key or a value of a stream or a table. It is implemented for every type that has what it asks
/// for.
///
/// `Hash` must take in all that `Eq` compares: a value that comes again is known by the digest of
/// what it hashes.
pub trait Datum: ExchangeData + Hash + Sync {}
impl<T: ExchangeData + Hash + Sync> Datum for T {}

/// What stands from now on at the key of a number; `None` is nothing.
pub(crate) type Upsert<V> = (u32, Option<V>);
/// Upserts on the worker that owns their keys, shared by all readers.
pub(crate) type Upserts<'s, V> = Stream<'s, Epoch, Rc<Vec<Upsert<V>>>>;
/// Retractions and additions.
pub(crate) type Diffs<'s, D> = VecCollection<'s, Epoch, D, isize>;
