//! The records that a batch program reads.

use std::thread;
use std::time::Duration;

use crate::connect::{Poll, Source};
use crate::error::{Error, Result};
use crate::record::Record;

/// Pause after a source had no records and was not at its end.
const IDLE_PAUSE: Duration = Duration::from_millis(1);

/// The sources of all topics, and the program's own options.
pub struct Inputs<'a, O = ()> {
    sources: &'a [(&'static str, Vec<Box<dyn Source>>)],
    options: &'a O,
}

impl<'a, O> Inputs<'a, O> {
    /// Returns the sources of each topic, in the order in which they are bound.
    pub fn new(sources: &'a [(&'static str, Vec<Box<dyn Source>>)], options: &'a O) -> Self {
        Inputs { sources, options }
    }

    /// Returns the program's own options.
    pub fn options(&self) -> &'a O {
        self.options
    }

    /// Passes every record that `topic` has now to `visit`, partition by partition. Of two records
    /// the one with the greater [`order`](Record::order) is the later.
    ///
    /// # Errors
    /// When the program does not read the topic, or a source can't be read.
    pub fn each(&self, topic: &str, mut visit: impl FnMut(Record<'_>)) -> Result<()> {
        let of = self.sources.iter().find(|(name, _)| *name == topic);
        let (_, sources) = of.ok_or_else(|| {
            Error::internal(format!("the batch program reads {topic}, which is no topic"))
        })?;
        for (rank, source) in (0..).zip(sources) {
            each_record(&**source, rank, &mut |record| {
                visit(record);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Passes every record that `source` has now to `visit`, partition by partition.
///
/// # Errors
/// When the source can't be read, and the first error of `visit`.
pub(super) fn each_record(
    source: &dyn Source,
    rank: u16,
    visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
) -> Result<()> {
    for partition in source.partitions()? {
        let mut reader = source.open(partition, None, false)?;
        loop {
            match reader.poll()? {
                Poll::Batch(batch) => batch.iter(rank).try_for_each(&mut *visit)?,
                Poll::Idle => thread::park_timeout(IDLE_PAUSE),
                Poll::End => break,
            }
        }
    }
    Ok(())
}
