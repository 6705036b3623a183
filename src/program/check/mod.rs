//! The command `check`: compares each table, and each archived topic, row by row with the rows that
//! a batch program expects.
//!
//! A row of a large table is held as its digest and the position of its record, which takes little
//! memory. The digests are keyed by a secret of this one comparison, so that nobody can construct
//! two rows with the same digest.

mod expected;
mod inputs;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Write};

pub use expected::{Expected, Origin};
pub use inputs::Inputs;

use super::answers::line;
use super::lake::Lake;
use crate::connect::Source;
use crate::error::{Error, Result};
use crate::row::{Value, read_object};
use crate::secret::Secret;
use crate::serdes::Digest;
use crate::topology::Topology;
use expected::row_digest;
use inputs::each_record;

/// Most differences of a table that are printed.
const PRINTED_MAX: usize = 5;

/// Passes each row of a table, or of an archived topic, to a function.
type EachRow<'a> = &'a dyn Fn(&mut dyn FnMut(&[Value]) -> Result<()>) -> Result<()>;

/// Compares every table of `lake` at the last commit, and every line of its archive, with the
/// `expected` rows, and prints a result for each topic. Returns false if any of them differs.
///
/// # Errors
/// When a table or the archive can't be read, a line is not a row of the `topology`, or `out` can't
/// be written.
pub(super) fn check(
    mut expected: Expected,
    topology: &Topology,
    lake: &Lake<'_>,
    out: &mut dyn Write,
) -> Result<bool> {
    let (secret, commit) = (expected.secret(), lake.last_commit()?);
    let mut total = Total { lake, secret, out, tables: 0, archived: 0, rows: 0, different: 0 };
    for topic in lake.shell.tables() {
        let table = lake.open(topic, commit)?;
        total.compare(topic, expected.take(topic), &|each| table.for_each(each))?;
        total.tables += 1;
    }
    let plan = topology.plan();
    for topic in lake.shell.archived() {
        let (source, columns) = (lake.archive_topic(topic)?, &plan.sink(topic)?.columns);
        let rows = |each: &mut dyn FnMut(&[Value]) -> Result<()>| {
            each_record(&source, 0, &mut |record| match record
                .value
                .and_then(|line| read_object(columns, line))
            {
                Some(row) => each(&row),
                None => Err(Error::data(format!(
                    "line {} of partition {} of {} is not a row of {topic}",
                    record.order.offset,
                    record.order.partition,
                    Source::describe(&source)
                ))
                .hint("Another program has changed the archive. Restore it.")),
            })
        };
        total.compare(topic, expected.take(topic), &rows)?;
        total.archived += 1;
    }
    if let Some(topic) = expected.left() {
        return Err(Error::internal(format!("rows are expected of {topic}, which is no output")));
    }
    total.finish()
}

/// The comparison so far.
struct Total<'a> {
    lake: &'a Lake<'a>,
    secret: Secret,
    out: &'a mut dyn Write,
    tables: u32,
    archived: u32,
    rows: u64,
    different: u32,
}

/// The differences of one topic.
#[derive(Default)]
struct Differences {
    /// Rows of the lake that the batch program lacks: their number, and the first of them.
    extra: u64,
    extra_rows: Vec<String>,
    /// Rows that the lake lacks: their number, and the origins of them.
    missing: u64,
    missing_rows: Vec<Origin>,
}

impl Total<'_> {
    /// Compares the rows of `topic` in the lake with the `expected` ones. Either may have the same
    /// row several times.
    fn compare(
        &mut self,
        topic: &str,
        expected: Vec<(Digest, Origin)>,
        each_row: EachRow<'_>,
    ) -> Result<()> {
        let wanted = expected.len() as u64;
        let mut missing: HashMap<Digest, (u64, Origin)> = HashMap::new();
        for (digest, origin) in expected {
            missing.entry(digest).or_insert((0, origin)).0 += 1;
        }
        let (secret, mut there, mut found) = (self.secret, 0, Differences::default());
        each_row(&mut |row| {
            there += 1;
            match missing.get_mut(&row_digest(secret, row)).filter(|(count, _)| *count > 0) {
                Some((count, _)) => *count -= 1,
                None => {
                    found.extra += 1;
                    found
                        .extra_rows
                        .extend((found.extra_rows.len() < PRINTED_MAX).then(|| line(row)));
                }
            }
            Ok(())
        })?;
        let missing = missing.into_values().filter(|(count, _)| *count > 0);
        for (count, origin) in missing {
            found.missing += count;
            found.missing_rows.push(origin);
        }
        found.missing_rows.sort_unstable();
        self.rows += wanted.max(there);
        self.different += u32::from(found.extra + found.missing > 0);
        unless_closed(self.report(topic, wanted.max(there), &found))
    }

    fn report(&mut self, topic: &str, rows: u64, found: &Differences) -> io::Result<()> {
        let Differences { extra, extra_rows, missing, missing_rows } = found;
        write!(self.out, "{topic:<46} {rows:>9} rows  ")?;
        if extra + missing == 0 {
            return writeln!(self.out, "equal");
        }
        writeln!(self.out, "DIFFERENT: {extra} in the lake only, {missing} missing in the lake")?;
        extra_rows.iter().try_for_each(|row| writeln!(self.out, "  - in the lake only: {row}"))?;
        missing_rows
            .iter()
            .take(PRINTED_MAX)
            .try_for_each(|row| writeln!(self.out, "  + missing in the lake: {row}"))
    }

    fn finish(self) -> Result<bool> {
        let Total { lake, out, tables, archived, rows, different, .. } = self;
        let archived = match archived {
            0 => String::new(),
            1 => " and 1 archived topic".to_string(),
            n => format!(" and {n} archived topics"),
        };
        let verdict = match different {
            0 => "all are equal".to_string(),
            _ => format!(
                "{different} of them differ\nIf the sources have gone on since the last commit, do \
                 `{} run` and check again.",
                lake.shell.name
            ),
        };
        unless_closed(writeln!(
            out,
            "compared {rows} rows of {tables} tables{archived}: {verdict}"
        ))?;
        Ok(different == 0)
    }
}

/// Ignores a closed pipe: the exit code still has to report the result.
fn unless_closed(printed: io::Result<()>) -> Result<()> {
    match printed {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|e| Error::connect("can't print").because(e)),
    }
}
