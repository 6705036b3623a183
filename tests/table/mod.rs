//! Promises of tables: rows ([`rows`]), joins of two tables ([`joins`]), aggregates of groups
//! ([`aggregates`]), conversions to differential and back ([`collections`]), and reads of a
//! changing table ([`stores`]).

mod aggregates;
mod collections;
mod joins;
mod rows;
mod stores;
mod suppress;
