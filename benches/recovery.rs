//! How much do snapshots cost, and how soon does a restart continue from one?
//!
//! ```text
//! cargo bench --bench recovery                                  all questions, 200,000 events
//! cargo bench --bench recovery -- --quick                       a smoke test of a few seconds
//! cargo bench --bench recovery -- --events 1000000 --only restart
//! cargo bench --bench recovery -- --only history --keys 500000
//! ```
//!
//! | question | compared with, in the same run |
//! |---|---|
//! | `restart` | the replay that made the state; reading and unpacking the same bytes |
//! | `overhead` | the same run without a state |
//! | `history` | one record a key |
//!
//! - `restart`: the `pinterest` program over an archive, with 2 workers, and then once more without
//!   a new record. It also prints the bytes of the snapshot an event.
//! - `overhead`: the same program without a state makes no cuts, no snapshots and no manifests. Its
//!   tables are the same. Once over an archive, and once with corrections that it follows.
//! - `history`: a table and its groups, after 1, 10 and 100 records for each key.
//!
//! Every case runs in a child process of this program, so that its processor time and memory are
//! measured alone. Archives are generated once and kept (`--dir`, shared with `--bench pinterest`).
//! They and the layers are read from the page cache. Linux only: it reads `/proc`.

#[path = "../dataflows/pinterest"]
#[allow(dead_code, unused_imports, reason = "some parts and their tests are not used here")]
mod dataflow {
    pub(crate) mod bounds;
    pub(crate) mod clean;
    pub(crate) mod generate;
    pub(crate) mod model;
    pub(crate) mod posts;
    pub(crate) mod questions;
    pub(crate) mod topology;
}

#[path = "pinterest"]
#[allow(dead_code, reason = "some parts are used by the other benchmark only")]
mod bench {
    pub(crate) mod archive;
    pub(crate) mod corrections;
    pub(crate) mod live;
    pub(crate) mod machine;
    pub(crate) mod report;
}

#[path = "recovery"]
mod recovery {
    pub(crate) mod args;
    pub(crate) mod case;
    pub(crate) mod history;
    pub(crate) mod layers;
    pub(crate) mod overhead;
    pub(crate) mod restart;
}

use std::process::ExitCode;

use clap::Parser;

// The modules of the dataflow expect their neighbours at the root, as in their own program.
use dataflow::{bounds, clean, generate, model, posts, questions, topology};

use bench::machine;
use bench::report::{self, Report};
use recovery::args::{Args, Question};
use recovery::{case, history, overhead, restart};

/// The result of everything here.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.case {
        Some(case) => case::run(case),
        None => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recovery bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers the questions, one after the other.
fn run(args: &Args) -> Result {
    let (shapes, mut report) = (args.shapes(), Report::default());
    std::fs::create_dir_all(&args.dir)?;
    let events = report::count(shapes.events);
    report.line(&format!("recovery, {events} events. {}", machine::describe()));
    report.line(&format!("command: {}", args.command()));
    if args.is_quick() {
        report.line("quick: a smoke test; its figures mean nothing");
    }
    for question in args.questions() {
        match question {
            Question::Restart => restart::answer(&args.dir, &shapes, &mut report)?,
            Question::Overhead => overhead::answer(&args.dir, &shapes, &mut report)?,
            Question::History => history::answer(&args.dir, &shapes, &mut report)?,
        }
    }
    let file = args.dir.join("recovery.txt");
    std::fs::write(&file, report.text())?;
    eprintln!("\nsaved in {}", file.display());
    Ok(())
}
