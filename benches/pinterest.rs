//! How fast, how fresh and how large is the `pinterest` program, beside what nothing can avoid?
//!
//! ```text
//! cargo bench --bench pinterest                                 all questions, 1,000,000 events
//! cargo bench --bench pinterest -- --quick                      the same in seconds, to see that it works
//! cargo bench --bench pinterest -- --events 250000 --only replay,latency
//! ```
//!
//! | question | beside it, in the same run | shapes |
//! |---|---|---|
//! | `replay` | reading and cleaning alone; that and Parquet; a batch program with hash maps | 3 records an event, 1,000 an object, 1 and 2 workers |
//! | `latency` | three times creating, writing and syncing a file | one correction at a time after the replay, a commit each |
//! | `sustained` | | as many corrections as events, all there at once |
//! | `memory` | a run of nothing | resident bytes an event, idle after the replay |
//! | `commit` | a hundredth of the rows | 1,000 random rows of a table change, no dataflow |
//! | `small` | the same records in objects of 1,000; opening and reading all files | one record an object; 1,000 partitions a topic |
//!
//! Every case is a process of its own, this program again, so that its processor time and its
//! memory are its own. Archives are generated once and kept (`--dir`); they are read from the page
//! cache. Lakes and states are on the disk of `--dir`, which is synced as always. Linux only: it
//! reads `/proc`.

#[path = "../dataflows/pinterest"]
#[allow(
    dead_code,
    unused_imports,
    reason = "it has parts that are not measured, and tests that are not run here"
)]
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
mod bench {
    pub(crate) mod archive;
    pub(crate) mod args;
    pub(crate) mod case;
    pub(crate) mod commit;
    pub(crate) mod corrections;
    pub(crate) mod floors;
    pub(crate) mod latency;
    pub(crate) mod live;
    pub(crate) mod machine;
    pub(crate) mod memory;
    pub(crate) mod naive;
    pub(crate) mod replay;
    pub(crate) mod report;
    pub(crate) mod small;
    pub(crate) mod sustained;
}

use std::process::ExitCode;

use clap::Parser;

// The dataflow's modules look for each other here, as in their own program.
use dataflow::{bounds, clean, generate, model, posts, questions, topology};

use bench::args::{Args, Question};
use bench::report::{self, Report};
use bench::{case, commit, latency, machine, memory, replay, small, sustained};

/// The result of everything here.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.case {
        Some(case) => case::answer(case),
        None => ask(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinterest bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers the questions, one after the other.
fn ask(args: &Args) -> Result {
    let (shapes, mut report) = (args.shapes(), Report::default());
    std::fs::create_dir_all(&args.dir)?;
    report.line(&format!(
        "pinterest, {} events. {}",
        report::count(shapes.events),
        machine::describe()
    ));
    report.line(&format!("command: {}", args.command()));
    if args.is_quick() {
        report.line("quick: this shows that it works, and nothing else");
    }
    for question in args.questions() {
        match question {
            Question::Replay => replay::ask(&args.dir, &shapes, &mut report)?,
            Question::Latency => latency::ask(&args.dir, &shapes, &mut report)?,
            Question::Sustained => sustained::ask(&args.dir, &shapes, &mut report)?,
            Question::Memory => memory::ask(&args.dir, &shapes, &mut report)?,
            Question::Commit => commit::ask(&args.dir, &shapes, &mut report)?,
            Question::Small => small::ask(&args.dir, &shapes, &mut report)?,
        }
    }
    let file = args.dir.join("results.txt");
    std::fs::write(&file, report.text())?;
    eprintln!("\nkept in {}", file.display());
    Ok(())
}
