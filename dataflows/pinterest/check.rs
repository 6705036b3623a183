//! Checks the lake: computes every table again with [`naive`], and compares row by row.
//!
//! Neither side is held as text: a row of a cleaned table and a dead letter are known by digest and
//! by the record they come from. The digests are keyed by a secret of this one comparison, so that
//! no two rows are made to look equal.

pub(crate) mod naive;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};

use watershed::connect::Source;

use watershed::record::Order;
use watershed::row::Value;
use watershed::serdes::Digest;
use watershed::{DEAD_LETTERS, Error, Result, Secret};

use crate::answers::{Lake, line};
use crate::questions::VIEWS;
use crate::run::KINDS;
use crate::topology::Bounds;
use naive::Naive;

/// Differences of a table that are printed.
const PRINTED: usize = 5;

/// Compares every table of `lake`, all at the last commit, with what the sources of `[pin, geo,
/// user]` say, and prints how each compares; false at any difference. Of one topic, the records of
/// a source named later are later.
///
/// # Errors
/// When a source or a table can't be read, or `out` not be written.
pub(crate) fn check(
    sources: &[Vec<Box<dyn Source>>; 3],
    lake: &Lake,
    bounds: &Bounds,
    out: &mut dyn Write,
) -> Result<bool> {
    let secret = watershed::runtime::secret()?;
    let naive = Naive::read(sources, secret)?;
    let views = naive.views(bounds);
    let commit = lake.last_commit()?;
    let mut total = Total { lake, secret, commit, out, tables: 0, rows: 0, different: 0 };
    total.compare(KINDS[0].1, naive::rows(naive.pins))?;
    total.compare(KINDS[1].1, naive::rows(naive.geos))?;
    total.compare(KINDS[2].1, naive::rows(naive.users))?;
    for ((view, _), rows) in VIEWS.iter().zip(views) {
        total.compare(
            view,
            rows.into_iter().map(|row| (row_digest(secret, &row), Origin::Row(row))),
        )?;
    }
    total.compare(DEAD_LETTERS, naive.letters)?;
    total.finish()
}

/// Where a row comes from that is expected: enough to find it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A row that is small enough to be held.
    Row(Vec<Value>),
    /// The row that a record has made.
    Table { ind: i64, order: Order },
    /// The dead letter that a record of a topic has become.
    Letter { topic: &'static str, order: Order },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = |what: fmt::Arguments<'_>, order: &Order| {
            write!(f, "{what} at offset {} of partition {}", order.offset, order.partition)?;
            if order.source > 0 { write!(f, " of source {}", order.source + 1) } else { Ok(()) }
        };
        match self {
            Origin::Row(row) => f.write_str(&line(row)),
            Origin::Table { ind, order } => at(format_args!("ind {ind}, the record"), order),
            Origin::Letter { topic, order } => at(format_args!("the {topic} record"), order),
        }
    }
}

/// The digest of a row: two rows have the same exactly if they are equal, floats bit by bit.
pub(crate) fn row_digest(secret: Secret, row: &[Value]) -> Digest {
    struct Canonical<'a>(&'a Value);
    impl Hash for Canonical<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            match self.0 {
                Value::Null => 0.hash(state),
                Value::Long(value) => (1, value).hash(state),
                Value::Double(value) => (2, value.to_bits()).hash(state),
                Value::Text(value) => (3, value).hash(state),
                Value::Timestamp(value) => (4, value).hash(state),
                Value::Doubles(values) => {
                    (5, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()).hash(state)
                }
                Value::Binary(value) => (6, value).hash(state),
            }
        }
    }
    secret.digest(&row.iter().map(Canonical).collect::<Vec<_>>())
}

/// The comparison so far.
struct Total<'a> {
    lake: &'a Lake,
    secret: Secret,
    /// The commit at which all of it is read.
    commit: u64,
    out: &'a mut dyn Write,
    tables: u32,
    rows: u64,
    different: u32,
}

impl Total<'_> {
    /// Compares the table of `topic` with the `expected` rows; the same row may stand in both more
    /// than once.
    fn compare(
        &mut self,
        topic: &str,
        expected: impl IntoIterator<Item = (Digest, Origin)>,
    ) -> Result<()> {
        let mut missing: HashMap<Digest, (u64, Origin)> = HashMap::new();
        let mut wanted = 0;
        for (digest, origin) in expected {
            missing.entry(digest).or_insert((0, origin)).0 += 1;
            wanted += 1;
        }
        let (secret, mut there, mut extra, mut extras) = (self.secret, 0, 0, Vec::new());
        self.lake.open(topic, Some(self.commit))?.for_each(&mut |row| {
            there += 1;
            match missing.get_mut(&row_digest(secret, row)).filter(|(count, _)| *count > 0) {
                Some((count, _)) => *count -= 1,
                None => {
                    extra += 1;
                    extras.extend((extras.len() < PRINTED).then(|| line(row)));
                }
            }
            Ok(())
        })?;
        let mut missing: Vec<(u64, Origin)> =
            missing.into_values().filter(|(count, _)| *count > 0).collect();
        missing.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        let absent = missing.iter().map(|(count, _)| count).sum();
        self.tables += 1;
        self.rows += wanted.max(there);
        self.different += u32::from(extra + absent > 0);
        printed(self.report(topic, wanted.max(there), (extra, &extras), (absent, &missing)))
    }

    fn report(
        &mut self,
        topic: &str,
        rows: u64,
        extra: (u64, &[String]),
        missing: (u64, &[(u64, Origin)]),
    ) -> io::Result<()> {
        write!(self.out, "{topic:<46} {rows:>9} rows  ")?;
        if extra.0 + missing.0 == 0 {
            return writeln!(self.out, "equal");
        }
        writeln!(
            self.out,
            "DIFFERENT: {} in the lake only, {} missing in the lake",
            extra.0, missing.0
        )?;
        extra.1.iter().try_for_each(|row| writeln!(self.out, "  - in the lake only: {row}"))?;
        missing
            .1
            .iter()
            .take(PRINTED)
            .try_for_each(|(_, row)| writeln!(self.out, "  + missing in the lake: {row}"))
    }

    fn finish(self) -> Result<bool> {
        let Total { out, tables, rows, different, .. } = self;
        let verdict = match different {
            0 => "all are equal".to_string(),
            _ => format!(
                "{different} of them differ\nIf the sources have gone on since the last commit, do `pinterest run` and check again."
            ),
        };
        printed(writeln!(out, "compared {rows} rows of {tables} tables: {verdict}"))?;
        Ok(different == 0)
    }
}

/// Goes on when the reader has closed the pipe: the exit code is still to say what is found.
fn printed(done: io::Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|e| Error::connect("can't print the comparison").because(e)),
    }
}
