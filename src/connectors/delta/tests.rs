//! Promises of Delta tables.

mod appended;
mod campaign;
mod format;
mod large;
mod model;
mod moved;
mod refusals;
mod upkeep;
