//! The topics that are read again from their beginning, because a snapshot lacks rows that are made
//! of their records.
//!
//! Of a topic that is read again no saved row is loaded, and of any other topic each. So topics of
//! which a lacking row is made are read again together, and then those with which these share a
//! row.

use std::collections::BTreeSet;

use crate::connect::Sink;
use crate::durable::Snapshot;
use crate::operators::CutId;
use crate::plan::{DEAD_LETTERS, Plan};

/// The parts of a snapshot that a run needs.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct SnapshotNeeds {
    /// The cuts of which saved rows can be used.
    pub(in super::super) cuts: Vec<CutId>,
    /// The cuts of new sinks, which begin without rows.
    pub(in super::super) new_cuts: Vec<CutId>,
    /// The topics of the sinks that are continued.
    pub(in super::super) sinks: Vec<String>,
    /// The topics of the sinks that begin without rows.
    pub(in super::super) new_sinks: Vec<String>,
    /// The topics whose rank has changed. It is a part of saved positions.
    pub(in super::super) moved: BTreeSet<String>,
}

impl SnapshotNeeds {
    /// Returns the needs of a run with the recorded topology.
    pub(in super::super) fn of_all(plan: &Plan, sinks: &[(String, Box<dyn Sink>)]) -> Self {
        SnapshotNeeds {
            cuts: plan.cuts.iter().map(|cut| cut.id.clone()).collect(),
            sinks: sinks.iter().map(|(topic, _)| topic.clone()).collect(),
            ..SnapshotNeeds::default()
        }
    }
}

/// The topics that are read again, and the parts of a snapshot that are made of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Rereads {
    pub(in super::super) topics: BTreeSet<String>,
    /// The cuts whose rows are loaded.
    pub(in super::super) loaded: Vec<CutId>,
    /// The sinks of which the snapshot's totals count. The others find all their rows again, and
    /// compare them with the record.
    pub(in super::super) sinks: BTreeSet<String>,
}

impl Rereads {
    /// Returns the topics that a run reads again if it continues from `snapshot`.
    pub(in super::super) fn of(plan: &Plan, needs: &SnapshotNeeds, snapshot: &Snapshot) -> Self {
        let mut topics = needs.moved.clone();
        let is_saved = |cut: &CutId| needs.cuts.contains(cut) && snapshot.cuts.contains(cut);
        let old_cuts = plan.cuts.iter().filter(|cut| !needs.new_cuts.contains(&cut.id));
        let cuts: Vec<_> = old_cuts
            .map(|cut| (&cut.id, is_saved(&cut.id), plan.topics_before(cut.origin)))
            .collect();
        // The totals of appended rows, which a sink can't tell apart by their records.
        let is_counted =
            |sink: &String| needs.sinks.contains(sink) && snapshot.sinks.contains_key(sink);
        let bound = |sink: &&String| needs.sinks.contains(sink) || needs.new_sinks.contains(sink);
        let tails = plan.tails.iter().filter(bound).map(|sink| {
            let node = plan.sink_node(sink);
            let before = node.map(|node| plan.topics_before(node)).unwrap_or_default();
            (sink, is_counted(sink), before)
        });
        let tails: Vec<_> = tails.collect();
        let letters = DEAD_LETTERS.to_string();
        if bound(&&letters) && !is_counted(&letters) {
            topics.extend(plan.sources.iter().cloned());
        }
        let parts = || {
            let cuts = cuts.iter().map(|(_, is_saved, before)| (*is_saved, before));
            cuts.chain(tails.iter().map(|(_, is_saved, before)| (*is_saved, before)))
        };
        loop {
            let lacks = |(is_saved, before): &(bool, &BTreeSet<String>)| {
                !is_saved || !before.is_disjoint(&topics)
            };
            let more: BTreeSet<String> =
                parts().filter(lacks).flat_map(|(_, before)| before.iter().cloned()).collect();
            if more.is_subset(&topics) {
                break;
            }
            topics.extend(more);
        }
        let is_kept = |before: &BTreeSet<String>| before.is_disjoint(&topics);
        let loaded = cuts.iter().filter(|(.., before)| is_kept(before));
        let loaded = loaded.map(|(cut, ..)| (*cut).clone()).collect();
        let made_again =
            |sink: &&String| tails.iter().any(|(tail, _, before)| tail == sink && !is_kept(before));
        let sinks = snapshot.sinks.keys().filter(|sink| !made_again(sink)).cloned().collect();
        Rereads { topics, loaded, sinks }
    }

    /// Returns true if no topic is kept.
    pub(in super::super) fn is_all(&self, plan: &Plan) -> bool {
        plan.sources.iter().all(|topic| self.topics.contains(topic))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::operators::Merge;
    use crate::plan::{Node, PlannedCut};

    fn cut(name: &str) -> CutId {
        let (types, space) = (String::new(), String::new());
        CutId { name: name.into(), types, space, merge: Merge::Sum }
    }

    /// A plan of three tables and a stream. The cut `bc` is made of two of them.
    fn plan() -> Plan {
        let steps: [(&str, &[usize]); 6] = [
            ("table a", &[]),
            ("table b", &[]),
            ("table c", &[]),
            ("stream d", &[]),
            ("merge", &[1, 2]),
            ("to out", &[3]),
        ];
        let node = |(verb, inputs): (&str, &[usize])| {
            let (verb, inputs) = (verb.to_string(), inputs.to_vec());
            Node { verb, name: None, inputs }
        };
        let cuts = [("a", 0), ("b", 1), ("c", 2), ("bc", 4)];
        let cuts = cuts.map(|(name, node)| PlannedCut { id: cut(name), node, origin: node });
        Plan {
            nodes: steps.map(node).to_vec(),
            sources: ["a", "b", "c", "d"].map(String::from).to_vec(),
            cuts: cuts.to_vec(),
            tails: vec!["out".into()],
            ..Plan::default()
        }
    }

    fn rereads(saved: &[&str], sinks: &[&str]) -> String {
        let (sources, topics) = (BTreeMap::new(), BTreeMap::new());
        let sinks = sinks.iter().map(|sink| (sink.to_string(), (1, 1))).collect();
        let cuts = saved.iter().map(|name| cut(name)).collect();
        let (layers, late) = (Vec::new(), BTreeMap::new());
        let snapshot = Snapshot { n: 1, cuts, layers, sources, sinks, topics, late };
        let needs = SnapshotNeeds {
            cuts: plan().cuts.into_iter().map(|cut| cut.id).collect(),
            sinks: vec!["out".into()],
            ..SnapshotNeeds::default()
        };
        let Rereads { topics, loaded, sinks } = Rereads::of(&plan(), &needs, &snapshot);
        let cuts: Vec<_> = loaded.into_iter().map(|cut| cut.name).collect();
        let [topics, sinks] = [topics, sinks].map(|set| Vec::from_iter(set).join(" "));
        format!("{topics} | {} | {sinks}", cuts.join(" "))
    }

    #[test]
    fn topics_that_share_a_lacking_row_are_read_again_together() {
        assert_eq!(rereads(&["a", "b", "c", "bc"], &["out"]), " | a b c bc | out");
        assert_eq!(rereads(&["b", "c", "bc"], &["out"]), "a | b c bc | out");
        assert_eq!(rereads(&["a", "c", "bc"], &["out"]), "b c | a | out");
        assert_eq!(rereads(&["a", "b", "c"], &["out"]), "b c | a | out");
        assert_eq!(rereads(&["a", "b", "c", "bc"], &[]), "d | a b c bc | ");
    }
}
