//! 128 bits that stand for a value: to recognise it again without keeping it.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// Collects what a value's `Hash` writes, to digest it in one go: XXH3 is far faster on one buffer than in pieces.
struct Collect<'a>(&'a mut Vec<u8>);

impl Hasher for Collect<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

/// What [`digest`] gives. In halves, so that it fits anywhere without padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(u64, u64);

impl Digest {
    /// Half of it, never 0: enough to tell a value from the one before it, but not from a million others.
    pub(crate) fn half(self) -> u64 {
        self.0 | 1
    }
}

/// The XXH3-128 of what `value` hashes. Equal values have equal digests, in every run on machines of one byte order.
pub fn digest<T: Hash + ?Sized>(value: &T) -> Digest {
    thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        value.hash(&mut Collect(buffer));
        let digest = xxh3_128(buffer);
        Digest(digest as u64, (digest >> 64) as u64)
    })
}
