//! Promises of Delta tables.

mod campaign;
mod model;
mod refusals;
