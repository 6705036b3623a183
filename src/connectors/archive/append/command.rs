//! Commands for the writer of an appender.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::connect::append::{Appended, NewRecord, Refusal};

/// A command for the writer.
pub(super) enum Command {
    Append(Request),
    /// Answered when all records before it are published and gone from the journal.
    Drain(oneshot::Sender<()>),
    /// Answered when the journal records that a topic is deleted and gets the name `aside`.
    Delete {
        topic: Arc<str>,
        aside: String,
        done: oneshot::Sender<Result<(), Refusal>>,
    },
}

/// The records of one request.
pub(super) struct Request {
    pub(super) topic: Arc<str>,
    pub(super) records: Vec<NewRecord>,
    /// Room that the records take until they are published.
    pub(super) room: OwnedSemaphorePermit,
    pub(super) done: oneshot::Sender<Result<Vec<Appended>, Refusal>>,
}
