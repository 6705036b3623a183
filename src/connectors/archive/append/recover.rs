//! Recovery of an appender: publishes the records that an earlier process left in its journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

use super::super::layout::partition_in;
use super::journal::{self, Note, Run};
use super::topics::{self, Key};

/// Adds the records of the journal to the archive. Returns the end of each partition, and the
/// digest of the journal's last head.
///
/// # Errors
/// When the journal is damaged, when the archive lacks records before those of the journal, or has
/// other ones in their place. Then nothing was added.
pub(super) fn recover(root: &Path, journal: &Path) -> Result<(BTreeMap<Arc<str>, Vec<u64>>, u64)> {
    let (notes, last) = journal::replay(journal)?;
    let mut taken: BTreeMap<Arc<str>, BTreeMap<u32, Vec<Run>>> = BTreeMap::new();
    let mut deleted = BTreeMap::new();
    for note in notes {
        match note {
            Note::Run(run) => taken
                .entry(run.topic.clone())
                .or_default()
                .entry(run.partition)
                .or_default()
                .push(run),
            Note::Deleted { topic, aside } => {
                // Its earlier records are published; a later topic of this name begins anew.
                taken.remove(&topic);
                deleted.insert(topic, aside);
            }
        }
    }
    for (topic, aside) in deleted.into_iter().filter(|(topic, _)| !taken.contains_key(topic)) {
        topics::set_aside(root, &topic, &aside).map_err(|e| {
            Error::connect(format!("can't set topic {topic} in {} aside", root.display()))
                .because(e)
        })?;
    }
    let mut ends = topics::ends(root)?;
    let mut left: Vec<(Key, Vec<Run>)> = Vec::new();
    for (topic, partitions) in taken {
        for (partition, runs) in partitions {
            let end = ends.get(&topic).and_then(|ends| ends.get(partition as usize)).copied();
            let end = end.ok_or_else(|| topics::gone(&partition_in(root, &topic, partition)))?;
            let key = (topic.clone(), partition);
            compare(root, &key, end, &runs)?;
            let rest = rest(root, &key, end, runs)?;
            left.extend((!rest.is_empty()).then_some((key, rest)));
        }
    }
    for (key, runs) in left {
        if let Some(end) = ends.get_mut(&key.0).and_then(|ends| ends.get_mut(key.1 as usize)) {
            topics::add(root, &key, end, &runs)?;
        }
    }
    Ok((ends, last))
}

/// Checks that the archive durably holds the acknowledged records at the offsets that both have.
fn compare(root: &Path, key: &Key, end: u64, runs: &[Run]) -> Result<()> {
    let Some(from) = runs.first().map(|run| run.first).filter(|first| *first < end) else {
        return Ok(());
    };
    let held = topics::held(root, key, from, end)?;
    // A run has read the records before this offset and deleted their objects.
    let released = topics::released(root, key)?;
    let both = runs.iter().flat_map(|run| (run.first..end).zip(&run.values));
    for (offset, value) in both.filter(|(offset, _)| *offset >= released) {
        let Some(found) = held.get(&offset) else { return Err(lacks(root, key, offset)) };
        if found != value {
            let folder = partition_in(root, &key.0, key.1);
            return Err(Error::data(format!(
                "can't go on with {}: offset {offset} holds another record than the one that was \
                 acknowledged",
                folder.display()
            ))
            .hint(
                "Something else wrote there. Move its objects away: the journal holds the \
                 acknowledged records.",
            ));
        }
    }
    Ok(())
}

fn lacks(root: &Path, (topic, partition): &Key, offset: u64) -> Error {
    Error::data(format!(
        "topic {topic} in {} lacks partition {partition} from offset {offset} on",
        root.display()
    ))
    .hint("Bring its missing objects back: the journal goes on behind them.")
}

/// The records of `runs` that the archive lacks.
fn rest(root: &Path, key: &Key, end: u64, runs: Vec<Run>) -> Result<Vec<Run>> {
    let mut rest = Vec::new();
    let mut next = end;
    for run in runs {
        if run.first > next {
            return Err(lacks(root, key, next));
        }
        if run.end() > next {
            let seen = (next - run.first) as usize;
            rest.push(Run { first: next, values: run.values[seen..].to_vec(), ..run });
            next = rest.last().map_or(next, Run::end);
        }
    }
    Ok(rest)
}
