//! The text format of Prometheus.

use std::fmt::{Display, Write};

/// The kind of a family of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Counts by bucket, their sum and their number.
    #[cfg_attr(not(feature = "gateway"), expect(dead_code))]
    Histogram,
}

/// A text in the format of Prometheus. The name of every sample begins with `prefix`.
pub(crate) struct Text {
    prefix: &'static str,
    text: String,
}

impl Text {
    pub(crate) fn new(prefix: &'static str) -> Self {
        Text { prefix, text: String::new() }
    }

    /// Begins a family of samples, all of which follow before the next family begins.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (prefix, help) = (self.prefix, help.trim());
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string can't fail.
        let _ = write!(self.text, "# HELP {prefix}_{name} {help}\n# TYPE {prefix}_{name} {kind}\n");
    }

    /// Adds a sample. The values of labels may be any text.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
        let labels: Vec<String> = labels.iter().map(label).collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.text, "{}_{name}{labels} {value}", self.prefix);
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
