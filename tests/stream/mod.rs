//! Promises of streams: verbs of one record ([`each`]), verbs that combine records ([`together`]),
//! joins of two streams ([`pairs`], [`within`]), joins with global tables ([`global`]), look-ups of
//! rows ([`lookups`]), irregular records ([`dirt`]), the latest of several rows of a key
//! ([`several`]), and windows of event time ([`windows`]).

mod dirt;
mod each;
mod global;
mod idle;
mod lookups;
mod pairs;
mod several;
mod temporal;
mod own;
mod together;
mod windows;
mod within;
