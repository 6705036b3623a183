//! Tests of reading and writing against a service that is played, for what no machine does when it
//! is asked: to throttle, to expire, to forget, to refuse one record of a call. The real protocol
//! is tested against a server, in tests/connectors.

mod appending;
mod campaign;
mod fake;
mod packed;
mod reading;
mod writing;
