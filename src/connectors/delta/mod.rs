//! Delta Lake tables, written directly: Parquet files, deletion vectors and a log, one version a
//! commit.
//!
//! - *What is a partition here?* Nothing: a table is written only. Each worker writes its own
//!   files.
//! - *What is a position?* Nothing that is kept: a writer knows the file and row of every row it
//!   put, and finds them again at a start by reading the key columns of the living files. So the
//!   table is its own index.
//! - *What does commit mean?* One version of the log, which carries the number of the commit; if
//!   the number is in the log, the commit is not made again, however unclear the answer to an
//!   earlier attempt was.
//! - *What is guaranteed?* At each version the table is what the topic was at that commit, for
//!   every reader. Once a table has outgrown being written anew at each commit, it is so for every
//!   reader that knows deletion vectors. A table that something else has changed is refused, never
//!   repaired by guessing.

mod changes;
mod columns;
mod committer;
mod compaction;
mod file;
mod files;
mod fit;
mod index;
mod layout;
mod log;
mod maintenance;
mod protocol;
mod reader;
mod recovery;
mod retention;
mod rows;
mod schema;
mod sink;
mod slots;
mod snapshot;
mod vectors;
mod writer;

pub use reader::Table;
pub use sink::Delta;

#[cfg(test)]
mod tests;
