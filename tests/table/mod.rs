//! Promises of tables: rows ([`rows`]), joins of two tables by key ([`joins`]), by a foreign key
//! ([`foreign_keys`]) and on a range ([`ranges`]), aggregates of groups ([`aggregates`]),
//! conversions to differential and back ([`collections`]), reads of a changing table
//! ([`stores`]), suppression ([`suppress`]), and the times of rows ([`times`]).

mod aggregates;
mod collections;
mod foreign_keys;
mod joins;
mod ranges;
mod rows;
mod stores;
mod suppress;
mod times;
