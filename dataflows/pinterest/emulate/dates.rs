//! The five formats of dates in the original's records.

use chrono::{DateTime, NaiveDateTime};
use clap::ValueEnum;

use crate::clean::moment;

/// The fields of the records that are dates.
const FIELDS: [&str; 2] = ["\"timestamp\":\"", "\"date_joined\":\""];

/// A format of dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DateFormat {
    /// 2020-08-28T03:52:47
    Iso,
    /// 2020-08-28 03:52:47
    Blank,
    /// 08/28/2020, 03:52:47
    American,
    /// 2020:08:28 03:52:47
    Colons,
    /// 2020-08-28T03:52:47.000Z
    Zulu,
}

impl DateFormat {
    /// Writes a date. A date with a fraction of a second is written as ISO if the format has no
    /// fractions.
    pub(crate) fn write(self, date: NaiveDateTime) -> String {
        let whole = date.and_utc().timestamp_subsec_micros() == 0;
        let format = match self {
            DateFormat::Zulu if !whole => "%Y-%m-%dT%H:%M:%S%.6fZ",
            _ if !whole => "%Y-%m-%dT%H:%M:%S%.6f",
            DateFormat::Iso => "%Y-%m-%dT%H:%M:%S",
            DateFormat::Blank => "%Y-%m-%d %H:%M:%S",
            DateFormat::American => "%m/%d/%Y, %H:%M:%S",
            DateFormat::Colons => "%Y:%m:%d %H:%M:%S",
            DateFormat::Zulu => "%Y-%m-%dT%H:%M:%S.000Z",
        };
        date.format(format).to_string()
    }

    /// Rewrites the dates of a record in this format. Text that is no date is not changed.
    pub(crate) fn rewrite(self, line: &mut String) {
        for field in FIELDS {
            let Some(from) = line.find(field).map(|at| at + field.len()) else { continue };
            let Some(to) = line[from..].find('"').map(|length| from + length) else { continue };
            let date = moment(&line[from..to]).and_then(|at| DateTime::from_timestamp_micros(at.0));
            if let Some(date) = date {
                line.replace_range(from..to, &self.write(date.naive_utc()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_any_format_is_read_as_the_same_time() {
        let line = r#"{"ind":7,"timestamp":"08/28/2020, 03:52:47","latitude":1.5}"#;
        for format in DateFormat::value_variants() {
            let mut written = line.to_string();
            format.rewrite(&mut written);
            let date = written.split('"').nth(5).unwrap();
            assert_eq!(moment(date), moment("2020-08-28 03:52:47"), "{format:?}: {written}");
            assert!(written.ends_with(r#"","latitude":1.5}"#), "{written}");
            let exact = moment("2020-08-28T03:52:47.000120").unwrap();
            let date = DateTime::from_timestamp_micros(exact.0).unwrap().naive_utc();
            assert_eq!(moment(&format.write(date)), Some(exact), "{format:?}");
        }
    }
}
