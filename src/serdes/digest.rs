//! 128 bits that stand for a value: to recognise it again without keeping it.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};

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

/// The XXH3-128 of what `value` hashes. Equal values have equal digests, in every run on machines of one byte order.
pub fn digest<T: Hash + ?Sized>(value: &T) -> u128 {
    thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        value.hash(&mut Collect(buffer));
        xxh3_128(buffer)
    })
}
