//! Promises of tables: their rows ([`rows`]), joins of two ([`joins`]), aggregates of groups
//! ([`aggregates`]), the way into differential and back ([`collections`]), and reading them while
//! they change ([`stores`]).

mod aggregates;
mod collections;
mod joins;
mod rows;
mod stores;
