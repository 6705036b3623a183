//! Promises of tables: their rows ([`rows`]), joins of two ([`joins`]), and what groups of values have in common
//! ([`aggregates`]).

mod aggregates;
mod joins;
mod rows;
