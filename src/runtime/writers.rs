//! The writers of the sinks, one for each sink and worker of a process.

use std::collections::BTreeMap;
use std::ops::Range;

use super::adoption::{self, FreshSinks};
use crate::connect::{Recovering, Sink, SinkContext};
use crate::error::{Error, Result};
use crate::faults;
use crate::plan::Plan;
use crate::ports::SinkStart;

/// A writer in its recovery, with the number of its sink and the topic that is bound to it.
pub(super) struct SinkWriter {
    pub(super) topic: String,
    pub(super) sink: usize,
    pub(super) recovering: Box<dyn Recovering>,
    pub(super) start: SinkStart,
}

/// The writers of the workers of this process, by the global number of the worker: its number among
/// the workers of all processes. Names of files contain this number, so it must be unique.
pub(super) type Writers = BTreeMap<usize, Vec<SinkWriter>>;

/// Makes the writers of every sink, in their recovery. `workers` are the workers of this process,
/// by their numbers among the workers of all processes. Writers of `fresh` sinks find no rows.
pub(super) fn open_writers(
    sinks: &[(String, Box<dyn Sink>)],
    briefs: &[serde_json::Value],
    plan: &Plan,
    context: &SinkContext,
    fresh: &FreshSinks,
    workers: Range<usize>,
) -> Result<Writers> {
    let mut writers = Writers::new();
    for (number, ((topic, sink), brief)) in sinks.iter().zip(briefs).enumerate() {
        let is_fresh = fresh.contains(topic);
        let start = if is_fresh { SinkStart::WithoutRows } else { SinkStart::Recovery };
        let context = adoption::context_for(context, is_fresh);
        let is_local = faults::bug("local_file_names");
        let named = if is_local { 0..workers.len() } else { workers.clone() };
        let opened = sink.writers(plan.sink(topic)?, &context, brief, named)?;
        if opened.len() != workers.len() {
            let (name, made) = (sink.describe(), opened.len());
            let wanted = workers.len();
            return Err(Error::internal(format!(
                "{name} made {made} writers for {wanted} workers"
            )));
        }
        for (worker, recovering) in workers.clone().zip(opened) {
            let writer = SinkWriter { topic: topic.clone(), sink: number, recovering, start };
            writers.entry(worker).or_default().push(writer);
        }
    }
    Ok(writers)
}
