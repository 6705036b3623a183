//! The parts of a program that every command reads: its topics, their external names, and the texts
//! of its help pages.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::connect::Source;
use crate::error::Result;
use crate::plan::DEAD_LETTERS;
use crate::row::Value;

/// Opens the source of a logical topic at a URL.
pub(super) type Scheme = Box<dyn Fn(&str, &str) -> Result<Box<dyn Source>> + Send + Sync>;

/// A program without its topology and options.
pub(super) struct Shell {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) about: &'static str,
    /// The examples at the end of each help page, by the command; those of the program by "".
    pub(super) helps: BTreeMap<&'static str, &'static str>,
    /// The topics that are read.
    pub(super) reads: Vec<&'static str>,
    /// The topics that are written, in printing order.
    pub(super) writes: Vec<Output>,
    pub(super) prefix: Option<Prefix>,
    /// The URL that is read by default.
    pub(super) default_source: &'static str,
    /// The command and the option that make an archive elsewhere, such as `generate --to`.
    pub(super) generator: Option<&'static str>,
    pub(super) schemes: BTreeMap<&'static str, Scheme>,
}

impl Shell {
    pub(super) fn new(name: &'static str) -> Self {
        Shell {
            name,
            version: "",
            about: "",
            helps: BTreeMap::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            prefix: None,
            default_source: "data/archive",
            generator: None,
            schemes: BTreeMap::new(),
        }
    }

    /// Returns all topics that have a table, the dead letters last.
    pub(super) fn tables(&self) -> impl Iterator<Item = &'static str> {
        let tables = self.writes.iter().filter(|output| output.place == Place::Table);
        tables.map(|output| output.topic).chain([DEAD_LETTERS])
    }

    /// Returns all topics that are written to the archive of the lake.
    pub(super) fn archived(&self) -> impl Iterator<Item = &'static str> {
        let archived = self.writes.iter().filter(|output| output.place == Place::Archive);
        archived.map(|output| output.topic)
    }

    pub(super) fn output(&self, topic: &str) -> Option<&Output> {
        self.writes.iter().find(|output| output.topic == topic)
    }

    /// Returns the names of the topics for a value of the prefix option.
    pub(super) fn names(&self, prefix: Option<String>) -> Names {
        let streams = self.prefix.as_ref().map_or("", |prefix| prefix.streams);
        Names { prefix, streams, reads: self.reads.clone() }
    }
}

/// The form in which the rows of an output are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A Delta table.
    Table,
    /// A topic of the archive in the lake.
    Archive,
}

/// A topic that a program writes: as a Delta table, or as JSON lines in an archive.
///
/// ```
/// use watershed::program::Output;
///
/// let counts = Output::new("counts").title("How often is each word written?");
/// let lines = Output::new("lines").archived();
/// # let _ = (counts, lines, Output::from("counts"), Output::from(("counts", "How often?")));
/// ```
#[derive(Clone, Debug)]
pub struct Output {
    pub(super) topic: &'static str,
    pub(super) place: Place,
    pub(super) title: Option<&'static str>,
    pub(super) listed: bool,
    pub(super) prefixed: bool,
    pub(super) order: fn(&[Value], &[Value]) -> Ordering,
}

impl Output {
    /// Returns the output of `topic`: a Delta table without a title, printed in ascending order of
    /// its rows.
    pub fn new(topic: &'static str) -> Self {
        Output {
            topic,
            place: Place::Table,
            title: None,
            listed: true,
            prefixed: false,
            order: |a, b| a.cmp(b),
        }
    }

    /// Sets the title that is printed above the rows.
    #[must_use]
    pub fn title(mut self, title: &'static str) -> Self {
        self.title = Some(title);
        self
    }

    /// Sets the order in which rows are printed.
    #[must_use]
    pub fn order_by(mut self, order: fn(&[Value], &[Value]) -> Ordering) -> Self {
        self.order = order;
        self
    }

    /// Leaves the table out of a list of all answers. Use it for a large table; `answers` prints
    /// the table if it is named.
    #[must_use]
    pub fn unlisted(mut self) -> Self {
        self.listed = false;
        self
    }

    /// Writes each row as a JSON object on a line of its own, in the archive `<lake>/archive`. The
    /// topic must be a stream: an archive holds every row that was ever written. `answers` prints
    /// tables only; `check` compares the lines too.
    #[must_use]
    pub fn archived(mut self) -> Self {
        self.place = Place::Archive;
        self
    }

    /// Puts the prefix of topics in front of the output's name too: `demo_pins` is the name of a
    /// table, `demo.pins` that of an archived topic.
    #[must_use]
    pub fn prefixed(mut self) -> Self {
        self.prefixed = true;
        self
    }
}

impl From<&'static str> for Output {
    fn from(topic: &'static str) -> Self {
        Output::new(topic)
    }
}

impl From<(&'static str, &'static str)> for Output {
    fn from((topic, title): (&'static str, &'static str)) -> Self {
        Output::new(topic).title(title)
    }
}

/// An option for a prefix of all topics, so that several owners share one cluster or archive.
///
/// With the prefix `demo` the topic `pin` is `demo.pin` in Kafka and in archives, and `demo-pin` in
/// Kinesis.
///
/// ```
/// use watershed::program::Prefix;
///
/// let user_id = Prefix::new("user-id").default_value("demo").streams("streaming-");
/// # let _ = user_id;
/// ```
#[derive(Clone, Debug)]
pub struct Prefix {
    pub(super) owner: &'static str,
    pub(super) option: &'static str,
    pub(super) default: Option<&'static str>,
    pub(super) streams: &'static str,
}

impl Prefix {
    /// Returns the prefix that `--<option>` sets. Errors name its owner after the option: a user
    /// for `user-id`.
    pub fn new(option: &'static str) -> Self {
        let owner = option.strip_suffix("-id").unwrap_or(option);
        Prefix { owner, option, default: None, streams: "" }
    }

    /// Sets the prefix for a command line without the option. The default is no prefix.
    #[must_use]
    pub fn default_value(mut self, prefix: &'static str) -> Self {
        self.default = Some(prefix);
        self
    }

    /// Sets a text that precedes the prefix in the names of Kinesis streams.
    #[must_use]
    pub fn streams(mut self, start: &'static str) -> Self {
        self.streams = start;
        self
    }
}

/// The names of a program's topics in external systems.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) prefix: Option<String>,
    streams: &'static str,
    reads: Vec<&'static str>,
}

impl Names {
    /// Returns the name of `topic` in Kafka and in archives.
    pub(super) fn topic(&self, topic: &str) -> String {
        self.prefix.as_ref().map_or_else(|| topic.to_string(), |p| format!("{p}.{topic}"))
    }

    /// Returns the name of the stream of `topic` in Kinesis.
    pub(super) fn stream(&self, topic: &str) -> String {
        let start = self.streams;
        match &self.prefix {
            Some(prefix) => format!("{start}{prefix}-{topic}"),
            None => format!("{start}{topic}"),
        }
    }

    /// Returns the name of the table of `output`.
    pub(super) fn table(&self, output: Option<&Output>, topic: &str) -> String {
        match (&self.prefix, output) {
            (Some(prefix), Some(Output { prefixed: true, .. })) => format!("{prefix}_{topic}"),
            _ => topic.to_string(),
        }
    }

    /// Returns the names of all topics that are read.
    pub(super) fn topics(&self) -> Vec<String> {
        self.reads.iter().map(|topic| self.topic(topic)).collect()
    }

    /// Returns the names of all streams that are read.
    pub(super) fn streams(&self) -> Vec<String> {
        self.reads.iter().map(|topic| self.stream(topic)).collect()
    }

    /// Returns the names of all topics in the service at `url`.
    #[cfg(feature = "gateway")]
    pub(super) fn at(&self, url: &str) -> Vec<String> {
        if url.starts_with("kinesis://") { self.streams() } else { self.topics() }
    }

    /// Returns true for a topic or a stream of this owner, whose name is the prefix and one more
    /// word. Without a prefix, only the topics of the program belong to it.
    #[cfg(feature = "gateway")]
    pub(super) fn owns(&self, name: &str) -> bool {
        let Some(prefix) = &self.prefix else {
            return self.reads.iter().any(|topic| *topic == name || self.stream(topic) == name);
        };
        let one = |rest: Option<&str>, between: char| {
            rest.and_then(|rest| rest.strip_prefix(between))
                .is_some_and(|word| !word.is_empty() && !word.contains(between))
        };
        let stream = name.strip_prefix(self.streams).and_then(|name| name.strip_prefix(&**prefix));
        one(name.strip_prefix(&**prefix), '.') || one(stream, '-')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: Option<&str>) -> Names {
        Names { prefix: prefix.map(String::from), streams: "streaming-", reads: vec!["pin"] }
    }

    #[cfg(feature = "gateway")]
    #[test]
    fn an_owner_owns_the_prefix_and_one_more_word() {
        let demo = names(Some("demo"));
        for name in ["demo.pin", "demo.more", "streaming-demo-pin", "streaming-demo-more"] {
            assert!(demo.owns(name), "{name}");
        }
        for name in [
            "demo",
            "demo.",
            "demo.x.pin",
            "demonstration.pin",
            "other.pin",
            "streaming-demo-",
            "streaming-demo-x-pin",
            "demo-pin",
            "",
        ] {
            assert!(!demo.owns(name), "{name}");
        }
        assert!(names(Some("demo.x")).owns("demo.x.pin"));
        assert!(names(Some("demo-x")).owns("streaming-demo-x-pin"));
    }

    #[test]
    fn without_a_prefix_topics_keep_their_logical_names() {
        let names = Names { streams: "", ..names(None) };
        assert_eq!((names.topic("pin"), names.stream("pin")), ("pin".into(), "pin".into()));
        assert_eq!(names.table(Some(&Output::new("t").prefixed()), "t"), "t");
        #[cfg(feature = "gateway")]
        assert!(names.owns("pin") && !names.owns("other"));
    }
}
