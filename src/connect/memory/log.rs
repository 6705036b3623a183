//! A log in memory: the reference of a source.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::connect::{Partition, Poll, Source};
use crate::error::{Error, Result};
use crate::record::Batch;
use crate::sync::{Condvar, lock};
use crate::time::Timestamp;

/// A record of a log in memory.
pub(crate) struct StoredRecord {
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// A log in memory. Clones are handles of the same log.
///
/// ```
/// use watershed::connect::Source;
/// use watershed::connect::memory::MemoryLog;
///
/// let log = MemoryLog::default();
/// assert_eq!(log.append(0, Some(b"key"), Some(b"value")), 0);
/// assert_eq!(log.append(0, Some(b"key"), None), 1);
/// assert_eq!((log.partitions()?, log.span(0)?), (vec![0], Some(0..2)));
/// # Ok::<(), watershed::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    partitions: Mutex<BTreeMap<u32, Vec<StoredRecord>>>,
    /// Notified at each record that is appended.
    appended: Condvar,
}

impl MemoryLog {
    /// Appends a record without a timestamp to a partition; returns its offset.
    pub fn append(&self, partition: u32, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
        self.append_at(partition, None, key, value)
    }

    /// Appends a record to a partition, with a timestamp or without; returns its offset.
    ///
    /// ```
    /// use watershed::Timestamp;
    /// use watershed::connect::{Poll, Source, memory::MemoryLog};
    ///
    /// let log = MemoryLog::default();
    /// log.append_at(0, Timestamp(7), Some(b"key"), Some(b"value"));
    /// if let Poll::Batch(batch) = log.open(0, None, false)?.poll()? {
    ///     assert_eq!(batch.records[0].timestamp, Some(Timestamp(7)));
    /// }
    /// # Ok::<(), watershed::Error>(())
    /// ```
    pub fn append_at(
        &self,
        partition: u32,
        timestamp: impl Into<Option<Timestamp>>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> u64 {
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        let mut partitions = lock(&self.0.partitions);
        self.0.appended.notify_all();
        let records = partitions.entry(partition).or_default();
        records.push(StoredRecord { timestamp: timestamp.into(), key, value });
        records.len() as u64 - 1
    }

    /// Appends records to a partition in one step, and makes the partition if there is none.
    pub(crate) fn append_all(&self, partition: u32, more: impl Iterator<Item = StoredRecord>) {
        lock(&self.0.partitions).entry(partition).or_default().extend(more);
        self.wake();
    }

    /// Wakes the readers that wait for records.
    pub(crate) fn wake(&self) {
        self.0.appended.notify_all();
    }
}

impl Source for MemoryLog {
    fn describe(&self) -> String {
        "memory".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok(lock(&self.0.partitions).keys().copied().collect())
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let end =
            lock(&self.0.partitions).get(&partition).map_or(0, |records| records.len() as u64);
        let at = from.unwrap_or(0);
        if at > end {
            return Err(Error::data(format!(
                "can't read memory partition {partition} from {at}: it ends at {end}"
            )));
        }
        Ok(Box::new(Reader { log: self.clone(), partition, at, end: (!follow).then_some(end) }))
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        Ok(lock(&self.0.partitions).get(&partition).map(|records| 0..records.len() as u64))
    }
}

struct Reader {
    log: MemoryLog,
    partition: u32,
    at: u64,
    end: Option<u64>,
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        let partitions = lock(&self.log.0.partitions);
        let records = partitions.get(&self.partition).map_or(&[][..], Vec::as_slice);
        let to = self.end.unwrap_or(records.len() as u64).min(self.at + 1000);
        if self.at >= to {
            return Ok(if self.end.is_some() { Poll::End } else { Poll::Idle });
        }
        let mut batch =
            Batch { partition: self.partition, first: self.at, next: self.at, ..Batch::default() };
        for (offset, record) in (self.at..to).zip(&records[self.at as usize..to as usize]) {
            let StoredRecord { timestamp, key, value } = record;
            batch.push(offset, *timestamp, key.as_deref(), value.as_deref());
            batch.next = offset + 1;
            if batch.bytes.len() >= 1 << 20 {
                break;
            }
        }
        self.at = batch.next;
        Ok(Poll::Batch(batch))
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        let (at, partition) = (self.at, self.partition);
        let has_no_more = |p: &BTreeMap<u32, Vec<StoredRecord>>| {
            p.get(&partition).is_none_or(|records| records.len() as u64 <= at)
        };
        let Shared { partitions, appended } = &*self.log.0;
        drop(appended.wait_timeout_while(partitions, lock(partitions), timeout, has_no_more));
        true
    }
}
