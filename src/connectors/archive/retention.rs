//! Retention: objects are deleted whose records no run reads again, once they are old enough.
//!
//! Objects are deleted in the order of their offsets, one after the other. So after a crash the
//! archive has lost only its beginning, and no gap.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::time::Timestamp;

use super::layout;
use super::{Archive, ArchiveTopic};

impl ArchiveTopic {
    /// Lets a run with a state delete objects of this topic: those whose records no restart reads
    /// again, and that were written at least `age` ago. By default nothing is deleted.
    ///
    /// The newest object of a partition stays, because its name and lines give the next offset. So
    /// does the one with the last record that a restart needs not, by which it recognises the log.
    /// Objects are deleted after a snapshot of the state. Their age is that of the store: the
    /// modification time of a file, or the time at which a bucket received an object.
    ///
    /// Nothing else may need the records: every other reader of the topic must be ahead of the run,
    /// and a run that begins anew finds only the rest. A gateway that writes the archive continues.
    /// A topic that is the output of a run is never changed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use watershed::connectors::archive::Archive;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let url = folder.path().to_str().unwrap();
    /// let week = Duration::from_secs(7 * 24 * 3600);
    /// let source = Archive::open(url)?.topic("pin").with_retention(week);
    /// # let _ = source;
    /// # Ok::<(), watershed::Error>(())
    /// ```
    #[must_use]
    pub fn with_retention(mut self, age: Duration) -> Self {
        self.retention = Some(age);
        self
    }

    /// Deletes objects before the `end` of a partition, if they were written at least `age` before
    /// `now`. Returns their number.
    pub(super) fn delete_before(
        &self,
        partition: u32,
        end: u64,
        age: Duration,
        now: Timestamp,
    ) -> Result<u64> {
        let Archive { store, .. } = &self.archive;
        let path = self.path()?;
        if store.get(&layout::writer_path(&path))?.is_some() {
            let message = format!("can't delete objects of {}: a run writes it", self.name());
            return Err(Error::config(message).hint("Read it without retention."));
        }
        // A listing of its own: those of the readers stay as they are.
        let alone = ArchiveTopic { tree: Default::default(), ..self.clone() };
        let objects = alone.objects(partition)?;
        let listed = objects.list_now()?;
        let age_micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let old = Timestamp(now.0.saturating_sub(age_micros));
        let below = store.below(&path);
        let (mut released, mut first) = (Vec::new(), 0);
        for pair in listed.windows(2).take_while(|pair| pair[1].first < end) {
            let path = objects.at(&pair[0]);
            // Without an age, the clocks of the run and the store need not agree.
            let is_old = |stored| Timestamp::from_millis(stored) <= old;
            if !age.is_zero() && !below.found_stored_at(&path)?.is_some_and(is_old) {
                break;
            }
            released.push(path);
            first = pair[1].first;
        }
        if released.is_empty() {
            return Ok(0);
        }
        if below.folder().is_some() {
            // The journal of a gateway may still have the records, and must not miss the objects.
            below.put(&layout::released_path(partition), first.to_string().as_bytes())?;
        }
        for path in &released {
            below.delete_found(path)?;
        }
        Ok(released.len() as u64)
    }
}
