//! The side input: a bounded topic that is the same for all settings.

use std::ops::Range;

use watershed::connect::{Identity, Partition, Poll, Source};
use watershed::record::Batch;
use watershed::{Error, Result};

use crate::model::{Identified, SIDE_INPUT_ROWS, Side};

/// Most records of a batch.
const BATCH_RECORDS: u64 = 1000;

/// The side input as a source: row `n` has offset `n`, in one partition.
pub(super) struct SideInput;

impl Source for SideInput {
    fn describe(&self) -> String {
        format!("generated side input of {SIDE_INPUT_ROWS} rows")
    }

    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![Identity::new(self.describe())])
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok(vec![0])
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let (at, end) = (from.unwrap_or(0), SIDE_INPUT_ROWS.unsigned_abs());
        if at > end || partition > 0 {
            return Err(Error::data(format!(
                "can't generate the side input's partition {partition} from offset {at}: there is \
                 one partition, which ends at {end}"
            )));
        }
        Ok(Box::new(Reader { at, end, follow }))
    }

    fn span(&self, _partition: u32) -> Result<Option<Range<u64>>> {
        Ok(Some(0..SIDE_INPUT_ROWS.unsigned_abs()))
    }
}

struct Reader {
    at: u64,
    end: u64,
    follow: bool,
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        if self.at >= self.end {
            return Ok(if self.follow { Poll::Idle } else { Poll::End });
        }
        let next = self.end.min(self.at + BATCH_RECORDS);
        let mut batch = Batch { partition: 0, first: self.at, next, ..Batch::default() };
        for offset in self.at..next {
            let key = offset.to_string();
            let row = Identified { id: offset as i64, event: Side { value: key.clone() } };
            let json = serde_json::to_vec(&row).map_err(|e| {
                Error::internal(format!("can't encode row {offset} of the side input")).because(e)
            })?;
            batch.push(offset, None, Some(key.as_bytes()), Some(&json));
        }
        self.at = next;
        Ok(Poll::Batch(batch))
    }

    fn remaining(&self) -> u64 {
        /// Average bytes of a record.
        const RECORD_BYTES: u64 = 30;
        (self.end - self.at) * RECORD_BYTES
    }
}
