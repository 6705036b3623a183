//! The three tables that events are taken from. The rows with the same number are one event.

use std::path::Path;

use bytes::Bytes;
use watershed::program::plainly;
use watershed::{Error, Result};

use super::EmulateArgs;
use super::credentials::Credentials;
use super::database::Database;
use super::dates::DateFormat;
use crate::generate;

/// The tables, generated or in a database.
pub(super) enum Rows {
    /// Invented rows, as JSON.
    Generated(Vec<[Bytes; 3]>),
    Database(Database),
}

impl Rows {
    /// Opens the tables that `args` name.
    pub(super) async fn open(args: &EmulateArgs) -> Result<Self> {
        match args.from.as_str() {
            "generated" if args.credentials.is_some() => {
                Err(Error::usage("can't use credentials: generated rows come from no database")
                    .hint("Give --from mysql:// too."))
            }
            "generated" => Ok(Rows::Generated(invented(args.seed, args.rows, args.date_format))),
            url if url.starts_with("mysql://") => {
                let credentials = credentials(url, args.credentials.as_deref())?;
                Ok(Rows::Database(Database::open(&credentials, args.date_format).await?))
            }
            url => Err(Error::config(format!("can't take rows from {}", plainly(url)))
                .hint("Give `generated` or mysql://user@host/database.")),
        }
    }

    /// Returns the number of rows of each table.
    pub(super) fn count(&self) -> u64 {
        match self {
            Rows::Generated(rows) => rows.len() as u64,
            Rows::Database(database) => database.count(),
        }
    }

    /// Returns the pin, the geo and the user with a number below `count`.
    pub(super) async fn row(&self, number: u64) -> Result<[Bytes; 3]> {
        match self {
            Rows::Generated(rows) => {
                let row = usize::try_from(number).ok().and_then(|number| rows.get(number));
                row.cloned().ok_or_else(|| Error::internal(format!("there is no row {number}")))
            }
            Rows::Database(database) => database.row(number).await,
        }
    }
}

/// Generates rows: always the same for the same seed and number.
pub(super) fn invented(seed: u64, count: u64, dates: Option<DateFormat>) -> Vec<[Bytes; 3]> {
    let mut rows = Vec::new();
    generate::rows(seed, count, &mut |lines| {
        rows.push(lines.each_ref().map(|line| {
            let mut line = String::from_utf8_lossy(line).into_owned();
            dates.into_iter().for_each(|format| format.rewrite(&mut line));
            Bytes::from(line)
        }));
    });
    rows
}

/// Returns the credentials for the database at `url`.
pub(super) fn credentials(url: &str, file: Option<&Path>) -> Result<Credentials> {
    Credentials::of(url, file, &|name| std::env::var(name).ok())
}
