//! Seeded random draws, in whole numbers, so that all machines draw the same.

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;

/// The subject of a sequence of draws.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    Event,
    /// A page of a channel.
    Channel,
}

/// A sequence of draws.
pub(super) struct Draw(Pcg64);

impl Draw {
    /// Returns sequence `number` of a subject.
    pub(super) fn new(seed: u64, subject: Subject, number: u64) -> Self {
        // Odd multipliers give neighbours different seeds; seed_from_u64 mixes the bits.
        let mixed = seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(number.wrapping_mul(0xD134_2543_DE82_EF95))
            .wrapping_add((subject as u64) << 32);
        Draw(Pcg64::seed_from_u64(mixed))
    }

    /// Returns a number from 0 to `end`, excluding `end`; 0 if `end` is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// Returns an entry of a list that is not empty.
    pub(super) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// Returns `length` lower-case letters, with blanks between them.
    pub(super) fn text(&mut self, length: usize) -> String {
        self.letters(length, b"abcdefghijklmnopqrstuvwxyz      ")
    }

    /// Returns `length` lower-case letters, with underscores between them: a part of a URL.
    pub(super) fn word(&mut self, length: usize) -> String {
        self.letters(length, b"abcdefghijklmnopqrstuvwxyz______")
    }

    /// Returns a text that extends an event of `bytes` to about `usual` bytes.
    pub(super) fn extra(&mut self, bytes: usize, usual: usize) -> String {
        let missing = usual.saturating_sub(bytes);
        let fifth = missing / 5;
        let length = missing - fifth + self.below(2 * fifth as u64 + 1) as usize;
        self.text(length)
    }

    /// Returns a price in cents, from 1 to 1,000,000 dollars: each power of ten is as likely as
    /// the next.
    pub(super) fn price(&mut self) -> i64 {
        // 1,000 times the powers of ten to the exponents 0, 1/8, … 1. Prices between are
        // interpolated linearly, because the last digit of a power differs between machines.
        const KNOTS: [i64; 9] = [1000, 1334, 1778, 2371, 3162, 4217, 5623, 7499, 10_000];
        let (decade, part) = (self.below(6) as u32, self.below(8) as usize);
        let (from, to) = (KNOTS[part], KNOTS[part + 1]);
        let within = self.below(1000) as i64;
        (from * 1000 + (to - from) * within) * 10_i64.pow(decade) / 10_000
    }

    fn letters(&mut self, length: usize, alphabet: &[u8; 32]) -> String {
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let mut bits = self.0.next_u64();
            for _ in 0..(length - text.len()).min(12) {
                text.push(char::from(alphabet[(bits & 31) as usize]));
                bits >>= 5;
            }
        }
        text
    }
}
