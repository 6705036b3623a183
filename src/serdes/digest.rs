//! 128 bits that stand for a value, which is recognised by them and not kept.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Collects the bytes that a value's `Hash` writes, to digest them in one go: that is far faster
/// than in pieces.
struct Collect<'a>(&'a mut Vec<u8>);

impl Hasher for Collect<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

/// The result of [`Secret::digest`]. In halves, so that it fits anywhere without padding.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Digest(u64, u64);

impl Digest {
    /// Half of it, never 0: enough to tell a value from the one before it, but not from a million
    /// others.
    pub(crate) fn half(self) -> u64 {
        self.0 | 1
    }
}

impl Secret {
    /// Returns the keyed digest of all that `value` hashes. Equal values have equal digests, and
    /// nobody without the secret can find two others that have.
    ///
    /// So the type must hash all that its equality compares. A digest is good for being compared
    /// within a run: another state has another secret.
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
