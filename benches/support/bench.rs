//! The common part of benchmarks: options of their command lines, and a loop over questions.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::machine;
use super::report::{self, Report};
use crate::Result;

/// Options of every benchmark. `Q` has its questions.
#[derive(Args)]
pub(crate) struct Common<Q: ValueEnum + Clone + Send + Sync + 'static> {
    /// Run only these questions.
    #[arg(long, value_enum, value_name = "QUESTION", value_delimiter = ',')]
    only: Vec<Q>,
    /// Runs of each case that is repeated; the median counts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Run everything at a size that only proves that it works.
    #[arg(long)]
    quick: bool,
    /// The folder for archives and lakes.
    #[arg(long, value_name = "PATH")]
    #[arg(default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/pinterest"))]
    dir: PathBuf,
    /// Given by `cargo bench` but not by `cargo test`, which runs the quick sizes.
    #[arg(long, hide = true)]
    bench: bool,
    /// One case, for a child process.
    #[arg(long, hide = true)]
    case: Option<String>,
}

impl<Q: ValueEnum + Clone + Send + Sync + 'static> Common<Q> {
    /// Returns true if the sizes are too small for a meaningful figure.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick || !self.bench
    }

    /// Returns the number of runs of a case, at least 1.
    pub(crate) fn repeat(&self) -> usize {
        if self.is_quick() { 1 } else { self.repeat.max(1) }
    }

    fn questions(&self) -> Vec<Q> {
        if self.only.is_empty() { Q::value_variants().to_vec() } else { self.only.clone() }
    }

    /// Runs the benchmark `name`: `case` in a child process, or else `answer` for each question.
    /// The answers are also written to a file of this name in the folder.
    pub(crate) fn main(
        &self,
        name: &str,
        events: u64,
        case: impl FnOnce(&str) -> Result,
        answer: impl FnMut(Q, &mut Report) -> Result,
    ) -> ExitCode {
        let done = match &self.case {
            Some(of) => case(of),
            None => self.answer(name, events, answer),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{name} bench: {error}");
                ExitCode::FAILURE
            }
        }
    }

    /// Answers the questions, one after the other.
    fn answer(
        &self,
        name: &str,
        events: u64,
        mut answer: impl FnMut(Q, &mut Report) -> Result,
    ) -> Result {
        let mut report = Report::default();
        std::fs::create_dir_all(&self.dir)?;
        let events = report::count(events);
        report.line(&format!("{name}, {events} events. {}", machine::describe()));
        report.line(&format!("command: {}", command(name)));
        if self.is_quick() {
            report.line("quick: a smoke test; its figures mean nothing");
        }
        for question in self.questions() {
            answer(question, &mut report)?;
        }
        let file = self.dir.join(format!("{name}.txt"));
        std::fs::write(&file, report.text())?;
        eprintln!("\nsaved in {}", file.display());
        Ok(())
    }

    /// The folder for archives and lakes.
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }
}

/// Returns the command line of this run.
fn command(name: &str) -> String {
    let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let command = format!("cargo bench --bench {name}");
    if given.is_empty() { command } else { format!("{command} -- {}", given.join(" ")) }
}
