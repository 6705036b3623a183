//! The threads of an agent that store the large results of its workers, and send their names: the
//! layers of snapshots, and the parts of commits.

use std::sync::Arc;

use super::message::Message;
use super::network::Outbox;
use super::protocol::Up;
use super::unwritten::{Taken, Unwritten};
use crate::connect::{Part, Sink};
use crate::faults;
use crate::ports::Report;
use crate::sync::{Receiver, Sender};
use crate::time::Epoch;

/// The sinks of a process, which its threads share.
pub(super) type Sinks = Arc<Vec<(String, Box<dyn Sink>)>>;

/// A request to the thread that writes layers.
pub(super) enum Write {
    /// Take rows of a worker.
    Take(Taken),
    /// Write all rows up to a barrier, once all workers have handed them over.
    UpTo(Epoch),
}

/// Writes the changed rows of the workers as layers, and sends the names of these to process 0,
/// until all workers have ended.
pub(super) fn write_layers(
    requests: &Receiver<Write>,
    mut rows: Unwritten,
    leader: &dyn Outbox<Up>,
    failed: &Sender<Message>,
) {
    let mut waiting = None;
    let send = |message: &Up| {
        if let Err(error) = leader.send(message) {
            // The run may be over already.
            let _ = failed.send(Message::Failed(error));
        }
    };
    for request in requests.iter() {
        let (mut layers, mut written) = (Vec::new(), Ok(()));
        match request {
            Write::Take(taken) => {
                let bytes = rows.add(taken);
                if bytes > 0 {
                    faults::point("process.changed");
                    send(&Up::Changed { bytes });
                }
                written = rows.write_excess(&mut layers);
            }
            Write::UpTo(barrier) => waiting = Some(barrier),
        }
        let complete = rows.complete();
        let mut barrier = waiting.take_if(|barrier| complete >= Some(*barrier));
        if let (Some(last), Ok(())) = (barrier, &written) {
            written = rows.write(last, &mut layers);
        }
        if written.is_err() {
            barrier = None;
        }
        // These are durable, even if the next one is not.
        if barrier.is_some() || !layers.is_empty() {
            faults::point("snapshot.layer");
            send(&Up::Layers { barrier, layers });
        }
        if let Err(error) = written {
            waiting = None;
            send(&Up::Unsaved(error));
        }
    }
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
