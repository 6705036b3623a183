//! What is known of a stream's shards: who descends from whom, which are read to their end, and
//! which record an offset stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::api::Shard;
use crate::sync::lock;

/// How many positions are remembered of a shard. Commits forget those before them, so only what
/// never commits has as many.
const REMEMBERED: usize = 4096;

/// Which records the offsets of a shard stand for. Offsets count from the first record that was
/// ever read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Sequence number of the first record.
    pub(super) first: String,
    /// By offset, the sequence number of the record before it, which ends there.
    pub(super) ends: BTreeMap<u64, String>,
}

/// Shared by all readers of a stream.
#[derive(Default)]
pub(super) struct Lineage {
    state: Mutex<State>,
    finished: Notify,
}

#[derive(Default)]
struct State {
    listed: BTreeMap<u32, Shard>,
    /// Shards that are being read or were.
    opened: BTreeSet<u32>,
    /// Of the opened, those read to their end, and whether they had any record.
    finished: BTreeMap<u32, bool>,
    known: BTreeMap<u32, Known>,
}

impl Lineage {
    /// Takes what the service lists; returns the numbers of the shards to read. Those that ended
    /// without a record are over.
    pub(super) fn list(&self, shards: Vec<Shard>) -> Vec<u32> {
        lock(&self.state).listed = shards.into_iter().map(|shard| (shard.number, shard)).collect();
        self.finished.notify_waiters();
        self.numbers()
    }

    /// The shards of the last listing.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let state = lock(&self.state);
        state
            .listed
            .keys()
            .filter(|number| state.finished.get(number) != Some(&false))
            .copied()
            .collect()
    }

    /// Whether a shard was closed when shards were listed last.
    pub(super) fn is_closed(&self, number: u32) -> bool {
        lock(&self.state).listed.get(&number).is_some_and(|shard| shard.closed)
    }

    /// Notes that a shard is read, again maybe.
    pub(super) fn open(&self, number: u32) {
        let mut state = lock(&self.state);
        state.opened.insert(number);
        state.finished.remove(&number);
    }

    /// Notes that a shard is read to its end and all of it handed over: its children may begin.
    pub(super) fn finish(&self, number: u32) {
        let mut state = lock(&self.state);
        let any = state.known.contains_key(&number);
        state.finished.insert(number, any);
        drop(state);
        self.finished.notify_waiters();
    }

    /// Waits until every parent of a shard is read to its end. One that is neither listed nor read
    /// is gone: its records are too old.
    pub(super) async fn parents(&self, number: u32) {
        loop {
            let changed = self.finished.notified();
            if self.is_ready(number) {
                return;
            }
            changed.await;
        }
    }

    fn is_ready(&self, number: u32) -> bool {
        let state = lock(&self.state);
        let done = |parent: &u32| {
            state.finished.contains_key(parent)
                || !(state.listed.contains_key(parent) || state.opened.contains(parent))
        };
        state.listed.get(&number).is_none_or(|shard| shard.parents.iter().all(done))
    }

    /// The sequence number of the first record that was ever read of a shard.
    pub(super) fn first(&self, number: u32) -> Option<String> {
        lock(&self.state).known.get(&number).map(|known| known.first.clone())
    }

    /// The last known position of a shard up to `offset`, with the sequence number of the record
    /// before it.
    pub(super) fn before(&self, number: u32, offset: u64) -> Option<(u64, String)> {
        let state = lock(&self.state);
        let (at, sequence) = state.known.get(&number)?.ends.range(..=offset).next_back()?;
        Some((*at, sequence.clone()))
    }

    /// Notes which record comes first in a shard.
    pub(super) fn begins(&self, number: u32, sequence: &str) {
        let fresh = || Known { first: sequence.to_string(), ends: BTreeMap::new() };
        lock(&self.state).known.entry(number).or_insert_with(fresh);
    }

    /// Notes that the record of this sequence number ends at `offset`.
    pub(super) fn ends(&self, number: u32, offset: u64, sequence: String) {
        if let Some(known) = lock(&self.state).known.get_mut(&number) {
            known.ends.insert(offset, sequence);
            if known.ends.len() > REMEMBERED {
                known.ends.pop_first();
            }
        }
    }

    /// What finds the shards again at these ends; what is before them is forgotten.
    pub(super) fn remember(&self, ends: &BTreeMap<u32, u64>) -> BTreeMap<u32, Known> {
        let mut memory = BTreeMap::new();
        for (number, end) in ends {
            let Some(known) = lock(&self.state).known.get_mut(number).map(|known| {
                let last = known
                    .ends
                    .range(..=end)
                    .next_back()
                    .map(|(at, sequence)| (*at, sequence.clone()));
                known.ends = known.ends.split_off(&last.as_ref().map_or(0, |(at, _)| *at));
                Known { first: known.first.clone(), ends: last.into_iter().collect() }
            }) else {
                continue;
            };
            memory.insert(*number, known);
        }
        memory
    }

    /// Takes what another run remembered.
    pub(super) fn recall(&self, memory: BTreeMap<u32, Known>) {
        lock(&self.state).known = memory;
    }
}
