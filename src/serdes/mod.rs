//! Bytes to values and back: [`Json`], [`Utf8`], [`Raw`], the integers, and what can't be decoded.

mod reject;
mod texts;

pub use reject::{Reason, Reject};
pub use texts::Texts;
