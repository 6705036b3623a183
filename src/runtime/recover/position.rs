//! The record before the position from which a partition is read on.

use std::time::Duration;

use crate::connect::{Partition, Poll, Source};
use crate::durable::LastRecord;
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::record::Batch;
use crate::secret::Secret;
use crate::sync::{elapsed, now, pause};

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
    let timed_out = || {
        let message = format!("can't read offset {} of {} again", last.offset, name());
        Error::connect(message).hint("Run it again once the log responds.")
    };
    let Some(batch) = first_batch(&mut *reader, timed_out)? else { return Ok(()) };
    let first = batch.iter(0).next().filter(|first| first.order.offset == last.offset);
    if first.is_none_or(|first| first.digest(secret) == last.digest) {
        return Ok(());
    }
    let message = format!("{} has another record at offset {} than before", name(), last.offset);
    Err(Error::data(message)
        .hint("The log was recreated, or its records were changed: restore it, or begin anew.")
        .advise(Advice::BeginAnew))
}

/// Returns the first records of a partition that is not followed; none if it has none.
///
/// # Errors
/// When they can't be read. The error of `timed_out` if they don't arrive.
pub(in super::super) fn first_batch(
    reader: &mut dyn Partition,
    timed_out: impl Fn() -> Error,
) -> Result<Option<Batch>> {
    let started = now();
    loop {
        match reader.poll()? {
            Poll::Batch(batch) => return Ok(Some(batch)),
            Poll::End => return Ok(None),
            Poll::Idle if elapsed(started) > ANSWER_TIMEOUT => return Err(timed_out()),
            Poll::Idle if reader.wait(POLL_WAIT) => {}
            Poll::Idle => pause(POLL_WAIT),
        }
    }
}
