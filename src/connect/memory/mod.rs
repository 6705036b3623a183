//! The reference implementation of the contract, in memory: a log to read and a table to write.
//!
//! - **Partition**: a list of records. **Position**: an index into it.
//! - **Commit**: the staged changes are applied to the table under one lock, once for each number.
//! - **Guaranteed**: everything that the contract requires, within one process.

mod log;
mod table;

pub use log::MemoryLog;
pub(crate) use log::StoredRecord;
pub use table::{Change, MemoryTable};
