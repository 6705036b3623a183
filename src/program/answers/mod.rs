//! The command `answers`: rows of the Delta tables for people and programs, all at one commit.

mod print;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use clap::Args;

pub(super) use print::line;

use super::lake::Lake;
use super::shell::Output;
use super::values;
use crate::connectors::archive::layout::topic_path;
use crate::error::{Error, Result};
use crate::plan::DEAD_LETTERS;
use crate::row::{Column, Value};
use crate::sync::side_by_side;

/// The tables to print, and where they are.
#[derive(Args)]
pub(super) struct AnswersArgs {
    /// Table to print [default: all answers]
    pub(super) view: Option<String>,
    /// Folder of the Delta tables
    #[arg(long, value_name = "URL", default_value = "data/lake", value_parser = values::lake)]
    pub(super) lake: String,
    /// Folder of the manifests of the run that wrote them [default: <lake>/_watershed]
    #[arg(long, value_name = "URL")]
    pub(super) state: Option<String>,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Print the answers as of this commit [default: the last commit]
    #[arg(long, value_name = "N")]
    pub(super) as_of: Option<u64>,
}

/// The shape in which answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns below the title; without TABLE, only the first rows of each answer.
    Table,
    /// One object per line.
    Json,
    /// Comma-separated values with a header (RFC 4180, lines end with a line feed).
    Csv,
}

/// The rows of a table at a commit.
struct Answer {
    output: Output,
    /// The command that prints all its rows.
    command: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
}

impl Answer {
    fn read(lake: &Lake<'_>, output: Output, commit: u64) -> Result<Self> {
        let table = lake.open(output.topic, commit)?;
        let mut rows = Vec::new();
        table.for_each(&mut |row| {
            rows.push(row.to_vec());
            Ok(())
        })?;
        rows.sort_unstable_by(|a, b| (output.order)(a, b));
        let command = format!("{} answers {}", lake.shell.name, output.topic);
        Ok(Answer { command, columns: table.columns().to_vec(), rows, output })
    }
}

/// Prints the table `view`, or all listed tables: as of commit `as_of`, or as of the last one.
///
/// # Errors
/// When there is no such table or commit, when a table can't be read, and when `out` can't be
/// written.
pub(super) fn answers(
    view: Option<&str>,
    lake: &Lake<'_>,
    format: Format,
    as_of: Option<u64>,
    out: &mut dyn Write,
) -> Result<()> {
    let outputs = match view {
        Some(view) => vec![named(lake, view)?],
        None => {
            let tables = lake.shell.tables().filter_map(|topic| lake.shell.output(topic));
            tables.filter(|output| output.listed).cloned().collect()
        }
    };
    let last = lake.last_commit()?;
    let commit = as_of.unwrap_or(last);
    if commit > last {
        return Err(Error::usage(format!(
            "can't answer as of commit {commit}: the last one is {last}"
        )));
    }
    // Tables are opened again as of the commit, because a run may have continued meanwhile. A
    // commit that all tables show never changes.
    let reads = outputs.into_iter().map(|output| move || Answer::read(lake, output, commit));
    let answers: Vec<Answer> =
        side_by_side("a thread that reads a table", reads).into_iter().collect::<Result<_>>()?;
    print(&answers, view.is_none(), format, out)
        .map_err(|error| Error::connect("can't print the answers").because(error))
}

fn print(answers: &[Answer], all: bool, format: Format, out: &mut dyn Write) -> io::Result<()> {
    for answer in answers {
        match format {
            Format::Table => print::table(answer, all, out)?,
            Format::Json => print::json(answer, all, out)?,
            Format::Csv => print::csv(answer, all, out)?,
        }
        if all && format != Format::Json {
            writeln!(out)?;
        }
    }
    out.flush()
}

/// Returns the table that is called `view`.
fn named(lake: &Lake<'_>, view: &str) -> Result<Output> {
    let shell = lake.shell;
    if shell.archived().any(|topic| topic == view) {
        let (archive, topic) = lake.archived(view);
        let folder = format!("{archive}/{}", topic_path(&topic));
        return Err(Error::usage(format!("can't print {view}: it is no table, but an archive"))
            .hint(format!("Its rows are lines of JSON in {folder}.")));
    }
    let letters = (view == DEAD_LETTERS).then(|| Output::new(DEAD_LETTERS));
    shell.output(view).cloned().or(letters).ok_or_else(|| {
        let known: Vec<&str> = shell.tables().collect();
        Error::usage(format!("there is no view {view:?}"))
            .hint(format!("Give one of {}.", known.join(", ")))
    })
}
