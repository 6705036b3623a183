//! Promises of streams: verbs of one record ([`each`]), verbs that combine records ([`together`]),
//! joins of two streams ([`pairs`], [`within`]), joins with global tables ([`global`]), look-ups of
//! rows ([`lookups`]), irregular records ([`dirt`]), the latest of several rows of a key
//! ([`several`]), and windows of event time ([`windows`]): also those of a program ([`days`]) with
//! aggregates of its own ([`own`]), and with partitions that fall silent ([`idle`]).

mod days;
mod dirt;
mod each;
mod global;
mod idle;
mod lookups;
mod own;
mod pairs;
mod several;
mod temporal;
mod together;
mod windows;
mod within;
