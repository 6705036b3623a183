//! Putting records into a stream, in calls of many, so that none is overtaken by the next of its key.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_128;

use super::api::{Api, Entry, Fault, FaultKind, Written};
use super::fetch::insist;

/// What one call may carry, and one record with its key.
const ENTRIES: usize = 500;
const CALL: usize = 5 << 20;
pub(super) const RECORD: usize = 1 << 20;
/// The longest partition key.
const KEY: usize = 256;
/// The pause after a call of which nothing was written: the shard is full for this second.
const FULL: Duration = Duration::from_millis(500);

/// A partition key for `key`, which may be too long or too short for one.
pub(super) fn key(key: String) -> String {
    if (1..=KEY).contains(&key.chars().count()) { key } else { hashed(key.as_bytes()) }
}

/// A partition key that stands for some bytes.
pub(super) fn hashed(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// Writes all of `entries`, again and again: for ever, or until `attempts` calls in a row were in vain. Says of each where it is;
/// those that are not written have the one reason beside.
pub(super) async fn put(
    api: &dyn Api,
    what: &str,
    stream: &str,
    entries: Vec<Entry>,
    attempts: Option<u32>,
) -> (Vec<Option<Written>>, Option<Fault>) {
    let mut written = vec![None; entries.len()];
    let mut waiting: VecDeque<(usize, Entry)> = entries.into_iter().enumerate().collect();
    let mut vain = 0;
    while !waiting.is_empty() {
        let (mut places, mut call, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let (mut keys, mut bytes) = (HashSet::new(), 0);
        // A call carries one record a key: one that is refused is not overtaken. Looking far ahead for other keys would cost
        // more than a small call.
        while let Some((at, entry)) = waiting.pop_front_if(|_| call.len() < ENTRIES && held.len() < 4 * ENTRIES) {
            let size = entry.key.len() + entry.data.len();
            if bytes + size <= CALL && keys.insert(entry.key.clone()) {
                bytes += size;
                places.push(at);
                call.push(entry);
            } else {
                keys.insert(entry.key.clone());
                held.push((at, entry));
            }
        }
        let results = match insist(what, attempts, || api.put(stream, &call)).await {
            Ok(results) => results,
            Err(fault) => return (written, Some(fault)),
        };
        let (all, mut again, mut code) = (call.len(), Vec::new(), None);
        // Without a word on it, it may be there or not: again is safer.
        let results = results.into_iter().map(Some).chain(std::iter::repeat(None));
        for ((at, entry), result) in places.into_iter().zip(call).zip(results) {
            match result {
                Some(Ok(place)) => written[at] = Some(place),
                other => {
                    code = other.and_then(Result::err).or(code);
                    again.push((at, entry));
                }
            }
        }
        vain = if again.len() == all { vain + 1 } else { 0 };
        if vain > 0 {
            tracing::warn!(what, code, "Kinesis takes no record now");
            if attempts.is_some_and(|attempts| vain >= attempts) {
                let cause = code.unwrap_or_else(|| "Kinesis gives no answer".to_string()).into();
                return (written, Some(Fault { kind: FaultKind::Passing, cause }));
            }
            sleep(FULL).await;
        }
        // Those of one key are in one of the two lists, or in both with the older in the first.
        for entry in again.into_iter().chain(held).rev() {
            waiting.push_front(entry);
        }
    }
    (written, None)
}
