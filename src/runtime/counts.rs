//! The numbers that the workers of another process have counted, on their way to process 0, which
//! adds them to its own.

use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use super::topics::Topic;
use crate::metrics::{Metrics, StepRows, Tally, TopicCounters};
use crate::time::{Epoch, Timestamp};

/// Numbers since the last time. Tallies and timestamps have their epochs, so they may be sent
/// before an epoch is completed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// In the order of the plan.
    topics: Vec<TopicCounts>,
    gauges: Vec<(String, i64)>,
    steps: Vec<StepCounts>,
    /// The numbers of late records by step and epoch.
    late: Vec<(usize, Epoch, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TopicCounts {
    tallies: Vec<(Epoch, Tally)>,
    rows: i64,
    keys: i64,
    /// The greatest timestamps of decoded batches, by epoch, source and partition.
    times: Vec<(Epoch, (u16, u32), Timestamp)>,
}

/// The rows of a step on one worker since the start.
#[derive(Debug, Serialize, Deserialize)]
struct StepCounts {
    step: usize,
    worker: usize,
    rows: StepRows,
}

impl Counts {
    /// Takes the numbers of this process, without those of steps.
    pub(super) fn take<'a>(topics: impl Iterator<Item = &'a Topic>, metrics: &Metrics) -> Self {
        let of = |topic: &Topic| {
            let counters = &*topic.counters;
            TopicCounts {
                tallies: counters.tallies.take(),
                rows: counters.rows.swap(0, Ordering::Relaxed),
                keys: counters.keys.swap(0, Ordering::Relaxed),
                times: topic.queue.times.take(),
            }
        };
        let (topics, gauges) = (topics.map(of).collect(), metrics.take_gauges());
        Counts { topics, gauges, steps: Vec::new(), late: metrics.late().take() }
    }

    /// Adds the numbers of steps.
    pub(super) fn with_steps(mut self, metrics: &Metrics) -> Self {
        let steps = metrics.step_rows().into_iter();
        let count = |((step, worker), rows)| StepCounts { step, worker, rows };
        self.steps = steps.map(count).collect();
        self
    }

    /// Adds the numbers to those of this process.
    pub(super) fn add_to<'a>(self, topics: impl Iterator<Item = &'a Topic>, metrics: &Metrics) {
        for (topic, counts) in topics.zip(self.topics) {
            let counters: &TopicCounters = &topic.counters;
            counts.tallies.into_iter().for_each(|(epoch, tally)| counters.count(epoch, tally));
            let add = |counter: &AtomicI64, n| _ = counter.fetch_add(n, Ordering::Relaxed);
            add(&counters.rows, counts.rows);
            add(&counters.keys, counts.keys);
            for (epoch, partition, greatest) in counts.times {
                topic.queue.times.note(epoch, partition, Some(greatest));
            }
        }
        for (name, rows) in self.gauges {
            metrics.gauge(&name).fetch_add(rows, Ordering::Relaxed);
        }
        for (step, epoch, n) in self.late {
            metrics.late().add(step, epoch, n);
        }
        for StepCounts { step, worker, rows } in self.steps {
            metrics.meter(step, worker).set(rows);
        }
    }
}
