//! The promises of every connector, as functions that run against each: sources in [`source`],
//! sinks in [`sink`], driven by a [`world`].

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
