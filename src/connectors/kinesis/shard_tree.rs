//! The shards of a stream: their parents, the progress of reading, and the sequence numbers of
//! offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::sync::lock;

use super::api::Shard;

/// The most positions kept per shard. A commit drops earlier ones, so that only a run without
/// commits keeps as many.
const MAX_POSITIONS: usize = 4096;

/// The sequence numbers of a shard's offsets. Offsets count from the first record that was ever
/// read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardPositions {
    /// The sequence number of the first record.
    pub(super) first: String,
    /// By offset, the sequence number of the record that ends there.
    pub(super) ends: BTreeMap<u64, String>,
    /// The offset after the last record of a closed shard that was read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<u64>,
}

/// The shards of a stream, shared by all its readers.
#[derive(Default)]
pub(super) struct ShardTree {
    state: Mutex<State>,
    finished: Notify,
}

/// The content of a shard that is read to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finished {
    Empty,
    WithRecords,
}

/// A position, and the sequence number of the record before it.
pub(super) struct KnownPosition {
    pub(super) offset: u64,
    pub(super) sequence: String,
}

#[derive(Default)]
struct State {
    listed: BTreeMap<u32, Shard>,
    /// Shards that are being read, or were.
    opened: BTreeSet<u32>,
    /// Opened shards that are read to their end.
    finished: BTreeMap<u32, Finished>,
    positions: BTreeMap<u32, ShardPositions>,
}

impl ShardTree {
    /// Replaces the list of shards. Returns the shards to read; those that ended without a record
    /// are left out.
    pub(super) fn update(&self, shards: Vec<Shard>) -> Vec<u32> {
        lock(&self.state).listed = shards.into_iter().map(|shard| (shard.number, shard)).collect();
        self.finished.notify_waiters();
        self.shards()
    }

    /// Returns the shards to read of the last list.
    pub(super) fn shards(&self) -> Vec<u32> {
        let state = lock(&self.state);
        state
            .listed
            .keys()
            .filter(|number| state.finished.get(number) != Some(&Finished::Empty))
            .copied()
            .collect()
    }

    /// Returns true if a shard was closed in the last list.
    pub(super) fn is_closed(&self, number: u32) -> bool {
        lock(&self.state).listed.get(&number).is_some_and(|shard| shard.closed)
    }

    /// Records that a shard is being read, maybe again.
    pub(super) fn open(&self, number: u32) {
        let mut state = lock(&self.state);
        state.opened.insert(number);
        state.finished.remove(&number);
    }

    /// Records that a shard is read to its end and everything was delivered. Its children may
    /// begin.
    pub(super) fn finish(&self, number: u32) {
        let mut state = lock(&self.state);
        let positions = state.positions.get_mut(&number);
        let finished = match positions {
            Some(positions) => {
                let last = positions.ends.last_key_value().map(|(end, _)| *end);
                positions.end = last.or(positions.end);
                Finished::WithRecords
            }
            None => Finished::Empty,
        };
        state.finished.insert(number, finished);
        drop(state);
        self.finished.notify_waiters();
    }

    /// Waits until every parent of a shard is read to its end. A parent that is neither listed nor
    /// read is gone, because its records are too old.
    pub(super) async fn wait_for_parents(&self, number: u32) {
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

    /// Returns the sequence number of the first record that was ever read of a shard.
    pub(super) fn first(&self, number: u32) -> Option<String> {
        lock(&self.state).positions.get(&number).map(|positions| positions.first.clone())
    }

    /// Returns true if `offset` is the end of a closed shard. Retention may have deleted all its
    /// records.
    pub(super) fn is_end(&self, number: u32, offset: u64) -> bool {
        let state = lock(&self.state);
        state.positions.get(&number).is_some_and(|positions| positions.end == Some(offset))
    }

    /// Returns the last known position of a shard up to `offset`.
    pub(super) fn position_before(&self, number: u32, offset: u64) -> Option<KnownPosition> {
        let state = lock(&self.state);
        let (at, sequence) = state.positions.get(&number)?.ends.range(..=offset).next_back()?;
        Some(KnownPosition { offset: *at, sequence: sequence.clone() })
    }

    /// Records the first record of a shard.
    pub(super) fn record_first(&self, number: u32, sequence: &str) {
        let new = || ShardPositions { first: sequence.to_string(), ..ShardPositions::default() };
        lock(&self.state).positions.entry(number).or_insert_with(new);
    }

    /// Records that the record with this sequence number ends at `offset`.
    pub(super) fn record_end(&self, number: u32, offset: u64, sequence: String) {
        if let Some(positions) = lock(&self.state).positions.get_mut(&number) {
            positions.ends.insert(offset, sequence);
            if positions.ends.len() > MAX_POSITIONS {
                positions.ends.pop_first();
            }
        }
    }

    /// Returns the positions at these ends, for the commit. Earlier ones are dropped.
    pub(super) fn positions_at(&self, ends: &BTreeMap<u32, u64>) -> BTreeMap<u32, ShardPositions> {
        let mut saved = BTreeMap::new();
        for (number, end) in ends {
            let Some(positions) = lock(&self.state).positions.get_mut(number).map(|positions| {
                let last = positions
                    .ends
                    .range(..=end)
                    .next_back()
                    .map(|(at, sequence)| (*at, sequence.clone()));
                positions.ends = positions.ends.split_off(&last.as_ref().map_or(0, |(at, _)| *at));
                ShardPositions {
                    first: positions.first.clone(),
                    ends: last.into_iter().collect(),
                    end: positions.end.filter(|last| last == end),
                }
            }) else {
                continue;
            };
            saved.insert(*number, positions);
        }
        saved
    }

    /// Replaces the positions by those of a commit.
    pub(super) fn restore(&self, saved: BTreeMap<u32, ShardPositions>) {
        lock(&self.state).positions = saved;
    }
}
