//! The threads of an agent that send the large results of its workers: rows for snapshots, and the
//! parts of commits.

use std::mem::take;
use std::sync::Arc;

use super::message::Message;
use super::network::Outbox;
use super::protocol::Up;
use super::saver::Task;
use crate::connect::{Part, Sink};
use crate::faults;
use crate::operators::{ChangedBucket, ChangedRows};
use crate::ports::Report;
use crate::sync::{Receiver, Sender};

/// Bytes of changed rows in a message, unless one bucket has more.
const MESSAGE_BYTES: usize = 16 << 20;

/// The sinks of a process, which its threads share.
pub(super) type Sinks = Arc<Vec<(String, Box<dyn Sink>)>>;

/// Sends the changed rows of the workers to process 0, until all workers have ended.
pub(super) fn send_changed(
    tasks: &Receiver<Task>,
    leader: &dyn Outbox<Up>,
    failed: &Sender<Message>,
) {
    for task in tasks.iter() {
        let Task::Take { worker, through, is_barrier, rows } = task else { continue };
        let mut parts = split(rows, MESSAGE_BYTES).into_iter().peekable();
        while let Some(rows) = parts.next() {
            // The last part completes the rows up to the barrier.
            let is_barrier = is_barrier && parts.peek().is_none();
            faults::point("process.changed");
            if let Err(error) = leader.send(&Up::Changed { worker, through, is_barrier, rows }) {
                // The run may be over already.
                let _ = failed.send(Message::Failed(error));
            }
        }
    }
}

/// Splits changed rows between buckets, because a worker may change very many rows before a
/// barrier. Returns at least one part.
fn split(rows: ChangedRows, most: usize) -> Vec<ChangedRows> {
    if rows.size() <= most {
        return vec![rows];
    }
    let spaces = rows.0.len();
    let empty = || -> Vec<Vec<ChangedBucket>> { (0..spaces).map(|_| Vec::new()).collect() };
    let (mut parts, mut part, mut bytes) = (Vec::new(), empty(), 0);
    for (space, buckets) in rows.0.into_iter().enumerate() {
        for bucket in buckets {
            let size = bucket.size();
            if bytes > 0 && bytes + size > most {
                parts.push(ChangedRows(std::mem::replace(&mut part, empty())));
                bytes = 0;
            }
            bytes += size;
            part[space].push(bucket);
        }
    }
    parts.push(ChangedRows(take(&mut part)));
    parts
}

/// Stores the files of parts, which this process has in memory, and sends the reports.
pub(super) fn store_parts(
    reports: &Receiver<(usize, Report)>,
    sinks: &Sinks,
    leader: &dyn Outbox<Up>,
    failed: &Sender<Message>,
) {
    for (sink, report) in reports.iter() {
        let report = match report {
            Report::Staged { part: Some(Part { note, files }), rows, digest } => {
                faults::point("process.part");
                let stored = sinks.get(sink).map_or(Ok(()), |(_, it)| it.store_files(&files));
                faults::point("process.stored");
                match stored {
                    Ok(()) => {
                        let part = Some(Part { note, files: Vec::new() });
                        Report::Staged { part, rows, digest }
                    }
                    Err(error) => Report::Failed(error),
                }
            }
            report => report,
        };
        if let Err(error) = leader.send(&Up::Report { sink, report }) {
            // The run may be over already.
            let _ = failed.send(Message::Failed(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::{ColumnPart, KeyList};

    #[test]
    fn changed_rows_are_split_between_buckets() {
        let bucket = |bucket: u8, bytes: usize| {
            let mut keys = KeyList::default();
            keys.push(&vec![bucket; bytes]);
            ChangedBucket { bucket, keys, columns: vec![ColumnPart::default()] }
        };
        let rows = || {
            ChangedRows(vec![
                vec![bucket(0, 40), bucket(1, 40)],
                Vec::new(),
                vec![bucket(2, 300), bucket(3, 10)],
            ])
        };
        let numbers = |part: &ChangedRows| {
            let of = |space: &Vec<ChangedBucket>| space.iter().map(|it| it.bucket).collect();
            part.0.iter().map(of).collect::<Vec<Vec<u8>>>()
        };
        let parts: Vec<_> = split(rows(), 100).iter().map(numbers).collect();
        assert_eq!(
            parts,
            [[vec![0, 1], vec![], vec![]], [vec![], vec![], vec![2]], [vec![], vec![], vec![3]],]
        );
        assert_eq!(split(rows(), 1000).len(), 1);
        assert_eq!(split(ChangedRows::default(), 0).len(), 1);
    }
}
