//! The serdes of plain types. They read and write the same bytes as Kafka's own serdes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Deserializer, Reject, Serializer};

/// JSON text of any type that serde supports. A null record value is no JSON; see [`Nullable`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

/// Text in UTF-8, without a length or a terminator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8;

/// The bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

/// 64-bit big-endian integers, as Kafka's `LongSerializer` writes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Int64;

/// 32-bit big-endian integers, as Kafka's `IntegerSerializer` writes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Int32;

/// `Option` of the type of another serde: null is `None` instead of an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nullable<S>(pub S);

/// Returns the bytes of a key or value that must not be null.
pub(super) fn not_null(bytes: Option<&[u8]>) -> Result<&[u8], Reject> {
    bytes.ok_or_else(|| Reject::new("null", "a null where a value is needed"))
}

impl<T: DeserializeOwned> Deserializer<T> for Json {
    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, Reject> {
        serde_json::from_slice(not_null(bytes)?).map_err(|e| Reject::new("invalid json", e))
    }
}

impl<T: Serialize> Serializer<T> for Json {
    fn encode(&self, value: &T) -> Option<Vec<u8>> {
        serde_json::to_vec(value).ok()
    }
}

impl Deserializer<String> for Utf8 {
    fn decode(&self, bytes: Option<&[u8]>) -> Result<String, Reject> {
        std::str::from_utf8(not_null(bytes)?)
            .map(str::to_string)
            .map_err(|e| Reject::new("invalid utf-8", e))
    }
}

impl Serializer<String> for Utf8 {
    fn encode(&self, value: &String) -> Option<Vec<u8>> {
        Some(value.clone().into_bytes())
    }
}

impl Deserializer<Vec<u8>> for Raw {
    fn decode(&self, bytes: Option<&[u8]>) -> Result<Vec<u8>, Reject> {
        not_null(bytes).map(<[u8]>::to_vec)
    }
}

impl Serializer<Vec<u8>> for Raw {
    fn encode(&self, value: &Vec<u8>) -> Option<Vec<u8>> {
        Some(value.clone())
    }
}

macro_rules! integer {
    ($serde:ident, $ty:ty) => {
        impl Deserializer<$ty> for $serde {
            fn decode(&self, bytes: Option<&[u8]>) -> Result<$ty, Reject> {
                let bytes = not_null(bytes)?;
                let wrong = |_| {
                    Reject::new(
                        "wrong length",
                        format!("{} bytes, an integer has {}", bytes.len(), size_of::<$ty>()),
                    )
                };
                bytes.try_into().map(<$ty>::from_be_bytes).map_err(wrong)
            }
        }
        impl Serializer<$ty> for $serde {
            fn encode(&self, value: &$ty) -> Option<Vec<u8>> {
                Some(value.to_be_bytes().to_vec())
            }
        }
    };
}

integer!(Int64, i64);
integer!(Int32, i32);

impl<T, S: Deserializer<T>> Deserializer<Option<T>> for Nullable<S> {
    fn decode(&self, bytes: Option<&[u8]>) -> Result<Option<T>, Reject> {
        bytes.map(|bytes| self.0.decode(Some(bytes))).transpose()
    }
}

impl<T, S: Serializer<T>> Serializer<Option<T>> for Nullable<S> {
    fn encode(&self, value: &Option<T>) -> Option<Vec<u8>> {
        self.0.encode(value.as_ref()?)
    }
}
