//! The messages of other processes, as process 0 handles them.

use super::coordinator::Coordinator;
use super::message::Message;
use super::protocol::Up;
use super::saver::Task;
use crate::error::{Error, Result};

impl Coordinator {
    /// Handles a message of another process.
    pub(super) fn receive(&mut self, process: usize, message: Up) -> Result<()> {
        match message {
            Up::Decoded(cost) => {
                self.readers.decoded(cost as usize);
                self.epochs.agents().decoded(process, cost as usize);
            }
            Up::Report { sink, report } if sink < self.commits.sinks() => {
                self.handle_report(sink, report)?;
            }
            Up::Report { .. } => {
                return Err(Error::internal(format!("process {process} has other sinks")));
            }
            Up::Changed { bytes } => self.snapshots.submit(Task::Changed { process, bytes }),
            Up::Layers { barrier, layers } => {
                self.snapshots.submit(Task::Layers { process, barrier, layers });
            }
            Up::Unsaved(error) => {
                let error = match &self.fence {
                    Some(fence) => fence.explain(error),
                    None => error,
                };
                self.handle(Message::Unsaved(error))?;
            }
            Up::Completed { epoch, counts } => {
                self.reporter.add(counts);
                self.complete(process, epoch)?;
            }
            Up::Counted(counts) => self.reporter.add(counts),
            Up::Stop => self.handle(Message::Stop)?,
            Up::Done(counts) => {
                self.reporter.add(counts);
                self.epochs.agents().done(process);
            }
        }
        Ok(())
    }

    /// Waits until the workers of all other processes have ended, and their numbers are counted.
    pub(super) fn await_agents(&mut self) -> Result<()> {
        while !self.epochs.agents().are_done() {
            match self.inbox.recv() {
                Ok(Message::Up { process, message }) => match message {
                    Up::Completed { counts, .. } | Up::Counted(counts) => self.reporter.add(counts),
                    done @ Up::Done(_) => self.receive(process, done)?,
                    _ => {}
                },
                Ok(Message::Failed(error)) => return Err(error),
                Ok(_) => {}
                Err(_) => {
                    return Err(Error::internal("all senders to the coordinator are dropped"));
                }
            }
        }
        Ok(())
    }
}
