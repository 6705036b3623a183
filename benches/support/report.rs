//! Plain text: aligned tables, and goals that are met or missed.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

/// The findings as printed.
#[derive(Default)]
pub(crate) struct Report {
    text: String,
}

impl Report {
    /// Prints the heading of a question.
    pub(crate) fn question(&mut self, question: &str) {
        self.line(&format!("\n{question}\n"));
    }

    pub(crate) fn line(&mut self, line: &str) {
        println!("{line}");
        self.text += line;
        self.text.push('\n');
    }

    /// Prints a table: the first column is text, the others are numbers.
    pub(crate) fn table<const N: usize>(
        &mut self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(header).add_rows(rows);
        table
            .column_iter_mut()
            .skip(1)
            .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        self.line(&format!("{table}\n"));
    }

    /// Prints a goal: `value` is at most `limit`.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64, unit: &str) {
        self.goal(what, value, "<=", limit, unit, value <= limit);
    }

    /// Prints a goal: the median of `values`, one of each round, is at most `limit`.
    pub(crate) fn median_at_most(&mut self, what: &str, values: &[f64], limit: f64, unit: &str) {
        self.at_most(&format!("{what}{}", spread(values)), percentile(values, 0.5), limit, unit);
    }

    /// Prints a goal: `value` is at least `limit`.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, limit: f64, unit: &str) {
        self.goal(what, value, ">=", limit, unit, value >= limit);
    }

    fn goal(&mut self, what: &str, value: f64, sign: &str, limit: f64, unit: &str, met: bool) {
        let verdict = if met { "met" } else { "missed" };
        self.line(&format!("- {what}: {value:.2} {unit} (goal {sign} {limit} {unit}: {verdict})"));
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Formats a whole number with commas.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Formats seconds.
pub(crate) fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

/// Formats seconds as milliseconds.
pub(crate) fn millis(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}

/// Formats bytes as megabytes.
pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / 1e6)
}

/// Returns the smallest value that at least `share` of the values don't exceed.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Formats the extremes of several rounds. A single round has none.
pub(crate) fn spread(values: &[f64]) -> String {
    let [least, most] = [0.0, 1.0].map(|share| percentile(values, share));
    match values.len() {
        0 | 1 => String::new(),
        rounds => format!(" ({least:.2} to {most:.2} in {rounds} rounds), median"),
    }
}

/// A longer wait means that a case hangs.
pub(crate) const HANG_TIMEOUT: Duration = Duration::from_secs(120);
