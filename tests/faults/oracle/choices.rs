//! Tables whose rows depend on where epochs end. The oracle knows the rows that each of their keys
//! may have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::support::lake::lines;

/// The rows that a key may have, of which it has one at most.
#[derive(Clone)]
pub(super) struct Choice {
    /// All possible ones, as text.
    rows: BTreeSet<String>,
    /// The key must have one.
    is_needed: bool,
    /// The row that it has once no change waits.
    last: Option<String>,
}

impl Choice {
    /// Returns the choice of a key that has one of these rows, or none.
    pub(super) fn up_to_one(rows: impl IntoIterator<Item = Json>) -> Self {
        let rows = rows.into_iter().map(text).collect();
        Choice { rows, is_needed: false, last: None }
    }

    /// Returns the choice of a key that has one of these rows.
    pub(super) fn one(rows: impl IntoIterator<Item = Json>) -> Self {
        Choice { is_needed: true, ..Self::up_to_one(rows) }
    }

    /// Adds the row that the key has once no change waits.
    pub(super) fn last(self, row: Json) -> Self {
        Choice { last: Some(text(row)), ..self }
    }
}

/// Returns a row as text.
fn text(row: Json) -> String {
    lines(&[row]).concat()
}

/// The rows that a table may have. No row is that of two keys.
#[derive(Clone, Default)]
pub(crate) struct Choices {
    pub(super) keys: Vec<Choice>,
    /// The number of keys for which a change may wait; none for any number.
    pub(super) waiting: Option<usize>,
}

impl Choices {
    /// Returns the number of keys.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Compares sorted rows. Returns the missing ones, and those that can't be.
    pub(crate) fn compare(&self, found: &[String]) -> (Vec<String>, Vec<String>) {
        let (mut lost, mut surplus) = (Vec::new(), Vec::new());
        let mut key_of: BTreeMap<&String, usize> = BTreeMap::new();
        for (key, choice) in self.keys.iter().enumerate() {
            key_of.extend(choice.rows.iter().map(|row| (row, key)));
        }
        let mut row_of: Vec<Option<&String>> = vec![None; self.keys.len()];
        for row in found {
            match key_of.get(row) {
                Some(key) if row_of[*key].is_none() => row_of[*key] = Some(row),
                _ => surplus.push(row.clone()),
            }
        }
        let mut waiting = Vec::new();
        for (choice, row) in self.keys.iter().zip(row_of) {
            if choice.is_needed && row.is_none() {
                lost.push(format!("one of {:?}", choice.rows));
            }
            waiting.extend(choice.last.as_ref().filter(|last| row != Some(last)));
        }
        if let Some(most) = self.waiting.filter(|most| waiting.len() > *most) {
            lost.push(format!("{} changes wait, and not up to {most}: {waiting:?}", waiting.len()));
        }
        (lost, surplus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_of_its_possible_rows() {
        let row = |name: &str| serde_json::json!({ "row": name });
        let rows = |names: &[&str]| names.iter().map(|name| row(name)).collect::<Vec<_>>();
        let keys = vec![
            Choice::one(rows(&["a1", "a2"])).last(row("a2")),
            Choice::up_to_one(rows(&["b"])).last(row("b")),
        ];
        let mut choices = Choices { keys, waiting: None };
        let compare = |choices: &Choices, found: &[&str]| {
            let (lost, surplus) = choices.compare(&lines(&rows(found)));
            (lost.len(), surplus.len())
        };
        assert_eq!(compare(&choices, &["a1"]), (0, 0));
        assert_eq!(compare(&choices, &["a2", "b"]), (0, 0));
        assert_eq!(compare(&choices, &["b"]), (1, 0), "too few");
        assert_eq!(compare(&choices, &["a1", "a2", "b", "b", "c"]), (0, 3), "too many");
        choices.waiting = Some(1);
        assert_eq!(compare(&choices, &["a2"]), (0, 0));
        assert_eq!(compare(&choices, &["a1"]), (1, 0), "two changes wait");
    }
}
