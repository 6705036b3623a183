//! The program's own options: ranges of years.

use std::ops::RangeInclusive;

use clap::Args;
use watershed::StreamsBuilder;

/// Ranges of years. Rows of other years are dropped before they are counted.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// Years of the answers about posts by year, such as 2018..2022 [default: all]
    #[arg(long, value_name = "A..B", value_parser = years)]
    pub(crate) post_years: Option<RangeInclusive<i64>>,
    /// Years of the answers about users by year of joining [default: all]
    #[arg(long, value_name = "A..B", value_parser = years)]
    pub(crate) join_years: Option<RangeInclusive<i64>>,
}

fn years(text: &str) -> Result<RangeInclusive<i64>, String> {
    let range =
        text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "two years such as 2018..2022, both included".into())
}

/// The years that a question covers.
#[derive(Clone)]
pub(crate) struct Years(Option<RangeInclusive<i64>>);

impl Years {
    /// Returns the years of a range, and makes the range a setting of the topology under `name`.
    pub(crate) fn within(
        builder: &StreamsBuilder<'_>,
        name: &str,
        years: &Option<RangeInclusive<i64>>,
    ) -> Self {
        if let Some(years) = years {
            builder.setting(name, format!("{}..{}", years.start(), years.end()));
        }
        Years(years.clone())
    }

    /// Returns `year` if the question covers it.
    pub(crate) fn admit(&self, year: i32) -> Option<i32> {
        self.0.as_ref().is_none_or(|years| years.contains(&year.into())).then_some(year)
    }
}
