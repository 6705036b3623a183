//! The record before the position from which a partition is read on.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

use crate::connect::{Poll, Source};
use crate::durable::LastRecord;
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::secret::Secret;

/// Longest time until the record arrives.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait between two polls.
const POLL_WAIT: Duration = Duration::from_millis(20);

/// Refuses a partition that has another record at the offset of the `last` one that was read. So a
/// log that was recreated is refused, however long it has become.
///
/// A log may have deleted the record, or compacted it. Then nothing is compared.
///
/// # Errors
/// When the record is another one, or the log can't be read.
pub(in super::super) fn check_position(
    source: &dyn Source,
    partition: u32,
    last: LastRecord,
    secret: Secret,
) -> Result<()> {
    let mut reader = match source.open(partition, Some(last.offset), false) {
        Err(error) if error.kind() == ErrorKind::Data => return Ok(()),
        opened => opened?,
    };
    let name = || format!("partition {partition} of {}", source.describe());
    let started = Instant::now();
    let batch = loop {
        match reader.poll()? {
            Poll::Batch(batch) => break batch,
            Poll::End => return Ok(()),
            Poll::Idle if started.elapsed() > ANSWER_TIMEOUT => {
                let message = format!("can't read offset {} of {} again", last.offset, name());
                return Err(Error::connect(message).hint("Run it again once the log responds."));
            }
            Poll::Idle if reader.wait(POLL_WAIT) => {}
            Poll::Idle => park_timeout(POLL_WAIT),
        }
    };
    let first = batch.iter(0).next().filter(|first| first.order.offset == last.offset);
    if first.is_none_or(|first| first.digest(secret) == last.digest) {
        return Ok(());
    }
    let message = format!("{} has another record at offset {} than before", name(), last.offset);
    Err(Error::data(message)
        .hint("The log was recreated, or its records were changed: restore it, or begin anew.")
        .advise(Advice::BeginAnew))
}
