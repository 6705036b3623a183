//! Partition times: a commit records them with its bindings, and a recovery compares them.

use std::collections::BTreeMap;

use super::topics::Topics;
use crate::durable::{Manifest, SourceState};
use crate::error::{Advice, Error, Result};
use crate::time::Epoch;

/// Adds the time of each partition up to the end of `epoch` to the bindings of a commit. Every
/// worker must have completed the epoch.
pub(super) fn bind(
    topics: &Topics,
    epoch: Epoch,
    sources: &mut BTreeMap<String, Vec<SourceState>>,
) {
    for topic in topics.iter() {
        let states = sources.get_mut(&topic.name).map_or(&mut [][..], Vec::as_mut_slice);
        for (rank, state) in (0..).zip(states) {
            for (partition, bound) in &mut state.partitions {
                bound.partition_time = topic.queue.times.through(epoch, (rank, *partition));
            }
        }
    }
}

/// Compares the times of the partitions after the replay, in epoch 0, with the recorded ones. A
/// partition without a recorded time is not compared: its records have no timestamps, or an older
/// version made the state.
///
/// # Errors
/// When one differs. The records are the same, so the program extracts timestamps differently than
/// when it made the state.
pub(super) fn compare(topics: &Topics, last: &Manifest) -> Result<()> {
    for topic in topics.iter() {
        let states = last.sources.get(&topic.name).map_or(&[][..], Vec::as_slice);
        for ((rank, source), state) in (0..).zip(&topic.sources).zip(states) {
            for (partition, bound) in &state.partitions {
                let floor = state.clocks.get(partition).and_then(|clock| clock.floor);
                let now = topic.queue.times.through(0, (rank, *partition)).max(floor);
                if bound.partition_time.is_none() || bound.partition_time == now {
                    continue;
                }
                let name = format!("{}, partition {partition}", source.describe());
                return Err(Error::data(format!(
                    "can't go on reading {name}: its records have other timestamps than before"
                ))
                .hint("Run the version of the program that made the state, or begin anew.")
                .advise(Advice::BeginAnew));
            }
        }
    }
    Ok(())
}
