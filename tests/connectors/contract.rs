//! What every connector promises, as functions that are run against each: sources here in
//! [`source`], sinks in [`sink`], as runs of a [`world`].

mod sink;
mod source;
mod world;

#[cfg(feature = "kinesis")]
pub(crate) use sink::at_least_once_contract;
pub(crate) use sink::{
    a_table_is_refused, append_contract, at_most_once_contract, owner_contract, snapshot_contract,
};
pub(crate) use source::{Held, source_contract};
pub(crate) use world::{Place, columns};
