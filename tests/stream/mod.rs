//! Promises of streams: verbs of one record ([`each`]), of records together ([`together`]), and of
//! records that are not as they should be ([`dirt`]); which of several rows of a key is the latest
//! ([`several`]).

mod dirt;
mod each;
mod several;
mod together;
