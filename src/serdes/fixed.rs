//! [`Bytes`]: the serde form of random numbers. Formats with variable lengths of integers need more
//! bytes for them, and more time.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A fixed number of bytes, which are written as one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Whole)
    }
}

/// Takes exactly `N` bytes.
struct Whole<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Whole<N> {
    type Value = Bytes<N>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes<N>, E> {
        bytes.try_into().map(Bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    // Formats of text have no bytes, only sequences of numbers.
    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Bytes<N>, A::Error> {
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = numbers.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &self))?;
        }
        match numbers.next_element::<u8>()? {
            None => Ok(Bytes(bytes)),
            Some(_) => Err(A::Error::invalid_length(N + 1, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_were_written_in_each_format() {
        let bytes = Bytes([0, 1, 127, 128, 255]);
        let encoded = postcard::to_stdvec(&bytes).unwrap();
        assert_eq!(encoded, [5, 0, 1, 127, 128, 255]);
        assert_eq!(postcard::from_bytes::<Bytes<5>>(&encoded), Ok(bytes));
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(text, "[0,1,127,128,255]");
        assert_eq!(serde_json::from_str::<Bytes<5>>(&text).unwrap(), bytes);
    }

    #[test]
    fn another_number_of_bytes_is_refused() {
        for length in [0, 4, 6] {
            let encoded = postcard::to_stdvec(&vec![0_u8; length]).unwrap();
            assert!(postcard::from_bytes::<Bytes<5>>(&encoded).is_err());
            let text = serde_json::to_string(&vec![0; length]).unwrap();
            assert!(serde_json::from_str::<Bytes<5>>(&text).is_err());
        }
        assert!(serde_json::from_str::<Bytes<1>>("[256]").is_err());
    }
}
