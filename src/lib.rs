//! Watershed: many streams, one delta.
pub mod connect;
mod error;
pub mod record;
pub mod serdes;
mod time;

pub use error::{Error, ErrorKind, Result};
pub use time::{Epoch, Timestamp};
