//! Partition times at a commit: they are recorded with the bindings, and recovered with the records.

use std::collections::BTreeMap;

use super::topics::Topics;
use crate::durable::{Manifest, SourceState};
use crate::error::{Error, Result};
use crate::time::Epoch;

/// Completes the bindings of a commit after `epoch` with the time of each partition. Every worker
/// must have completed the epoch.
pub(super) fn bind(
    topics: &Topics,
    epoch: Epoch,
    sources: &mut BTreeMap<String, Vec<SourceState>>,
) {
    for topic in topics.iter() {
        let states = sources.get_mut(&topic.name).map_or(&mut [][..], Vec::as_mut_slice);
        for (rank, state) in (0..).zip(states) {
            for (partition, bound) in &mut state.partitions {
                bound.partition_time = topic.feed.times.through(epoch, (rank, *partition));
            }
        }
    }
}

/// Compares the times of partitions that were read again, in epoch 0, with the recorded ones. A
/// state without times, of a version before them or of records without timestamps, has any.
///
/// # Errors
/// When one differs: the records are the same, so the program extracts timestamps in another way
/// than when it made the state.
pub(super) fn compare(topics: &Topics, last: &Manifest) -> Result<()> {
    for topic in topics.iter() {
        let states = last.sources.get(&topic.name).map_or(&[][..], Vec::as_slice);
        for ((rank, source), state) in (0..).zip(&topic.sources).zip(states) {
            for (partition, bound) in &state.partitions {
                let now = topic.feed.times.through(0, (rank, *partition));
                if bound.partition_time.is_none() || bound.partition_time == now {
                    continue;
                }
                let name = format!("{}, partition {partition}", source.describe());
                return Err(Error::data(format!(
                    "can't go on reading {name}: its records have other timestamps than before"
                ))
                .hint(
                    "Run the version of the program that made the state, or begin anew with \
                     another state.",
                ));
            }
        }
    }
    Ok(())
}
