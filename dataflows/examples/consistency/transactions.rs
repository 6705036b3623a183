//! Transactions between ten accounts, generated from a seed.

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;
use watershed::prelude::*;

row! {
    /// An amount that moves from one account to another.
    pub(crate) struct Transaction {
        pub(crate) id: i64,
        pub(crate) from_account: i64,
        pub(crate) to_account: i64,
        pub(crate) amount: i64,
        pub(crate) ts: Timestamp,
    }
}

/// The first time: 2021-01-01T00:00:00Z.
const START_MICROS: i64 = 1_609_459_200_000_000;
/// Times are spread over a minute, each up to ten seconds away from its place.
const SPREAD: [u64; 2] = [50, 10];

/// Generates `count` transactions as JSON, in the order of their times or in any.
///
/// # Errors
/// When a transaction can't be encoded.
pub(crate) fn generate(count: usize, is_shuffled: bool) -> Result<Vec<Vec<u8>>> {
    let mut random = Pcg64::seed_from_u64(42);
    let mut below = |end: u64| (random.next_u64() % end) as i64;
    let [seconds, away] = SPREAD.map(|seconds| seconds * 1_000_000);
    let mut transactions: Vec<Transaction> = (0..count as i64)
        .map(|id| {
            let place = id * seconds as i64 / count as i64;
            let ts = Timestamp(START_MICROS + place + below(away));
            let (from_account, to_account) = (below(10), below(10));
            Transaction { id, from_account, to_account, amount: 1 + below(100), ts }
        })
        .collect();
    match is_shuffled {
        true => {
            (1..count).for_each(|last| transactions.swap(last, below(last as u64 + 1) as usize))
        }
        false => transactions.sort_by_key(|transaction| transaction.ts),
    }
    let encoded = |it: &Transaction| {
        serde_json::to_vec(it).map_err(|e| Error::internal("can't encode a transaction").because(e))
    };
    transactions.iter().map(encoded).collect()
}
