//! Promises of streams: verbs of one record ([`each`]), verbs that combine records ([`together`]),
//! irregular records ([`dirt`]), and the latest of several rows of a key ([`several`]).

mod dirt;
mod each;
mod several;
mod together;
