//! Delta Lake tables, written directly: Parquet files, deletion vectors and a log, one version a
//! commit.
//!
//! - **Partitions**: none, because a table is only written. Each worker writes its own files.
//! - **Positions**: none are stored. A writer keeps file and row number of every row that it wrote.
//!   At a start it finds them again by reading the key columns of the live files, so the table is
//!   its own index.
//! - **A commit** is one version of the log, which carries the number of the commit. If the number
//!   is in the log, the commit is not made again, even if an earlier attempt had an unknown
//!   outcome.
//! - **Guaranteed**: at each version the table holds exactly the rows of the topic at that commit,
//!   for every reader of Delta. Once a table is too large to be rewritten at each commit, its
//!   readers must support deletion vectors. A table that another program has changed is refused,
//!   never repaired by guessing.

mod changes;
mod columns;
mod committer;
mod compaction;
mod file;
mod files;
mod index;
mod layout;
mod log;
mod maintenance;
mod protocol;
mod reader;
mod rebase;
mod recovery;
mod reset;
mod retention;
mod rows;
mod schema;
mod sink;
mod slots;
mod snapshot;
mod state;
mod vectors;
mod writer;

pub use reader::Table;
pub use sink::Delta;

#[cfg(test)]
mod tests;
