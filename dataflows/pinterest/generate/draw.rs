//! Seeded draws, in whole numbers wherever possible, so that every machine draws the same.

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;

/// What is drawn: each has a sequence of its own.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Events,
    People,
    Posters,
    Dirt,
    Partitions,
}

/// A sequence of draws.
pub(super) struct Draw(Pcg64);

impl Draw {
    /// The sequence number `number` of `stream`.
    pub(super) fn new(seed: u64, stream: Stream, number: u64) -> Self {
        // Odd multipliers keep neighbours apart; seed_from_u64 does the mixing.
        let seed = seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(number.wrapping_mul(0xD134_2543_DE82_EF95));
        Draw(Pcg64::seed_from_u64(seed.wrapping_add(stream as u64)))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 up to and without `end`; 0 if `end` is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// True once in `n` draws.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// An entry of a list that isn't empty.
    pub(super) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// A number from 0.0 up to and without 1.0.
    pub(super) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
