//! What the DSL lowers to: the only hand-made timely operators. Each is "see the updates of an
//! epoch, touch my state, emit".
//!
//! Rows travel in two shapes. *Upserts* `(number of the key, Option<value>)` say what stands now,
//! in order, without what stood before; they never leave the worker that owns the key, and are
//! shared by their readers without a copy. *Diffs* `((key, value), epoch, ±1)` are differential's:
//! a retraction, then an addition. An operator emits a key's retraction before its addition and
//! always from the same worker, so diffs can be read as upserts where only what stands matters.

mod aggregates;
mod changelog;
mod changes;
mod credit;
mod ends;
mod epochs;
mod feed;
mod fold;
mod gauges;
mod group;
mod join;
mod keys;
mod latest;
mod materialize;
mod outlet;
mod seeds;
mod source;
mod store;

pub(crate) use aggregates::{Aggregate, Count, Distinct, Extreme, Folded, Quantile, Sum, Top};
pub(crate) use changelog::changelog;
pub(crate) use changes::{changes, numbered};
pub(crate) use credit::Credit;
pub(crate) use ends::Ends;
pub(crate) use feed::Feed;
pub(crate) use fold::fold;
pub(crate) use gauges::{Gauges, measure};
pub(crate) use group::group;
pub(crate) use join::join;
pub(crate) use keys::{Column, Keys};
pub(crate) use latest::Tally;
pub(crate) use latest::{Arrived, latest};
pub(crate) use materialize::{materialize, materialize_diffs};
pub(crate) use outlet::{Marks, Outlet, Report, append, snapshot, snapshot_diffs};
use seeds::Map;
pub(crate) use seeds::Seeds;
pub(crate) use source::{Decode, source};
pub use store::{ReadOnlyStore, View};
pub(crate) use store::{Rows, Shelf};

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
