//! Tests with a fake service, for events that no real one produces on request: throttling, expired
//! iterators, retention, a refused record of a call. The real protocol is tested against a server,
//! in tests/connectors.

mod appending;
mod campaign;
mod fake;
mod packed;
mod reading;
mod writing;
