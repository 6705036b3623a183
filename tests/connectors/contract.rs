//! The promises of every connector, as functions that run against each: sources in [`source`],
//! sinks in [`sink`], [`restored`] and [`cleared`], driven by a [`world`].

mod cleared;
mod restored;
mod sink;
mod source;
mod world;

pub(crate) use cleared::clear_contract;
pub(crate) use restored::a_wrong_number_of_skipped_rows_is_refused;
#[cfg(feature = "kinesis")]
pub(crate) use sink::at_least_once_contract;
pub(crate) use sink::{
    a_table_is_refused, append_contract, at_most_once_contract, owner_contract, snapshot_contract,
};
pub(crate) use source::{Held, source_contract};
pub(crate) use world::{Place, columns};
