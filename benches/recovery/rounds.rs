//! A source without a disk: it computes its records.

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use watershed::Error;
use watershed::connect::{Partition, Poll, Source};
use watershed::record::Batch;

/// The number of records in a batch.
const BATCH_RECORDS: u64 = 4096;

/// The characters of a text: four of them hold three bytes of random numbers.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The length of a text.
const TEXT_BYTES: usize = 64;

/// The values of the records.
#[derive(Clone, Copy)]
pub(crate) enum Contents {
    /// The number of the record.
    Numbers,
    /// A text that doesn't compress.
    Texts,
}

impl Contents {
    /// Returns the value of record `n`.
    fn value(self, n: u64) -> Vec<u8> {
        match self {
            Contents::Numbers => n.to_string().into_bytes(),
            Contents::Texts => {
                let mut text = vec![0; TEXT_BYTES];
                Pcg64Mcg::seed_from_u64(n).fill_bytes(&mut text);
                text.iter_mut().for_each(|byte| *byte = ALPHABET[usize::from(*byte) % 64]);
                text
            }
        }
    }

    /// The usual size of a record, in bytes.
    fn record_bytes(self) -> u64 {
        match self {
            Contents::Numbers => 20,
            Contents::Texts => 12 + TEXT_BYTES as u64,
        }
    }
}

/// A log of computed records: one for each key, again and again.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) keys: u64,
    pub(crate) end: u64,
    pub(crate) contents: Contents,
}

impl Source for Rounds {
    fn describe(&self) -> String {
        "rounds".into()
    }

    fn partitions(&self) -> watershed::Result<Vec<u32>> {
        Ok(vec![0])
    }

    fn open(&self, _: u32, from: Option<u64>, _: bool) -> watershed::Result<Box<dyn Partition>> {
        let (end, next) = (self.end, from.unwrap_or(0));
        if next > end {
            return Err(Error::data(format!("can't read rounds from {next}: they end at {end}")));
        }
        Ok(Box::new(Reader { log: *self, next }))
    }
}

struct Reader {
    log: Rounds,
    next: u64,
}

impl Partition for Reader {
    fn poll(&mut self) -> watershed::Result<Poll> {
        let Rounds { keys, end, contents } = self.log;
        if self.next == end {
            return Ok(Poll::End);
        }
        let (first, next) = (self.next, end.min(self.next + BATCH_RECORDS));
        let mut batch = Batch { first, next, ..Batch::default() };
        for n in first..next {
            let key = format!("key-{:08}", n % keys);
            batch.push(n, None, Some(key.as_bytes()), Some(&contents.value(n)));
        }
        self.next = next;
        Ok(Poll::Batch(batch))
    }

    fn remaining(&self) -> u64 {
        (self.log.end - self.next) * self.log.contents.record_bytes()
    }
}
