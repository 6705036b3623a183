//! [`Digest`]: 128 bits by which a value is recognised, so that the value need not be kept.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::faults;
use crate::secret::Secret;

/// Collects the bytes that the `Hash` of a value writes. To digest them together is far faster than
/// piece by piece.
struct Collect<'a>(&'a mut Vec<u8>);

impl Hasher for Collect<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

/// The result of [`Secret::digest`]: two halves of 64 bits, because a 128-bit integer would need
/// padding in many structs.
///
/// ```
/// use watershed::Secret;
///
/// let secret = Secret::new(*b"0123456789abcdef");
/// assert_eq!(secret.digest("tea"), secret.digest(&"tea".to_string()));
/// assert_ne!(secret.digest("tea"), Secret::new([7; 16]).digest("tea"));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "ByteArray<16>", into = "ByteArray<16>")]
pub struct Digest(u64, u64);

// A format whose integers have variable lengths needs more bytes for two of them, and more time.
impl From<Digest> for ByteArray<16> {
    fn from(digest: Digest) -> Self {
        let digest = u128::from(digest.0) | u128::from(digest.1) << 64;
        ByteArray::new(digest.to_le_bytes())
    }
}

impl From<ByteArray<16>> for Digest {
    fn from(bytes: ByteArray<16>) -> Self {
        let digest = u128::from_le_bytes(bytes.into_array());
        Digest(digest as u64, (digest >> 64) as u64)
    }
}

impl Digest {
    /// Returns half of it, never 0: enough to distinguish a value from its predecessor, but not
    /// from a million others.
    pub(crate) fn half(self) -> u64 {
        if faults::bug("colliding_digest") { self.0 & 2 | 1 } else { self.0 | 1 }
    }
}

impl Secret {
    /// Returns the keyed digest of the bytes that `value` hashes. Equal values have equal digests.
    /// Without the secret nobody can find two different values with equal digests.
    ///
    /// The type must hash everything that its equality compares. Compare digests only within one
    /// state: another state has another secret.
    pub fn digest<T: Hash + ?Sized>(self, value: &T) -> Digest {
        thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            value.hash(&mut Collect(buffer));
            let digest = self.digest_of(buffer);
            Digest(digest as u64, (digest >> 64) as u64)
        })
    }
}
