//! Bytes to values and back: [`Json`], [`Utf8`], [`Raw`], the integers, and what can't be decoded.

mod digest;
mod reject;
mod simple;
mod texts;
mod word;

pub use digest::Digest;
pub use reject::{Reason, Reject};
pub use simple::{Int32, Int64, Json, Nullable, Raw, Utf8};
pub use texts::Texts;
pub use word::Word;

/// Decodes the key or the value of a record.
pub trait Deserializer<T> {
    /// The value of `bytes`; `None` is null.
    ///
    /// # Errors
    /// When the bytes are no `T`: the record becomes a dead letter.
    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, Reject>;
}

/// Encodes the key or the value of a record.
pub trait Serializer<T> {
    /// The bytes of `value`; `None` is null.
    fn encode(&self, value: &T) -> Option<Vec<u8>>;
}
