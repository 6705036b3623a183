//! A source of one's own: a run can read any system with numbered, repeatable records.
//!
//! `cargo run --example own_source` reads the numbers from 1 to 1000 of a source that computes them
//! and sums the squares by their last digit. Offset `n` is always the same record, so that a run
//! can continue where an earlier one ended.
//!
//! ```text
//! squares that end in 0: 33835000
//! ...
//! sum of all: 333833500
//! ```

use watershed::connect::memory::MemoryTable;
use watershed::connect::{Partition, Poll};
use watershed::prelude::*;
use watershed::record::Batch;

/// The numbers from 1 to `last`, in one partition; number `n` has offset `n - 1`.
struct Numbers {
    last: u64,
}

struct Reader {
    next: u64,
    last: u64,
}

impl Source for Numbers {
    fn describe(&self) -> String {
        format!("the numbers from 1 to {}", self.last)
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok(vec![0])
    }

    fn open(
        &self,
        _partition: u32,
        from: Option<u64>,
        _follow: bool,
    ) -> Result<Box<dyn Partition>> {
        Ok(Box::new(Reader { next: from.unwrap_or(0), last: self.last }))
    }
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        let end = self.last.min(self.next + 256);
        if self.next >= end {
            return Ok(Poll::End);
        }
        let mut batch = Batch { partition: 0, first: self.next, next: end, ..Batch::default() };
        for offset in self.next..end {
            let number = (offset + 1).to_be_bytes();
            batch.push(offset, None, Some(&number), Some(&number));
        }
        self.next = end;
        Ok(Poll::Batch(batch))
    }
}

fn main() -> Result<()> {
    let topology = Topology::new("squares", |builder: &StreamsBuilder<'_>| {
        let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
        let squares = numbers.map_values(|n: i64| n * n);
        let sums = squares.group_by(|_, square| (square % 10, *square)).sum(|square| *square);
        sums.to("sums", Produced::columns(["digit", "sum"]));
    });
    let sums = MemoryTable::default();
    Streams::new(topology)
        .source("numbers", Numbers { last: 1000 })
        .sink("sums", sums.clone())
        .run(Config::default())?;
    let mut all = 0;
    for row in sums.rows() {
        if let [Value::Long(digit), Value::Long(sum)] = row.as_slice() {
            println!("squares that end in {digit}: {sum}");
            all += sum;
        }
    }
    println!("sum of all: {all}");
    Ok(())
}
