//! The steps of a topology, as a generation records them: the difference to those of another one
//! can be named.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most lines of a difference that are printed, for each side.
const PRINTED_LINES_MAX: usize = 8;

/// A topology without its closures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopologyRecord {
    /// Digest of the steps and sinks.
    pub(crate) fingerprint: String,
    /// The steps and sinks, for people.
    pub(crate) lines: Vec<String>,
    /// The topics that are read, by rank.
    pub(crate) sources: Vec<String>,
    /// By topic, a digest of its sink's columns and of the steps that make its rows.
    pub(crate) sinks: BTreeMap<String, String>,
}

impl TopologyRecord {
    /// Returns the lines that an earlier topology lacks, and those that only it has.
    pub(crate) fn changes_since(&self, earlier: &TopologyRecord) -> LineChanges {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        self.lines.iter().for_each(|line| *counts.entry(line).or_default() += 1);
        earlier.lines.iter().for_each(|line| *counts.entry(line).or_default() -= 1);
        let mut changes = LineChanges::default();
        for (line, count) in counts {
            let side = if count > 0 { &mut changes.added } else { &mut changes.removed };
            side.extend((0..count.abs()).map(|_| line.to_string()));
        }
        changes
    }
}

/// The difference of two topologies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineChanges {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
}

impl LineChanges {
    /// Returns the difference as a part of a sentence.
    pub(crate) fn text(&self) -> String {
        let side = |verb: &str, lines: &[String]| {
            let shown: Vec<String> =
                lines.iter().take(PRINTED_LINES_MAX).map(|line| format!("\"{line}\"")).collect();
            let rest = lines.len() - shown.len();
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            (!lines.is_empty()).then(|| format!("it {verb} {}{rest}", shown.join(", ")))
        };
        let sides = [side("has", &self.added), side("lacks", &self.removed)];
        let sides: Vec<String> = sides.into_iter().flatten().collect();
        if sides.is_empty() {
            "it has the same steps in another order or with other inputs".to_string()
        } else {
            sides.join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(lines: &[&str]) -> TopologyRecord {
        let lines = lines.iter().map(|line| line.to_string()).collect();
        TopologyRecord { lines, ..TopologyRecord::default() }
    }

    #[test]
    fn a_difference_names_the_lines_of_both_sides() {
        let old = record(&["table a", "filter <- table a", "filter <- table a"]);
        let new = record(&["table a", "filter <- table a", "stream b"]);
        let text = new.changes_since(&old).text();
        assert_eq!(text, "it has \"stream b\"; it lacks \"filter <- table a\"");
        assert!(old.changes_since(&old).text().contains("another order"));
    }
}
