//! Joins, idle partitions and floors, as the owner of the clocks decides them.

mod follow;
mod runs;

use std::sync::Arc;

use super::super::topics;
use super::*;
use crate::metrics::Metrics;
use crate::plan::Plan;

/// The time after which a partition of topic 0 is idle.
const SILENCE: Duration = Duration::from_secs(60);

/// The clocks of two timed topics, and of one without time.
fn clocks() -> (Clocks, Topics) {
    let time = TimePlan {
        timed: [0, 1].into(),
        watermarks: vec![[0].into(), [0, 1].into()],
        idle_after: [(0, SILENCE)].into(),
        ..TimePlan::default()
    };
    let sources = ["a", "b", "c"].map(String::from).to_vec();
    let plan = Plan { sources, time, ..Plan::default() };
    let decoded: crate::ports::Decoded = Arc::new(|_| ());
    let metrics = Metrics::default();
    let bound = topics::bound(&plan, Vec::new(), 1, &decoded, &metrics);
    let topics = Topics::new(bound, &plan, &metrics);
    let clock = WallClock::Driven(now());
    (Clocks::new(topics.clone(), &plan.time, clock, AtEnd::CloseTime), topics)
}

fn id(topic: u16, partition: u32) -> PartitionId {
    PartitionId { topic, source: 0, partition }
}

/// Notes the time of a partition at the end of an epoch.
fn note(topics: &Topics, id: PartitionId, epoch: Epoch, time: i64) {
    topics.of(id).queue.times.note(epoch, (id.source, id.partition), Some(Timestamp(time)));
}

fn join(time: i64) -> ClockEvent {
    let floor = Some(Timestamp(time));
    ClockEvent::Join { floor, closed: floor }
}

#[test]
fn a_later_partition_joins_at_the_greatest_watermark_behind_it() {
    let (mut clocks, topics) = clocks();
    let joined = ClockEvent::Join { floor: None, closed: None };
    assert_eq!([(0, 0), (1, 0)].map(|(t, p)| clocks.begin(id(t, p))), [Some(joined); 2]);
    assert_eq!(clocks.begin(id(2, 0)), None, "its topic is not timed");
    note(&topics, id(0, 0), 1, 10);
    note(&topics, id(1, 0), 1, 30);
    clocks.discover(id(1, 7));
    assert!(!clocks.is_joined(id(1, 7)) && clocks.is_joined(id(2, 0)));
    assert_eq!(clocks.join(Some(1)), [(id(1, 7), join(10))]);
    assert!(clocks.is_joined(id(1, 7)) && clocks.take().has_changed && !clocks.take().has_changed);

    // Topic 0 falls silent, and the watermark of both topics goes on without it.
    clocks.advance(SILENCE - Duration::from_nanos(1));
    clocks.bring(id(1, 0));
    assert_eq!(clocks.leave_out(Some(1), |_| false), [], "not yet");
    clocks.advance(Duration::from_nanos(1));
    clocks.bring(id(1, 7));
    assert_eq!(clocks.leave_out(Some(1), |_| true), [], "it has records to read");
    assert_eq!(clocks.leave_out(Some(1), |_| false), [id(0, 0)]);
    assert_eq!(clocks.leave_out(Some(1), |_| false), [], "topic 1 is never idle");
    note(&topics, id(1, 7), 2, 25);
    clocks.bring(id(0, 0));
    assert!(!clocks.is_joined(id(0, 0)));
    assert_eq!(clocks.join(Some(2)), [(id(0, 0), join(25))]);
}

#[test]
fn the_last_partition_that_counts_is_never_idle() {
    let (mut clocks, _) = clocks();
    [0, 1].into_iter().for_each(|partition| _ = clocks.begin(id(0, partition)));
    clocks.end(id(0, 0));
    clocks.end(id(0, 1));
    assert_eq!(clocks.leave_out(None, |_| false).len(), 1);
    assert_eq!(clocks.leave_out(None, |_| false), []);
}

#[test]
fn the_end_of_time_is_reached_once() {
    let (mut clocks, _) = clocks();
    _ = clocks.begin(id(0, 0));
    clocks.discover(id(1, 3));
    assert_eq!(clocks.close(), [(id(0, 0), join(i64::MAX)), (id(1, 3), join(i64::MAX))]);
    assert_eq!(clocks.close(), []);
}
