//! Import of a differential collection: it becomes the changes of a table.

use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate;

use super::datum::{Datum, Diffs};
use super::epochs::{Step, by_epoch, in_epochs};
use super::owners::Owners;
use super::seeds::Map;
use crate::error::Error;
use crate::metrics::Meter;
use crate::time::Epoch;

/// The most characters of a key in an error.
const KEY_MAX_CHARS: usize = 200;

/// A reason why a table can't have the rows of a key.
#[derive(Debug, PartialEq, Eq)]
enum Violation {
    /// The key has this many rows.
    Rows(isize),
    /// The collection retracts a row that it does not hold.
    Negative,
}

/// Makes the diffs of a table from a collection that has at most one row for each key and epoch.
///
/// Diffs are exchanged by key, and consolidated when their epoch is closed. It keeps each key and
/// half the digest of its row, never the row. A key that breaks the contract ends the run
/// before its epoch is completed, so that no commit contains it. After that nothing is emitted.
pub(crate) fn import<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    owners: &Owners,
    meter: Meter,
) -> Diffs<'s, (K, V)> {
    let (seeds, fail) = (owners.seeds(), owners.fail());
    let secret = seeds.secret();
    let mut current: Map<K, u64> = seeds.map();
    let mut net: Vec<((K, V), isize)> = Vec::new();
    let mut digests: Vec<(u64, isize)> = Vec::new();
    let mut failed = false;
    let table = name.to_string();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Vec<((K, V), Epoch, isize)>>,
                      out: &mut Vec<((K, V), Epoch, isize)>| {
        if failed {
            return false;
        }
        if let Step::Data(diffs) = step {
            net.extend(diffs.drain(..).map(|(row, _, diff)| (row, diff)));
            return true;
        }
        // This also sorts by key, so that the error names the least wrong key of this worker.
        consolidate(&mut net);
        let keys = net.chunk_by_mut(|((one, _), _), ((next, _), _)| one == next);
        let violated = keys.into_iter().find_map(|changes| {
            digests.clear();
            let digest =
                |((_, value), diff): &((K, V), isize)| (secret.digest(value).half(), *diff);
            digests.extend(changes.iter().map(digest));
            // Operators emit the retraction of a key before its addition.
            changes.sort_unstable_by_key(|(_, diff)| *diff);
            let ((key, _), _) = changes.first()?;
            match next_row(current.get(key).copied(), &digests) {
                Ok(Some(digest)) => match current.get_mut(key) {
                    Some(row) => *row = digest,
                    None => _ = current.insert(key.clone(), digest),
                },
                Ok(None) => _ = current.remove(key),
                Err(violation) => return Some(error(&table, key, violation)),
            }
            None
        });
        if let Some(error) = violated {
            failed = true;
            net.clear();
            fail(error);
            return false;
        }
        out.extend(net.drain(..).map(|(row, diff)| (row, epoch, diff)));
        false
    };
    let owner = move |((key, _), _, _): &((K, V), Epoch, isize)| seeds.route(key);
    in_epochs(by_epoch(rows), owner, owners, name, meter, Box::new(logic), std::convert::identity)
        .as_collection()
}

/// Returns the digest of a key's row after the consolidated changes of an epoch, each a digest and
/// a difference.
fn next_row(current: Option<u64>, changes: &[(u64, isize)]) -> Result<Option<u64>, Violation> {
    let held = |digest: u64| isize::from(current == Some(digest));
    if changes.iter().any(|(digest, diff)| diff.saturating_add(held(*digest)) < 0) {
        return Err(Violation::Negative);
    }
    let before = isize::from(current.is_some());
    let rows = changes.iter().fold(before, |rows, (_, diff)| rows.saturating_add(*diff));
    if rows > 1 {
        return Err(Violation::Rows(rows));
    }
    let added = changes.iter().find(|(_, diff)| *diff > 0).map(|(digest, _)| *digest);
    Ok(if rows == 1 { added.or(current) } else { None })
}

fn error<K: Datum>(table: &str, key: &K, violation: Violation) -> Error {
    let mut key = format!("{key:?}");
    if let Some((end, _)) = key.char_indices().nth(KEY_MAX_CHARS) {
        key.truncate(end);
        key.push('…');
    }
    let (reason, hint) = match violation {
        Violation::Rows(rows) => (
            format!("has {rows} rows"),
            "Reduce the collection to one row for each key, or make the differing part a component \
             of the key.",
        ),
        Violation::Negative => (
            "loses a row that it does not have".to_string(),
            "Let the collection retract only rows that it holds: check each negate() before a \
             concat().",
        ),
    };
    Error::data(format!("can't make table {table} of a collection: key {key} {reason}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_at_most_one_row_after_its_changes() {
        assert_eq!(next_row(None, &[(7, 1)]), Ok(Some(7)));
        assert_eq!(next_row(Some(7), &[(7, -1), (8, 1)]), Ok(Some(8)));
        assert_eq!(next_row(Some(7), &[(7, -1)]), Ok(None));
        assert_eq!(next_row(None, &[(7, 2)]), Err(Violation::Rows(2)));
        assert_eq!(next_row(None, &[(7, 1), (8, 1)]), Err(Violation::Rows(2)));
        assert_eq!(next_row(Some(7), &[(8, 1)]), Err(Violation::Rows(2)));
        assert_eq!(next_row(Some(7), &[(7, 1)]), Err(Violation::Rows(2)));
        assert_eq!(next_row(None, &[(7, -1)]), Err(Violation::Negative));
        assert_eq!(next_row(Some(7), &[(7, -2), (8, 2)]), Err(Violation::Negative));
        assert_eq!(next_row(Some(7), &[(8, -1), (9, 1)]), Err(Violation::Negative));
        assert_eq!(next_row(None, &[(7, isize::MAX), (8, 1)]), Err(Violation::Rows(isize::MAX)));
    }
}
