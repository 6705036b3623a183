//! The adoption of a state by a run of another topology.
//!
//! The state records the topology of the run that made it: its steps, and for each sink a digest of
//! the steps that make its rows. Closures are in no record. So a snapshot is continued only if each
//! of its cuts is proved: a sink that was written before, by the same steps, has the cut before it.
//! The recovery compares the rows of such a sink as ever. A topic of which other rows are needed is
//! read again from its beginning, and none of its saved rows is used. A sink whose rows other steps
//! make now begins like a new one, and its first commit also removes the rows that it has.
//!
//! The first manifest of the run is the act of adoption. Nothing of the state is changed before it.

use std::collections::BTreeSet;

use super::config::{Config, TopologyChange};
use super::recover::{Rereads, SnapshotNeeds};
use super::streams::Streams;
use crate::connect::{Sink, SinkContext};
use crate::durable::{Ledger, Manifest, Snapshot, TopologyRecord};
use crate::error::{Advice, Error, Result};
use crate::graph::{Demand, SinkDemand};
use crate::plan::Plan;
use crate::secret::Secret;
use crate::store::Store;
use crate::topology::Topology;

/// The beginning of the verb of a setting.
const SETTING: &str = "setting ";

/// The changes that a run makes to a state when it adopts it.
///
/// ```
/// use watershed::connect::memory::{MemoryLog, MemoryTable};
/// use watershed::prelude::*;
/// use watershed::runtime::TopologyChange;
/// use watershed::store::Store;
///
/// fn topology(builder: &StreamsBuilder<'_>, with_count: bool) {
///     let words = builder.table::<i64, String>("words", Consumed::with(Json, Utf8));
///     let lengths = words.group_by(|_, word| (word.len() as i64, ()));
///     lengths.count().to("lengths", Produced::columns(["length", "words"]));
///     if with_count {
///         let all = words.group_by(|_, _| (0_i64, ()));
///         all.count().to("count", Produced::columns(["all", "words"]));
///     }
/// }
///
/// let words = MemoryLog::default();
/// let (lengths, count) = (MemoryTable::default(), MemoryTable::default());
/// for (id, word) in [("1", "to"), ("2", "be")] {
///     words.append(0, Some(id.as_bytes()), Some(word.as_bytes()));
/// }
/// # let folder = tempfile::tempdir().unwrap();
/// let state = Store::open(folder.path().to_str().unwrap())?;
/// let bound = |with_count| {
///     let topology = Topology::new("words", move |builder| topology(builder, with_count));
///     Streams::new(topology).source("words", words.clone()).sink("lengths", lengths.clone())
/// };
/// let config = || Config { state: Some(state.clone()), ..Config::default() };
/// bound(false).run(config())?;
///
/// let streams = bound(true).sink("count", count.clone());
/// let adoption = streams.adoption(&state)?.expect("the topology has changed");
/// assert_eq!(adoption.new, ["count"]);
/// assert!(adoption.read_again.is_empty());
/// streams.run(Config { topology_change: TopologyChange::Adopt, ..config() })?;
/// assert_eq!(count.rows(), [[Value::Long(0), Value::Long(2)]]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// The topics whose sinks are continued. Their rows are compared with the record.
    pub kept: Vec<String>,
    /// The topics whose rows other steps make now. The first commit replaces all of their rows.
    pub replaced: Vec<String>,
    /// The topics whose sinks begin without rows. Their first commit has all rows.
    pub new: Vec<String>,
    /// The topics that are written no more. Their sinks are left as they are.
    pub gone: Vec<String>,
    /// The cuts whose saved rows are continued: they are in the snapshot, and a sink proves them.
    pub found: Vec<String>,
    /// The other cuts, except those of new sinks. Their rows are made again.
    pub lacking: Vec<String>,
    /// The topics that are read again from their beginning, because of lacking rows.
    pub read_again: Vec<String>,
}

impl Streams {
    /// Returns the changes that a run would make to `state` when it adopts it; none if there is no
    /// commit or the topology is the recorded one. Changes nothing.
    ///
    /// # Errors
    /// When a run can't adopt the state.
    pub fn adoption(&self, state: &Store) -> Result<Option<Adoption>> {
        let fresh = fresh_sinks(self, state)?;
        let plan = self.topology.plan_for(demand(self, &fresh));
        self.check(&plan)?;
        let ledger = find(&self.topology, &record(&plan), state)?;
        let Some(last) = ledger.continued() else { return Ok(None) };
        if ledger.is_same_topology() && fresh == FreshSinks::default() {
            return Ok(None);
        }
        let (mut adoption, needs) = check(&ledger, last, &plan, &self.sinks)?;
        let snapshots = last.snapshots.iter().filter_map(|name| Snapshot::read(state, name).ok());
        let rereads: Vec<_> = snapshots.map(|saved| Rereads::of(&plan, &needs, &saved)).collect();
        // A run prefers a snapshot that lacks nothing.
        let best = rereads.iter().min_by_key(|rereads| !rereads.topics.is_empty());
        let best = best.filter(|rereads| !plan.volatile || rereads.topics.is_empty());
        for cut in plan.cuts.iter().filter(|cut| !needs.new_cuts.contains(&cut.id)) {
            let is_found = best.is_some_and(|best| best.loaded.contains(&cut.id));
            let list = if is_found { &mut adoption.found } else { &mut adoption.lacking };
            list.push(cut.id.name.clone());
        }
        let is_again = |topic: &&String| best.is_none_or(|best| best.topics.contains(*topic));
        let recorded = plan.sources.iter().filter(|topic| last.sources.contains_key(*topic));
        adoption.read_again = recorded.filter(is_again).cloned().collect();
        Ok(Some(adoption))
    }
}

/// Returns the record of a plan.
pub(super) fn record(plan: &Plan) -> TopologyRecord {
    TopologyRecord {
        fingerprint: Topology::fingerprint(plan),
        lines: plan.lines(),
        sources: plan.sources.clone(),
        sinks: plan.sink_digests(),
    }
}

/// The topics whose sinks get all rows in the first commit of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FreshSinks {
    /// The state does not record them: they have no rows yet.
    pub(super) new: BTreeSet<String>,
    /// Other steps make their rows now.
    pub(super) replaced: BTreeSet<String>,
}

impl FreshSinks {
    /// Returns the sinks of an adoption.
    pub(super) fn of(adoption: Option<&Adoption>) -> Self {
        let [new, replaced] = [|it: &Adoption| it.new.clone(), |it: &Adoption| it.replaced.clone()]
            .map(|topics| adoption.into_iter().flat_map(topics).collect());
        FreshSinks { new, replaced }
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.new.contains(topic) || self.replaced.contains(topic)
    }
}

/// Returns the ends of the topology that the run needs.
pub(super) fn demand(streams: &Streams, fresh: &FreshSinks) -> Demand {
    let of_sink = |topic: &String, sink: &dyn Sink| match (sink.needs_rows(), fresh.contains(topic))
    {
        (true, _) => SinkDemand::Rows,
        (false, true) => SinkDemand::RowsOnce,
        (false, false) => SinkDemand::Keys,
    };
    let sinks = streams.sinks.iter();
    Demand {
        sinks: sinks.map(|(topic, sink)| (topic.clone(), of_sink(topic, &**sink))).collect(),
        stores: streams.stores.names().cloned().collect(),
        ..Demand::default()
    }
}

/// Returns the sinks that get all rows in the first commit, if the run may adopt the state.
///
/// # Errors
/// When the state can't be read.
pub(super) fn fresh(streams: &Streams, config: &Config) -> Result<FreshSinks> {
    match (&config.state, config.topology_change) {
        (Some(state), TopologyChange::Adopt) => fresh_sinks(streams, state),
        _ => Ok(FreshSinks::default()),
    }
}

fn fresh_sinks(streams: &Streams, state: &Store) -> Result<FreshSinks> {
    let now = record(&streams.topology.plan());
    let ledger = find(&streams.topology, &now, state)?;
    let Some(last) = ledger.continued() else { return Ok(FreshSinks::default()) };
    let earlier = if ledger.is_same_topology() { None } else { ledger.earlier_topology()? };
    let is_changed = |topic: &String| {
        earlier.as_ref().is_some_and(|earlier| earlier.sinks.get(topic) != now.sinks.get(topic))
    };
    let topics = streams.sinks.iter().map(|(topic, _)| topic.clone());
    let (recorded, new): (BTreeSet<_>, _) = topics.partition(|it| last.sinks.contains_key(it));
    Ok(FreshSinks { new, replaced: recorded.into_iter().filter(is_changed).collect() })
}

/// Reads the state, and changes nothing.
fn find(topology: &Topology, record: &TopologyRecord, state: &Store) -> Result<Ledger> {
    Ledger::find(state.clone(), topology.name(), record, "", Secret::new([0; 16]))
}

/// Returns the context for a sink. One without rows begins like that of a new state.
pub(super) fn context_for(context: &SinkContext, is_new: bool) -> SinkContext {
    let committed = if is_new { 0 } else { context.committed };
    SinkContext { committed, ..context.clone() }
}

/// Returns the changes of an adoption, and the parts of a snapshot that it needs.
///
/// # Errors
/// When the run can't adopt the state.
pub(super) fn check(
    ledger: &Ledger,
    last: &Manifest,
    plan: &Plan,
    sinks: &[(String, Box<dyn Sink>)],
) -> Result<(Adoption, SnapshotNeeds)> {
    let now = &ledger.topology;
    let earlier =
        if ledger.is_same_topology() { Some(now.clone()) } else { ledger.earlier_topology()? };
    let Some(earlier) = earlier else {
        return refuse(ledger, "the run that made it has recorded no steps");
    };
    let settings = earlier.lines.iter().filter(|line| line.starts_with(SETTING));
    if let Some(setting) = settings.into_iter().find(|line| !now.lines.contains(line)) {
        return refuse(ledger, &format!("its {setting} has changed, and any row may depend on it"));
    }
    let is_recorded = |topic: &String| last.sinks.contains_key(topic);
    let bound = || sinks.iter().map(|(topic, _)| topic);
    let (recorded, new): (Vec<_>, Vec<_>) = bound().cloned().partition(is_recorded);
    let gone = last.sinks.keys().filter(|topic| !recorded.contains(topic)).cloned().collect();
    let is_same = |topic: &String| now.sinks.get(topic) == earlier.sinks.get(topic);
    let (kept, replaced): (Vec<_>, Vec<_>) = recorded.into_iter().partition(is_same);
    if let Some((topic, sink)) =
        sinks.iter().find(|(topic, sink)| replaced.contains(topic) && !sink.can_replace())
    {
        let sink = sink.describe();
        let reason = format!("other steps make the rows of {topic} now, and {sink} can't replace");
        return refuse(ledger, &format!("{reason} those that it has"));
    }
    let fresh = [new.clone(), replaced.clone()].concat();
    let nodes = |topics: &[String]| -> Vec<usize> {
        topics.iter().filter_map(|topic| plan.sink_node(topic)).collect()
    };
    let (proved, new_nodes) = (plan.with_steps_before(nodes(&kept)), nodes(&fresh));
    // Records have the ranks of their topics, in the order in which the topology reads them.
    let rank =
        |record: &TopologyRecord, topic: &String| record.sources.iter().position(|t| t == topic);
    let has_moved = |topic: &&String| {
        rank(&earlier, topic).is_some_and(|before| rank(now, topic) != Some(before))
    };
    let mut needs = SnapshotNeeds {
        sinks: kept.clone(),
        new_sinks: fresh,
        moved: now.sources.iter().filter(has_moved).cloned().collect(),
        ..SnapshotNeeds::default()
    };
    for cut in &plan.cuts {
        if new_nodes.contains(&cut.node) {
            needs.new_cuts.push(cut.id.clone());
        } else if proved.contains(&cut.node) {
            needs.cuts.push(cut.id.clone());
        }
    }
    Ok((Adoption { kept, replaced, new, gone, ..Adoption::default() }, needs))
}

fn refuse<T>(ledger: &Ledger, reason: &str) -> Result<T> {
    Err(Error::data(format!("can't adopt the state of {}: {reason}", ledger.program))
        .hint("Write changed rows to a topic of another name, or begin anew.")
        .advise(Advice::BeginAnew))
}
