//! The answers as people and programs read them: rows of the Delta tables, all at one commit.

mod print;

#[cfg(test)]
pub(crate) mod tests;

use std::cmp::{Ordering, Reverse};
use std::io::{self, Write};

use watershed::row::{Column, Value};

use watershed::connectors::delta::Table;
use watershed::runtime::changed;
use watershed::store::Store;
use watershed::{DEAD_LETTERS, Error, Result};

use crate::questions::VIEWS;
use crate::run::KINDS;

pub(crate) use print::line;

/// The questions, each in the words of the view that answers it.
const QUESTIONS: [&str; 10] = [
    "Which category is posted most in each country?",
    "Which category is posted most in each year?",
    "How often is each category posted in each year?",
    "Who has the most followers of all who post in a country?",
    "In which country does the poster with the most followers of all post?",
    "Which category is posted most in each age group?",
    "How many followers has the middle poster of each age group?",
    "How many different users have joined in each year?",
    "How many followers has the middle poster of those who joined in a year?",
    "How many followers has the middle poster of each age group of those who joined in a year?",
];

/// The shape in which answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns below the question; of ten views the first rows of each.
    Table,
    /// One object a line.
    Json,
    /// Comma-separated values with a header (RFC 4180, lines end with a line feed).
    Csv,
}

/// The folder that holds the Delta tables of a user.
#[derive(Clone, Debug)]
pub(crate) struct Lake {
    pub(crate) url: String,
    pub(crate) user_id: String,
    /// Where the manifests are.
    pub(crate) state: String,
}

impl Lake {
    /// The lake at `url`; the manifests are in it if no other `state` is given.
    pub(crate) fn new(url: String, user_id: String, state: Option<String>) -> Self {
        let state = state.unwrap_or_else(|| format!("{}/_watershed", url.trim_end_matches('/')));
        Lake { url, user_id, state }
    }

    /// All topics that have a table here: the cleaned tables, the views, the dead letters.
    pub(crate) fn topics() -> impl Iterator<Item = &'static str> {
        KINDS
            .into_iter()
            .map(|(_, table)| table)
            .chain(VIEWS.map(|(view, _)| view))
            .chain([DEAD_LETTERS])
    }

    /// Where the table of `topic` is.
    pub(crate) fn table(&self, topic: &str) -> String {
        let owner = if KINDS.iter().any(|(_, table)| *table == topic) {
            format!("{}_", self.user_id)
        } else {
            String::new()
        };
        format!("{}/{owner}{topic}", self.url.trim_end_matches('/'))
    }

    /// Opens the table of `topic` as it was at `commit`, or as it is now.
    ///
    /// # Errors
    /// When it isn't there, or no longer as it was then.
    pub(crate) fn open(&self, topic: &str, commit: Option<u64>) -> Result<Table> {
        let url = self.table(topic);
        Table::as_of(&url, commit.unwrap_or(u64::MAX))?.ok_or_else(|| {
            Error::config(format!("there is no table {url}"))
                .hint("Run `pinterest run` first, or give its --lake.")
        })
    }

    /// The last commit that every table shows; 0 before the first.
    pub(crate) fn last_commit(&self) -> Result<u64> {
        let shown = |topic| Ok((topic, self.open(topic, None)?.manifest().unwrap_or(0)));
        let shown = Self::topics().map(shown).collect::<Result<Vec<_>>>()?;
        let last = shown.iter().map(|(_, commit)| *commit).max().unwrap_or(0);
        let mut behind = shown
            .into_iter()
            .filter(|(_, commit)| *commit < last)
            .map(|(topic, _)| topic)
            .peekable();
        if behind.peek().is_none() {
            return Ok(last);
        }
        // A table behind the others is one that the commit didn't change, unless the run is just
        // showing it, or died at that: the state knows. The commit before was shown everywhere ere
        // this one was begun.
        match changed(&Store::open(&self.state)?, last)? {
            Some(changed) => Ok(if behind.any(|topic| changed.iter().any(|c| c == topic)) {
                last - 1
            } else {
                last
            }),
            None => {
                let state = &self.state;
                tracing::warn!(
                    "{state} knows of no commit {last}: whether all tables show it can't be said without their --state"
                );
                Ok(last)
            }
        }
    }
}

/// A view or table at a commit.
struct Answer {
    topic: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
}

impl Answer {
    fn read(lake: &Lake, topic: &'static str, commit: u64) -> Result<Self> {
        let table = lake.open(topic, Some(commit))?;
        let mut rows = Vec::new();
        table.for_each(&mut |row| {
            rows.push(row.to_vec());
            Ok(())
        })?;
        let columns = table.columns().to_vec();
        let counts = columns.len() == 3 && columns[2].name == "category_count";
        rows.sort_unstable_by(|a, b| if counts { by_count(a, b) } else { a.cmp(b) });
        Ok(Answer { topic, columns, rows })
    }
}

/// Group, then the greater count, then category.
fn by_count(a: &[Value], b: &[Value]) -> Ordering {
    (&a[0], Reverse(&a[2]), &a[1]).cmp(&(&b[0], Reverse(&b[2]), &b[1]))
}

/// Prints `view`, which may name any table, or all ten views: as of commit `as_of`, or else the
/// last.
///
/// # Errors
/// When there is no such view or commit, when a table can't be read, and when `out` can't be
/// written.
pub(crate) fn answers(
    view: Option<&str>,
    lake: &Lake,
    format: Format,
    as_of: Option<u64>,
    out: &mut dyn Write,
) -> Result<()> {
    let topics = match view {
        Some(view) => {
            vec![Lake::topics().find(|topic| *topic == view).ok_or_else(|| unknown(view))?]
        }
        None => VIEWS.map(|(view, _)| view).to_vec(),
    };
    let last = lake.last_commit()?;
    let commit = as_of.unwrap_or(last);
    if commit > last {
        return Err(Error::usage(format!(
            "can't answer as of commit {commit}: the last one is {last}"
        )));
    }
    // Opened anew, because a run may have gone on since: as of a commit that every table shows,
    // nothing changes any more.
    let answers = topics
        .into_iter()
        .map(|topic| Answer::read(lake, topic, commit))
        .collect::<Result<Vec<_>>>()?;
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

fn unknown(view: &str) -> Error {
    let known: Vec<&str> = Lake::topics().collect();
    Error::usage(format!("there is no view {view:?}"))
        .hint(format!("Give one of {}.", known.join(", ")))
}
