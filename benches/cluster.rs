//! The gain and the cost of several processes, and the time until the loss of one is noticed.
//!
//! ```text
//! cargo bench --bench cluster                                   all questions, 200,000 events
//! cargo bench --bench cluster -- --quick                        a smoke test of about 20 seconds
//! cargo bench --bench cluster -- --events 1000000 --only speed --repeat 5
//! ```
//!
//! | question | goal | compared with, in the same run |
//! |---|---|---|
//! | `speed` | 0.65 times the time of one process, on two quiet cores | one process |
//! | `reader` | the ceiling of one reading process | |
//! | `bytes` | bytes between two processes an event | the bytes of its records |
//! | `loss` | killed: noticed in 1 s; stopped: in 10 s | |
//! | `epochs` | epochs a second through a link | one process |
//!
//! - `speed`: the `pinterest` program over an archive, with state and tables on disk. One process
//!   runs with 1 and with 2 workers.
//! - `reader`: the same in two processes, of which process 0 decodes no batch. Reading, dealing and
//!   committing cost the processor time of all its threads but the worker.
//! - `bytes`: the same through a proxy that counts.
//! - `loss`: one of two processes that follow an archive gets SIGKILL or SIGSTOP. The time until
//!   the other one ends counts.
//! - `epochs`: a small program that follows a log in memory. Each record is appended when the one
//!   before it is answered, so each has an epoch of its own.
//!
//! The cases of a question run in turn, round by round; medians count. Every process of a case is a
//! child process of this program, and processes of one run are connected by Unix sockets. Linux
//! only: it reads `/proc`.

#[allow(dead_code, reason = "each benchmark uses some parts")]
mod support;

#[path = "cluster"]
mod cluster {
    pub(crate) mod args;
    pub(crate) mod bytes;
    pub(crate) mod case;
    pub(crate) mod epochs;
    pub(crate) mod loss;
    pub(crate) mod reader;
    pub(crate) mod speed;
}

use std::process::ExitCode;

use clap::Parser;

// The modules of the dataflow expect their neighbours at the root, as in their own program.
use support::dataflow::{bounds, clean, generate, model, posts, questions, topology};

use cluster::args::{Args, Question};
use cluster::{bytes, case, epochs, loss, reader, speed};

/// The result of everything here.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let (shapes, dir) = (args.shapes(), args.common.dir());
    args.common.main("cluster", shapes.events, case::run, |question, report| match question {
        Question::Speed => speed::answer(dir, &shapes, report),
        Question::Reader => reader::answer(dir, &shapes, report),
        Question::Bytes => bytes::answer(dir, &shapes, report),
        Question::Loss => loss::answer(dir, &shapes, report),
        Question::Epochs => epochs::answer(dir, &shapes, report),
    })
}
