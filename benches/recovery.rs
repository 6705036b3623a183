//! How much do snapshots cost, and how soon does a restart continue from one?
//!
//! ```text
//! cargo bench --bench recovery                                  all questions, 200,000 events
//! cargo bench --bench recovery -- --quick                       a smoke test of a few seconds
//! cargo bench --bench recovery -- --events 1000000 --only restart
//! cargo bench --bench recovery -- --only history --keys 500000
//! ```
//!
//! | question | goal | compared with, in the same run |
//! |---|---|---|
//! | `overhead` | CPU: + 8 % of a replay, + 5 % while following | the same run without a state |
//! | `latency` | 0 ms added to a correction | the same run without a state |
//! | `restart` | time and CPU: 1/3 of the replay | the replay; unpacking the same bytes |
//! | `size` | 1 GB of state in 20 s | reading and unpacking the same bytes |
//! | `history` | 1.2 times as long after 100 times the records | one record a key |
//! | `first-answer` | 2 s from the start of the process to a commit | |
//!
//! - `overhead`: the `pinterest` program without a state makes no cuts, no snapshots and no
//!   manifests. Its tables are the same. Once over an archive, and once with corrections that it
//!   follows.
//! - `latency`: one correction at a time after the replay, a commit each. So few changes make no
//!   snapshot due; `overhead` includes snapshots.
//! - `restart`: the program over an archive, with 2 workers, and then once more without a new
//!   record. It also prints the bytes of the snapshot an event.
//! - `size`: a table of texts that don't compress and its groups, with 2 workers. It uses about 3
//!   GB of disk, and prints its peaks of memory and disk.
//! - `history`: a table and its groups, after 1, 10 and 100 records for each key.
//! - `first-answer`: the default archive of the program, and one correction that arrives while no
//!   process runs.
//!
//! The cases of a question run in turn, round by round; medians count. Every case runs in a child
//! process of this program, so that its processor time and memory are measured alone. Archives are
//! generated once and kept (`--dir`, shared with `--bench pinterest`). They and the layers are read
//! from the page cache. Linux only: it reads `/proc`.

#[allow(dead_code, reason = "each benchmark uses some parts")]
mod support;

#[path = "recovery"]
mod recovery {
    pub(crate) mod args;
    pub(crate) mod case;
    pub(crate) mod first_answer;
    pub(crate) mod history;
    pub(crate) mod latency;
    pub(crate) mod layers;
    pub(crate) mod overhead;
    pub(crate) mod restart;
    pub(crate) mod rounds;
    pub(crate) mod size;
}

use std::process::ExitCode;

use clap::Parser;

// The modules of the dataflow expect their neighbours at the root, as in their own program.
use support::dataflow::{bounds, clean, generate, model, posts, questions, topology};

use recovery::args::{Args, Question};
use recovery::{case, first_answer, history, latency, overhead, restart, size};

/// The result of everything here.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let (shapes, dir) = (args.shapes(), args.common.dir());
    args.common.main("recovery", shapes.events, case::run, |question, report| match question {
        Question::Overhead => overhead::answer(dir, &shapes, report),
        Question::Latency => latency::answer(dir, &shapes, report),
        Question::Restart => restart::answer(dir, &shapes, report),
        Question::Size => size::answer(dir, &shapes, report),
        Question::History => history::answer(dir, &shapes, report),
        Question::FirstAnswer => first_answer::answer(dir, &shapes, report),
    })
}
