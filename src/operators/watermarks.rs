//! The watermark of a step: the least partition time of all partitions before it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::vec::Broadcast;

use super::epochs::{Step, in_epochs_of};
use crate::metrics::Meter;
use crate::record::PartitionId;
use crate::time::{Epoch, Timestamp};

/// A change of a partition's part in the watermarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockChange {
    pub(crate) topic: u16,
    /// The rank of its source.
    pub(crate) source: u16,
    pub(crate) partition: u32,
    pub(crate) clock: Clock,
}

/// The part of a partition in the watermarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Clock {
    /// The partition has this time. It holds the watermark, also without a time.
    At(Option<Timestamp>),
    /// The partition has come or has come back, at this time. Windows were closed up to `closed`
    /// before.
    Joined { time: Option<Timestamp>, closed: Option<Timestamp> },
    /// The partition is left out.
    Idle,
}

/// Returns the least of the `times` of partitions, or the watermark `before` if that is greater. It
/// stays while a partition has no time, and while there is none.
pub(crate) fn watermark(
    before: Option<Timestamp>,
    times: impl Iterator<Item = Option<Timestamp>>,
) -> Option<Timestamp> {
    times.min().flatten().max(before)
}

/// By partition, the time up to which windows were closed before it came, or came back. Clones
/// share it. Each worker has its own.
#[derive(Clone, Default)]
pub(crate) struct ClosedTimes(Rc<RefCell<BTreeMap<PartitionId, Timestamp>>>);

impl ClosedTimes {
    /// Notes the times among the changes of clocks, before these go on.
    pub(crate) fn note<'s>(
        &self,
        changes: StreamVec<'s, Epoch, ClockChange>,
    ) -> StreamVec<'s, Epoch, ClockChange> {
        let times = self.clone();
        changes.inspect(move |change| {
            if let Clock::Joined { closed: Some(closed), .. } = change.clock {
                let ClockChange { topic, source, partition, .. } = *change;
                times.0.borrow_mut().insert(PartitionId { topic, source, partition }, closed);
            }
        })
    }

    /// Returns true if a record of a partition is late by this time only because windows were
    /// closed before the partition came.
    pub(crate) fn explain(&self, partition: PartitionId, partition_time: Timestamp) -> bool {
        self.0.borrow().get(&partition) == Some(&partition_time)
    }
}

/// Sends the changes of a topic's clocks to all workers.
pub(crate) fn to_all_workers<'s>(
    changes: StreamVec<'s, Epoch, ClockChange>,
) -> StreamVec<'s, Epoch, ClockChange> {
    changes.broadcast()
}

/// Emits the watermark on each worker, in the epoch at whose close it has risen. It never falls.
/// `changes` are those of all topics before a step, on all workers, and `restored` is the watermark
/// at the last commit of earlier runs.
pub(crate) fn watermarks<'s>(
    changes: StreamVec<'s, Epoch, ClockChange>,
    restored: Option<Timestamp>,
) -> StreamVec<'s, Epoch, Timestamp> {
    let mut partitions = BTreeMap::new();
    let (mut now, mut emitted) = (restored, None);
    let logic =
        move |_: Epoch, step: Step<'_, Vec<ClockChange>>, out: &mut Vec<Timestamp>| match step {
            Step::Data(changes) => {
                for ClockChange { topic, source, partition, clock } in changes.drain(..) {
                    let id = (topic, source, partition);
                    match clock {
                        Clock::At(time) | Clock::Joined { time, .. } => partitions.insert(id, time),
                        Clock::Idle => partitions.remove(&id),
                    };
                }
                true
            }
            Step::Close => {
                now = watermark(now, partitions.values().copied());
                out.extend(now.filter(|_| now > emitted));
                emitted = now;
                false
            }
        };
    let (name, meter) = ("watermarks", Meter::default());
    in_epochs_of(changes, Pipeline, name, meter, Box::new(logic), |out| out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_time_holds_the_watermark() {
        let at = |time| Some(Timestamp(time));
        assert_eq!(watermark(None, [at(7), at(-3)].into_iter()), at(-3));
        assert_eq!(watermark(at(1), [at(7), at(-3)].into_iter()), at(1));
        assert_eq!(watermark(at(1), [at(7), None].into_iter()), at(1));
        assert_eq!(watermark(None, [at(7), None].into_iter()), None);
        assert_eq!(watermark(at(1), std::iter::empty()), at(1));
    }
}
