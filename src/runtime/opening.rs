//! The opening of a run's sinks for commits, once nothing refuses the run.

use std::collections::BTreeSet;

use super::adoption::{self, FreshSinks};
use super::begin::{Beginning, SINKS_AT_ONCE};
use super::committer::{CommitThread, Target};
use crate::connect::{Identity, Sink, SinkContext};
use crate::durable::{Fence, Ledger, Manifest};
use crate::error::Result;
use crate::plan::Plan;
use crate::sync::side_by_side;

/// A run whose sinks are open and show the last manifest.
pub(super) struct Opening {
    /// The beginning, without its ledger.
    pub(super) beginning: Beginning,
    pub(super) fence: Option<Fence>,
    /// The last manifest.
    pub(super) recorded: Option<Manifest>,
    pub(super) committer: CommitThread,
    /// The brief of each sink for its writers.
    pub(super) briefs: Vec<serde_json::Value>,
}

impl Opening {
    /// Takes over the state with `begin`, and opens all sinks. The previous run may make its last
    /// commit in between; then both are done again. It can't make another one.
    ///
    /// # Errors
    /// The errors of `begin`, and those of a sink.
    pub(super) fn make(
        plan: &Plan,
        sinks: &[(String, Box<dyn Sink>)],
        fresh: &FreshSinks,
        mut begin: impl FnMut() -> Result<Beginning>,
    ) -> Result<Self> {
        loop {
            let mut beginning = begin()?;
            let fence = beginning.ledger.as_ref().map(Ledger::fence);
            let recorded = beginning.ledger.as_ref().and_then(|ledger| ledger.last.clone());
            match (open(&mut beginning, plan, sinks, fresh), fence) {
                (Ok((committer, briefs)), fence) => {
                    return Ok(Opening { beginning, fence, recorded, committer, briefs });
                }
                (Err(_), Some(fence)) if fence.previous_has_committed() => {}
                (Err(error), Some(fence)) => return Err(fence.explain(error)),
                (Err(error), None) => return Err(error),
            }
        }
    }
}

/// Opens every sink, and lets it show the last manifest.
fn open(
    beginning: &mut Beginning,
    plan: &Plan,
    sinks: &[(String, Box<dyn Sink>)],
    fresh: &FreshSinks,
) -> Result<(CommitThread, Vec<serde_json::Value>)> {
    let context = &beginning.context;
    if let Some(reset) = &beginning.reset {
        reset.clear(plan, sinks, context)?;
    }
    let targets = open_sinks(sinks, &beginning.identities, plan, context, &fresh.new)?;
    let mut committer = CommitThread::catch_up(targets, beginning.ledger.take())?;
    committer.replace(&fresh.replaced)?;
    let briefs = committer.briefs()?;
    Ok((committer, briefs))
}

/// Opens every sink for commits. Those of `new` topics have no rows yet.
fn open_sinks(
    sinks: &[(String, Box<dyn Sink>)],
    identities: &[Identity],
    plan: &Plan,
    context: &SinkContext,
    new: &BTreeSet<String>,
) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    let sinks: Vec<_> = sinks.iter().zip(identities).collect();
    for some in sinks.chunks(SINKS_AT_ONCE) {
        let open = some.iter().map(|((topic, sink), identity)| {
            move || {
                let context = adoption::context_for(context, new.contains(topic));
                let committer = sink.open(plan.sink(topic)?, &context)?;
                let (topic, name, identity) =
                    (topic.clone(), sink.describe(), Identity::clone(identity));
                Ok(Target { topic, name, identity, committer, is_replaced: false })
            }
        });
        for target in side_by_side("a thread that opens a sink", open) {
            targets.push(target?);
        }
    }
    Ok(targets)
}
