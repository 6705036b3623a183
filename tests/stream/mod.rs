//! Promises of streams: verbs of one record ([`each`]), verbs that combine records ([`together`]),
//! irregular records ([`dirt`]), the latest of several rows of a key ([`several`]), and windows of
//! event time ([`windows`]).

mod dirt;
mod each;
mod several;
mod temporal;
mod together;
mod windows;
mod within;
