//! Origins: the topics of whose records the rows of a step are made.

use std::collections::BTreeSet;

use super::Plan;

impl Plan {
    /// Returns the topics of whose records the rows of a step are made.
    pub(crate) fn topics_before(&self, node: usize) -> BTreeSet<String> {
        let steps = self.with_steps_before(vec![node]);
        let read = steps.iter().filter_map(|step| {
            let verb = &self.nodes.get(*step)?.verb;
            verb.strip_prefix("table ").or(verb.strip_prefix("stream "))
        });
        read.filter(|topic| self.sources.iter().any(|t| t == topic)).map(String::from).collect()
    }

    /// Returns the ranks of these topics.
    pub(crate) fn ranks_before(&self, node: usize) -> BTreeSet<u16> {
        let before = self.topics_before(node);
        let ranked = (0..=u16::MAX).zip(&self.sources);
        ranked.filter(|(_, topic)| before.contains(*topic)).map(|(rank, _)| rank).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Node;

    #[test]
    fn a_step_has_the_topics_of_all_steps_before_it() {
        let steps: [(&str, &[usize]); 5] = [
            ("table a", &[]),
            ("stream b", &[]),
            ("stream ab", &[]),
            ("join", &[1, 0]),
            ("to a", &[2]),
        ];
        let node = |(verb, inputs): (&str, &[usize])| {
            let (verb, inputs) = (verb.to_string(), inputs.to_vec());
            Node { verb, name: None, inputs }
        };
        let sources = ["a", "b", "ab"].map(String::from).to_vec();
        let plan = Plan { nodes: steps.map(node).to_vec(), sources, ..Plan::default() };
        let topics = |node| plan.topics_before(node).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!([topics(3), topics(4), topics(0)], ["a b", "ab", "a"]);
    }
}
