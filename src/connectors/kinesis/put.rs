//! Putting records into a stream, in calls of many; if it is asked for so that none is overtaken by
//! the next of its key.

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

/// How records are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// For ever, and those of one key in their order: a call carries one record of each key.
    InOrder,
    /// As many as fit in a call, until so many calls in a row were in vain: a record may be
    /// overtaken by the next of its key.
    Together(u32),
}

/// Writes all of `entries`, again and again, and says in `written` of each where it is: there are
/// as many of both. Those that are not written have the one reason that is returned.
pub(super) async fn put(
    api: &dyn Api,
    what: &str,
    stream: &str,
    entries: Vec<Entry>,
    way: Way,
    written: &mut [Option<Written>],
) -> Result<(), Fault> {
    let mut waiting: VecDeque<(usize, Entry)> = entries.into_iter().enumerate().collect();
    let attempts = if let Way::Together(attempts) = way { Some(attempts) } else { None };
    let mut vain = 0;
    while !waiting.is_empty() {
        let (mut places, mut call, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let (mut keys, mut bytes) = (HashSet::new(), 0);
        // In order, one that is refused is not overtaken. Looking far ahead for other keys would
        // cost more than a small call.
        while let Some((at, entry)) =
            waiting.pop_front_if(|_| call.len() < ENTRIES && held.len() < 4 * ENTRIES)
        {
            let size = entry.key.len() + entry.data.len();
            let free = keys.insert(entry.key.clone()) || way != Way::InOrder;
            if free && bytes + size <= CALL {
                bytes += size;
                places.push(at);
                call.push(entry);
            } else {
                held.push((at, entry));
            }
        }
        let results = insist(what, attempts, || api.put(stream, &call)).await?;
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
                return Err(Fault { kind: FaultKind::Passing, cause });
            }
            sleep(FULL).await;
        }
        // Those of one key are in one of the two lists, or in both with the older in the first.
        for entry in again.into_iter().chain(held).rev() {
            waiting.push_front(entry);
        }
    }
    Ok(())
}
