//! Chains and lines: the steps of a plan without their numbers. The number of a step changes when
//! other steps are added or removed before it, but its chain stays the same.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{Node, Plan};
use crate::connect::{Mode, Schema};
use crate::operators::CutId;

/// Longer chains are abbreviated by a digest.
const CHAIN_MAX_CHARS: usize = 160;

/// A cut at a step.
#[derive(Clone, Debug)]
pub(crate) struct PlannedCut {
    pub(crate) id: CutId,
    pub(crate) node: usize,
    /// The step that makes the saved rows: the step itself, or one of those before it.
    pub(crate) origin: usize,
}

impl Node {
    /// Returns the verb, and the name that the program has given.
    fn text(&self) -> String {
        match &self.name {
            Some(name) => format!("{} \"{name}\"", self.verb),
            None => self.verb.clone(),
        }
    }
}

impl Plan {
    /// Returns the chain of a step: the verbs and names of the steps from its topics to it.
    pub(crate) fn chain(&self, node: usize) -> String {
        let mut chains: Vec<String> = Vec::with_capacity(node + 1);
        for step in self.nodes.iter().take(node + 1) {
            let before: Vec<&str> =
                step.inputs.iter().filter_map(|input| chains.get(*input)).map(|c| &**c).collect();
            let chain = match &before[..] {
                [] => step.text(),
                [one] => format!("{one} > {}", step.text()),
                several => format!("({}) > {}", several.join(", "), step.text()),
            };
            let digest = xxh3_64(chain.as_bytes());
            let is_long = chain.chars().count() > CHAIN_MAX_CHARS;
            let short = || format!("… {digest:016x} > {}", step.text());
            chains.push(if is_long { short() } else { chain });
        }
        chains.pop().unwrap_or_default()
    }

    /// Returns the chains of all steps. Equal ones are numbered.
    pub(crate) fn chains(&self) -> Vec<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let numbered = (0..self.nodes.len()).map(|node| {
            let chain = self.chain(node);
            let count = counts.entry(chain.clone()).or_default();
            *count += 1;
            if *count > 1 { format!("{chain} {count}") } else { chain }
        });
        numbered.collect()
    }

    /// Returns the step that writes a topic.
    pub(crate) fn sink_node(&self, topic: &str) -> Option<usize> {
        let verb = format!("to {topic}");
        self.nodes.iter().position(|node| node.verb == verb)
    }

    /// Returns by topic a digest of the columns that are written and of the chain that makes them.
    pub(crate) fn sink_digests(&self) -> BTreeMap<String, String> {
        let digest = |schema: &Schema| {
            let chain = self.sink_node(&schema.topic).map(|node| self.chain(node));
            let digest = xxh3_128(format!("{chain:?} {schema:?}").as_bytes());
            (schema.topic.clone(), format!("{digest:032x}"))
        };
        self.sinks.iter().map(digest).collect()
    }

    /// Returns these steps and all steps before them.
    pub(crate) fn with_steps_before(&self, mut next: Vec<usize>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        while let Some(node) = next.pop() {
            if found.insert(node)
                && let Some(step) = self.nodes.get(node)
            {
                next.extend(&step.inputs);
            }
        }
        found
    }

    /// Returns the steps and sinks as lines for people. The numbers of steps are left out, so that
    /// the lines of two topologies can be compared.
    pub(crate) fn lines(&self) -> Vec<String> {
        let step = |node: &Node| {
            let before = node.inputs.iter().filter_map(|input| self.nodes.get(*input));
            let before: Vec<&str> = before.map(|node| &*node.verb).collect();
            if before.is_empty() {
                node.verb.clone()
            } else {
                format!("{} <- {}", node.verb, before.join(", "))
            }
        };
        let sink = |schema: &Schema| {
            let column = |(number, column): (usize, &crate::row::Column)| {
                let key = if number < schema.key { "key " } else { "" };
                let null = if column.nullable { " or null" } else { "" };
                format!("{key}{} {:?}{null}", column.name, column.ty)
            };
            let columns: Vec<String> = schema.columns.iter().enumerate().map(column).collect();
            let mode = if schema.mode == Mode::Snapshot { "snapshot" } else { "append" };
            format!("{} ({mode}): {}", schema.topic, columns.join(", "))
        };
        self.nodes.iter().map(step).chain(self.sinks.iter().map(sink)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: &[(&str, &[usize])]) -> Plan {
        let node = |(verb, inputs): &(&str, &[usize])| {
            let (verb, inputs) = (verb.to_string(), inputs.to_vec());
            Node { verb, name: None, inputs }
        };
        Plan { nodes: steps.iter().map(node).collect(), ..Plan::default() }
    }

    #[test]
    fn a_chain_stays_the_same_when_other_steps_are_added() {
        let before =
            plan(&[("table a", &[]), ("filter", &[0]), ("stream b", &[]), ("join", &[2, 1])]);
        let after = plan(&[
            ("table c", &[]),
            ("table a", &[]),
            ("filter", &[1]),
            ("filter", &[2]),
            ("stream b", &[]),
            ("join", &[4, 2]),
        ]);
        assert_eq!(before.chain(3), "(stream b, table a > filter) > join");
        assert_eq!(before.chain(3), after.chain(5));
        assert_ne!(after.chain(2), after.chain(3));
        assert_eq!(after.with_steps_before(vec![5]), [1, 2, 4, 5].into());
    }

    #[test]
    fn a_long_chain_is_abbreviated_and_stays_different_from_others() {
        let long = |first: &str| {
            let mut plan = plan(&[(first, &[])]);
            for n in 0..99 {
                // Each step joins the one before with itself.
                plan.nodes.push(Node { verb: "join".into(), name: None, inputs: vec![n, n] });
            }
            plan.chain(99)
        };
        assert!(long("table a").chars().count() <= CHAIN_MAX_CHARS);
        assert_ne!(long("table a"), long("table b"));
    }
}
