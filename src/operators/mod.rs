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
mod datum;
mod epochs;
mod fold;
mod group;
mod join;
mod keys;
mod latest;
mod seeds;

pub(crate) use aggregates::{Aggregate, Count, Distinct, Extreme, Folded, Quantile, Sum, Top};
pub(crate) use changelog::changelog;
pub(crate) use changes::{changes, numbered};
pub use datum::Datum;
pub(crate) use datum::{Diffs, Upsert, Upserts};
pub(crate) use fold::fold;
pub(crate) use group::group;
pub(crate) use join::join;
pub(crate) use keys::{Column, Keys};
pub(crate) use latest::{Arrived, latest};
pub(crate) use seeds::{Map, Seeds};
