//! [`Pieces`]: the bytes of a file in memory, in pieces of a moderate size.

use std::io::Write;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

/// The size of a piece. It is below the size from which an allocator asks the operating system for
/// memory each time.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes in pieces. They grow without a copy, and fit into memory that was freed in parts: one
/// buffer for a large file needs as much memory once more while it is filled.
///
/// ```
/// use std::io::Write;
/// use watershed::connect::Pieces;
///
/// let mut bytes = Pieces::default();
/// bytes.write_all(&[7; 100_000])?;
/// assert_eq!((bytes.len(), bytes.iter().count()), (100_000, 2));
/// assert_eq!(bytes, Pieces::from(vec![7; 100_000]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pieces(Vec<Vec<u8>>);

impl Pieces {
    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    /// Returns true if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the pieces in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Gives back memory that was reserved for more bytes.
    pub(crate) fn shrink_to_fit(&mut self) {
        if let Some(last) = self.0.last_mut() {
            last.shrink_to_fit();
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.last().is_none_or(|last| last.len() == last.capacity()) {
            self.0.push(Vec::with_capacity(PIECE_BYTES));
        }
        let Some(last) = self.0.last_mut() else { return Ok(0) };
        let taken = bytes.len().min(last.capacity() - last.len());
        last.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(bytes: Vec<u8>) -> Self {
        Pieces(vec![bytes])
    }
}

/// Compares the bytes, however they are divided.
impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().flatten().eq(other.iter().flatten())
    }
}

impl Eq for Pieces {}

impl Serialize for Pieces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Bytes::new))
    }
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pieces = Vec::<ByteBuf>::deserialize(deserializer)?;
        Ok(Pieces(pieces.into_iter().map(ByteBuf::into_vec).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_the_same_however_they_are_written() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        for step in [1, 7, PIECE_BYTES - 1, PIECE_BYTES, 200_000] {
            let mut pieces = Pieces::default();
            bytes.chunks(step).for_each(|chunk| pieces.write_all(chunk).unwrap());
            pieces.shrink_to_fit();
            assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), bytes);
            assert!(pieces.0.iter().all(|piece| piece.capacity() <= PIECE_BYTES));
            let sent = postcard::to_stdvec(&pieces).unwrap();
            assert!(sent.len() < bytes.len() + 100, "bytes are sent as they are");
            assert_eq!(postcard::from_bytes::<Pieces>(&sent).unwrap(), bytes.clone().into());
        }
        assert_ne!(Pieces::from(vec![1, 2]), Pieces::from(vec![1, 3]));
        assert_ne!(Pieces::from(vec![1, 2]), Pieces::from(vec![1]));
    }
}
