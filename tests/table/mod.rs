//! Promises of tables: rows ([`rows`]), joins of two tables by key ([`joins`]), by a foreign key
//! ([`foreign_keys`]) and on a range ([`ranges`]), aggregates of groups ([`aggregates`]),
//! conversions to differential and back ([`collections`]), and reads of a changing table
//! ([`stores`]).

mod aggregates;
mod collections;
mod foreign_keys;
mod joins;
mod ranges;
mod rows;
mod stores;
mod suppress;
