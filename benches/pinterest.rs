//! How fast, how fresh and how large is the `pinterest` program, compared with unavoidable costs?
//!
//! ```text
//! cargo bench --bench pinterest                                 all questions, 1,000,000 events
//! cargo bench --bench pinterest -- --quick                      a smoke test of a few seconds
//! cargo bench --bench pinterest -- --events 250000 --only replay,latency
//! ```
//!
//! | question | compared with, in the same run |
//! |---|---|
//! | `replay` | reading and cleaning alone; that and Parquet; a batch program with hash maps |
//! | `latency` | three times creating, writing and syncing a file |
//! | `large` | a fifth of the events |
//! | `sustained` | |
//! | `memory` | a run without records |
//! | `commit` | a hundredth of the rows |
//! | `small` | the same records in objects of 1,000; opening and reading all files |
//!
//! - `replay`: 3 records an event, 1,000 an object, 1 and 2 workers; then the stages of one run.
//! - `latency`: one correction at a time after the replay, a commit each, in memory and in files.
//!   Then the cost of following 1,000 partitions a topic without new records.
//! - `large`: CPU a record of the same replay over five times as many events; needs 6 GB of disk.
//! - `sustained`: as many corrections as events, all available at once.
//! - `memory`: resident bytes an event, idle after the replay.
//! - `commit`: 1,000 random rows of a table change, without a dataflow.
//! - `small`: one record an object; 1,000 partitions a topic.
//!
//! Every case runs in a child process of this program, so that its processor time and memory are
//! measured alone. Archives are generated once and kept (`--dir`); they are read from the page
//! cache. Lakes and states are on the disk of `--dir`, with the usual syncs. Linux only: it reads
//! `/proc`.

#[allow(dead_code, reason = "each benchmark uses some parts")]
mod support;

#[path = "pinterest"]
mod bench {
    pub(crate) mod args;
    pub(crate) mod case;
    pub(crate) mod commit;
    pub(crate) mod discard;
    pub(crate) mod floors;
    pub(crate) mod idle;
    pub(crate) mod large;
    pub(crate) mod latency;
    pub(crate) mod memory;
    pub(crate) mod naive;
    pub(crate) mod replay;
    pub(crate) mod small;
    pub(crate) mod stages;
    pub(crate) mod sustained;
}

use std::process::ExitCode;

use clap::Parser;

// The modules of the dataflow expect their neighbours at the root, as in their own program.
use support::dataflow::{bounds, clean, generate, model, posts, questions, topology};

use bench::args::{Args, Question};
use bench::{case, commit, large, latency, memory, replay, small, sustained};

/// The result of everything here.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let (shapes, dir) = (args.shapes(), args.common.dir());
    args.common.main("pinterest", shapes.events, case::run, |question, report| match question {
        Question::Replay => replay::answer(dir, &shapes, report),
        Question::Latency => latency::answer(dir, &shapes, report),
        Question::Large => large::answer(dir, &shapes, report),
        Question::Sustained => sustained::answer(dir, &shapes, report),
        Question::Memory => memory::answer(dir, &shapes, report),
        Question::Commit => commit::answer(dir, &shapes, report),
        Question::Small => small::answer(dir, &shapes, report),
    })
}
