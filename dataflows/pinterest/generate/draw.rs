//! Seeded random draws. They use whole numbers wherever possible, so that all machines draw the
//! same.

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;

/// The subject of a sequence of draws.
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
    /// Returns sequence `number` of `stream`.
    pub(super) fn new(seed: u64, stream: Stream, number: u64) -> Self {
        // Odd multipliers give neighbours different seeds; seed_from_u64 mixes the bits.
        let seed = seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(number.wrapping_mul(0xD134_2543_DE82_EF95));
        Draw(Pcg64::seed_from_u64(seed.wrapping_add(stream as u64)))
    }

    /// Returns 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number from 0 to `end`, excluding `end`; 0 if `end` is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// Returns true in one of `n` draws.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Returns an entry of a list that isn't empty.
    pub(super) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// Returns a number from 0.0 to 1.0, excluding 1.0.
    pub(super) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
