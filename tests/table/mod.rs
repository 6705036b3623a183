//! Promises of tables: their rows ([`rows`]), joins of two ([`joins`]), what groups of values have
//! in common ([`aggregates`]), and reading them while they change ([`stores`]).

mod aggregates;
mod joins;
mod rows;
mod stores;
