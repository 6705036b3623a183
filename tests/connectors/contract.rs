//! The promises of every connector, as functions that run against each: sources in [`source`],
//! sinks in [`sink`] and [`restored`], driven by a [`world`].

mod restored;
mod sink;
mod source;
mod world;

pub(crate) use restored::a_wrong_number_of_skipped_rows_is_refused;
#[cfg(feature = "kinesis")]
pub(crate) use sink::at_least_once_contract;
pub(crate) use sink::{
    a_table_is_refused, append_contract, at_most_once_contract, owner_contract, snapshot_contract,
};
pub(crate) use source::{Held, source_contract};
pub(crate) use world::{Place, columns};
