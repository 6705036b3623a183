//! Promises of streams: verbs of one record ([`each`]), of records together ([`together`]), and of records that are not as
//! they should be ([`dirt`]).

mod dirt;
mod each;
mod together;
