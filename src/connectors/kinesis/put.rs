//! Puts records into a stream, with many in a call, and on request in the order of each key.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_128;

use super::api::{Api, CallError, CallErrorKind, Entry, Written};
use super::fetch::retry;

/// The limits of one call, and of one record with its key.
const CALL_MAX_RECORDS: usize = 500;
const CALL_MAX_BYTES: usize = 5 << 20;
pub(super) const RECORD_MAX_BYTES: usize = 1 << 20;
/// The longest partition key.
const KEY_MAX_CHARS: usize = 256;
/// The pause after a call that put nothing: the shard has no capacity left in this second.
const FULL_SHARD_PAUSE: Duration = Duration::from_millis(500);

/// Returns a valid partition key for `key`, which may be too long or too short.
pub(super) fn valid_key(key: String) -> String {
    if (1..=KEY_MAX_CHARS).contains(&key.chars().count()) {
        key
    } else {
        hashed_key(key.as_bytes())
    }
}

/// Returns a partition key for some bytes.
pub(super) fn hashed_key(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// The order and the persistence with which records are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutMode {
    /// Each call has one record per key, so that records of a key stay in order. Retries for ever.
    Ordered,
    /// Each call has as many records as fit, in any order. Gives up after this many calls in a row
    /// that put nothing.
    Unordered(u32),
}

/// Puts all of `entries`, and retries refused ones. `written` has the same length and receives the
/// position of each. Entries without a position failed for the reason that is returned.
pub(super) async fn put(
    api: &dyn Api,
    action: &str,
    stream: &str,
    entries: Vec<Entry>,
    mode: PutMode,
    written: &mut [Option<Written>],
) -> Result<(), CallError> {
    let mut due: VecDeque<(usize, Entry)> = entries.into_iter().enumerate().collect();
    let attempts = if let PutMode::Unordered(attempts) = mode { Some(attempts) } else { None };
    let mut failed_calls = 0;
    while !due.is_empty() {
        let (mut indices, mut call, mut later) = (Vec::new(), Vec::new(), Vec::new());
        let (mut keys, mut bytes) = (HashSet::new(), 0);
        // With `Ordered`, a refused record must not be overtaken. Searching further ahead for other
        // keys would cost more than a small call.
        while let Some((index, entry)) = due
            .pop_front_if(|_| call.len() < CALL_MAX_RECORDS && later.len() < 4 * CALL_MAX_RECORDS)
        {
            let size = entry.key.len() + entry.data.len();
            let free = keys.insert(entry.key.clone()) || mode != PutMode::Ordered;
            if free && bytes + size <= CALL_MAX_BYTES {
                bytes += size;
                indices.push(index);
                call.push(entry);
            } else {
                later.push((index, entry));
            }
        }
        let results = retry(action, attempts, || api.put(stream, &call)).await?;
        let (all, mut refused, mut code) = (call.len(), Vec::new(), None);
        // Without a result, the record may be stored or not. Putting it again is safer.
        let results = results.into_iter().map(Some).chain(std::iter::repeat(None));
        for ((index, entry), result) in indices.into_iter().zip(call).zip(results) {
            match result {
                Some(Ok(position)) => written[index] = Some(position),
                other => {
                    code = other.and_then(Result::err).or(code);
                    refused.push((index, entry));
                }
            }
        }
        failed_calls = if refused.len() == all { failed_calls + 1 } else { 0 };
        if failed_calls > 0 {
            tracing::warn!(action, code, "Kinesis accepts no records at the moment");
            if attempts.is_some_and(|attempts| failed_calls >= attempts) {
                let cause = code.unwrap_or_else(|| "Kinesis returned no result".to_string()).into();
                return Err(CallError { kind: CallErrorKind::Transient, cause });
            }
            sleep(FULL_SHARD_PAUSE).await;
        }
        // The records of one key are in one list only, or the older ones are in `refused`.
        for entry in refused.into_iter().chain(later).rev() {
            due.push_front(entry);
        }
    }
    Ok(())
}
