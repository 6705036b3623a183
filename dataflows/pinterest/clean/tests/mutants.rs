//! Mutated records: the quick reader accepts only objects that the strict one accepts, and reads
//! the same values. `WATERSHED_MUTANTS` is the number of records, `WATERSHED_SEED` draws others.

use std::env;
use std::thread;

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::clean::json::{Fields, Shape, Value, parse, strict};
use crate::clean::{GEO, PIN, USER, quick};
use crate::generate;

/// The number of records unless the environment has another.
const RECORDS: u64 = 1_000_000;
/// Generated events, of whose records the mutants are made.
const EVENTS: u64 = 400;
/// The most mutations of a record.
const MUTATIONS: usize = 3;
/// The longest part of a record that is removed, or copied to another place.
const PART_BYTES: usize = 24;

/// Texts that two readers of JSON could take for different things.
const PIECES: [&str; 40] = [
    "\"",
    "\\",
    "\\\"",
    "\\\\",
    "\\/",
    "\\u0041",
    "\\u00",
    "\\ud83d",
    "\\ud83d\\ude00",
    "\\x",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "{}",
    "[1]",
    "null",
    "nul",
    "true",
    "0",
    "-0",
    "00",
    "-",
    "1.",
    ".5",
    "0.1",
    "1e5",
    "E-5",
    "1e999",
    "99999999999999999",
    "9223372036854775808",
    " ",
    "\n",
    "\u{a0}",
    "\u{1}",
    "\u{7f}",
    "é😀",
    ",\"ind\":1",
];

/// Numbers of mutants by their reader.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// The quick reader accepts them.
    quick: u64,
    /// Only the strict reader accepts them.
    strict: u64,
    /// Both refuse them.
    refused: u64,
}

/// Draws the mutations of one record.
struct Draw(Pcg64Mcg);

impl Draw {
    /// Returns a number from 0 to `end`, excluding `end`.
    fn below(&mut self, end: usize) -> usize {
        ((u64::from(self.0.next_u32()) * end as u64) >> 32) as usize
    }

    /// Returns a part of a text of this length.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        from..(from + self.below(PART_BYTES)).min(length)
    }

    /// Changes one part of a record.
    fn mutate(&mut self, record: &mut Vec<u8>) {
        let part = self.part(record.len());
        match self.below(8) {
            0 => drop(record.drain(part)),
            1 => {
                let (copy, at) = (record[part].to_vec(), self.below(record.len() + 1));
                record.splice(at..at, copy);
            }
            2 => {
                let byte = self.0.next_u32() as u8;
                record.splice(part.start..part.start, [byte]);
            }
            3 => {
                let (a, b) = (self.below(record.len()), self.below(record.len()));
                record.swap(a, b);
            }
            kind => {
                let piece = PIECES[self.below(PIECES.len())];
                let end = if kind < 6 { part.start } else { part.end.min(part.start + 2) };
                record.splice(part.start..end, piece.bytes());
            }
        }
    }
}

/// Compares two values. Numbers must have the same bits.
fn is_same(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (one, other) {
        (Value::Null, Value::Null) => true,
        (Value::Text(one), Value::Text(other)) => one == other,
        (Value::Integer(one), Value::Integer(other)) => one == other,
        (Value::Decimal(one), Value::Decimal(other)) => one.to_bits() == other.to_bits(),
        (Value::Other(one), Value::Other(other)) => one == other,
        _ => false,
    }
}

fn are_same<const N: usize>(one: &Fields<'_, N>, other: &Fields<'_, N>) -> bool {
    one.iter().zip(other).all(|pair| match pair {
        (Some(one), Some(other)) => is_same(one, other),
        (None, None) => true,
        _ => false,
    })
}

/// Reads a mutant with both readers.
///
/// # Errors
/// When they differ.
fn compare<const N: usize>(
    text: &str,
    shape: &Shape<N>,
    tally: &mut Tally,
) -> Result<(), &'static str> {
    let mut found: Fields<'_, N> = [const { None }; N];
    let mut expected: Fields<'_, N> = [const { None }; N];
    let is_quick = quick::object(text, shape, &mut found).is_some();
    let is_object = matches!(strict(text, shape, &mut expected), Ok(None));
    match (is_quick, is_object) {
        (true, false) => return Err("only the quick reader accepts it"),
        (true, true) => tally.quick += 1,
        (false, true) => {
            tally.strict += 1;
            // The strict reader begins anew, without the values of the quick one.
            found = [const { None }; N];
            if !matches!(parse(text.as_bytes(), shape, &mut found), Ok(None)) {
                return Err("it is refused after the quick reader");
            }
        }
        (false, false) => {
            tally.refused += 1;
            return Ok(());
        }
    }
    if are_same(&found, &expected) { Ok(()) } else { Err("the values differ") }
}

/// Makes and reads every `step`-th mutant from `first` on.
fn read(records: &[[Vec<u8>; 3]], seed: u64, first: u64, step: u64, count: u64) -> Tally {
    let mut tally = Tally::default();
    let mut number = first;
    while number < count {
        let seed_of_record = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number);
        let mut draw = Draw(Pcg64Mcg::seed_from_u64(seed_of_record));
        let kind = draw.below(3);
        let mut record = records[draw.below(records.len())][kind].clone();
        for _ in 0..=draw.below(MUTATIONS) {
            draw.mutate(&mut record);
        }
        // Bytes that are no text reach neither reader.
        let text = String::from_utf8_lossy(&record);
        let result = match kind {
            0 => compare(&text, &PIN, &mut tally),
            1 => compare(&text, &GEO, &mut tally),
            _ => compare(&text, &USER, &mut tally),
        };
        if let Err(difference) = result {
            panic!("mutant {number} of seed {seed}: {difference}: {text}");
        }
        number += step;
    }
    tally
}

#[test]
fn a_mutated_record_is_the_same_for_both_readers() {
    let number = |name: &str, default| match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")),
        Err(_) => default,
    };
    let (count, seed) = (number("WATERSHED_MUTANTS", RECORDS), number("WATERSHED_SEED", 1));
    let mut records = Vec::new();
    generate::rows(seed, EVENTS, &mut |lines| records.push(lines.clone()));
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let records = &records;
        let start = |first| scope.spawn(move || read(records, seed, first, threads, count));
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let sums = [sum(|it| it.quick), sum(|it| it.strict), sum(|it| it.refused)];
    println!("{sums:?}");
    assert_eq!(sums.iter().sum::<u64>(), count);
    assert!(count < 1_000 || sums.iter().all(|sum| sum * 50 > count), "{sums:?}");
}
