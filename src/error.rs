//! The error type: a kind, the attempted action on a named thing, the cause, and the way out.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kind of an [`Error`], which decides the reaction of a caller. Each kind has its process exit
/// code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The command line can't be understood (exit 2).
    Usage,
    /// A source, a state or a table contradicts the recorded commits (exit 65).
    Data,
    /// A service or a store can't be reached, read or written (exit 69).
    Connect,
    /// A bug of this library (exit 70).
    Internal,
    /// Another process of the same run is gone, or has not come (exit 75). The run can be started
    /// again.
    Lost,
    /// A newer run took over (exit 76).
    Superseded,
    /// The configuration or the topology is wrong (exit 78).
    Config,
}

/// Advice that each program words in its own way: as an option of its command line, or as a line of
/// source code.
///
/// It is printed after the [hint](Error::hint); see [`Error::described`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Advice {
    /// Begin anew: reset the state, or use an empty state and empty tables.
    BeginAnew,
    /// Begin anew at other places, because the state can't be reset.
    OtherPlaces,
    /// Continue the unchanged part of a state with another topology, or reset the state.
    ChangedTopology,
    /// Keep the state in another, empty place.
    OtherState,
    /// Read an archive and its topic as two sources.
    TwoLogs,
    /// Read a table as of an earlier commit.
    EarlierCommit,
    /// Follow logs without the promise that no partition is added to them.
    NoFixedPartitions,
}

impl Advice {
    /// Returns the advice as the library words it.
    pub fn text(self) -> &'static str {
        match self {
            Advice::BeginAnew => {
                "To begin anew, reset the state (`Config::topology_change`), or use another state \
                 and empty tables."
            }
            Advice::OtherPlaces => "To begin anew, use another state and empty tables.",
            Advice::ChangedTopology => {
                "To keep the state of unchanged steps, adopt the topology; to begin anew, reset \
                 the state (both by `Config::topology_change`), or use another state and empty \
                 tables."
            }
            Advice::OtherState => "Use a state that is empty or does not exist.",
            Advice::TwoLogs => {
                "To read two logs, bind both as sources, with another state and empty tables."
            }
            Advice::EarlierCommit => "To read the table as it was, open it as of that commit.",
            Advice::NoFixedPartitions => {
                "To go on whenever one is added, bind the log without fixed partitions."
            }
        }
    }
}

/// An error: the attempted action on a named thing. The hint names the way out, and
/// [`source`](std::error::Error::source) returns the cause.
///
/// ```
/// use watershed::{Error, ErrorKind};
///
/// let cause = std::io::Error::other("the disk is full");
/// let error = Error::connect("can't write file rows.json").because(cause);
/// let error = error.hint("Free some space.");
/// assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Connect, 69));
/// assert_eq!(
///     error.to_string(),
///     "can't write file rows.json: the disk is full\n  Free some space.",
/// );
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    advice: Option<Advice>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an error of `kind`. The `message` is in lower case, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None, advice: None, source: None }
    }

    /// Returns an error for a command line that can't be understood.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Returns an error for a source, a state or a table that contradicts the recorded commits.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// Returns an error for a service or a store that can't be reached, read or written.
    pub fn connect(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Connect, message)
    }

    /// Returns an error for a bug of this library.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Returns an error for another process of the same run that is gone or has not come.
    pub fn lost(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Lost, message)
    }

    /// Returns an error for a run that a newer one has replaced.
    pub fn superseded(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Superseded, message)
    }

    /// Returns an error for a wrong configuration or topology.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Returns an error for a thread, named `name`, that the system can't start.
    pub fn no_thread(
        name: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let way = "Raise the limit of threads (ulimit -u, or that of the container or service), or \
            that of memory, and run it again.";
        Self::connect(format!("can't start {name}")).because(cause).hint(way)
    }

    /// Adds the way out, as a sentence of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a way out that each program words in its own way; it follows the hint.
    #[must_use]
    pub fn advise(mut self, advice: Advice) -> Self {
        self.advice = Some(advice);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Usage => 2,
            ErrorKind::Data => 65,
            ErrorKind::Connect => 69,
            ErrorKind::Internal => 70,
            ErrorKind::Lost => 75,
            ErrorKind::Superseded => 76,
            ErrorKind::Config => 78,
        }
    }
}

impl Error {
    /// Returns the message with its causes, and the nearest hint with the advice in the `words` of
    /// the program.
    ///
    /// ```
    /// use watershed::{Advice, Error};
    ///
    /// let error = Error::data("a record is gone").hint("Restore it.").advise(Advice::BeginAnew);
    /// let text = error.described(|_| "To begin anew, give --fresh.");
    /// assert_eq!(text, "a record is gone\n  Restore it. To begin anew, give --fresh.");
    /// ```
    pub fn described(&self, words: impl Fn(Advice) -> &'static str) -> String {
        let ErrorText { message, hint, advice, .. } = self.text();
        match (hint, advice.map(words)) {
            (Some(hint), Some(advice)) => format!("{message}\n  {hint} {advice}"),
            (Some(hint), None) => format!("{message}\n  {hint}"),
            (None, Some(advice)) => format!("{message}\n  {advice}"),
            (None, None) => message,
        }
    }

    /// Returns the parts of the error as values that can be sent to another process: the message
    /// with its causes, and the nearest hint with its advice.
    pub(crate) fn text(&self) -> ErrorText {
        let mut message = self.message.clone();
        let mut nearest = self;
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            match next.downcast_ref::<Error>() {
                // Its own causes follow in this loop.
                Some(error) => {
                    message += &format!(": {}", error.message);
                    if nearest.hint.is_none() && nearest.advice.is_none() {
                        nearest = error;
                    }
                }
                None => message += &format!(": {next}"),
            }
            cause = next.source();
        }
        ErrorText { kind: self.kind, message, hint: nearest.hint.clone(), advice: nearest.advice }
    }
}

/// The parts of an [`Error`] without its causes, which are in the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorText {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) advice: Option<Advice>,
}

/// Writes the parts of the error that another process needs. Causes are part of the message.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ErrorText::deserialize(deserializer).map(Error::from)
    }
}

impl From<ErrorText> for Error {
    fn from(text: ErrorText) -> Self {
        let ErrorText { kind, message, hint, advice } = text;
        Error { kind, message, hint, advice, source: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.described(Advice::text))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_each_cause_once_and_the_nearest_way_out() {
        let disk = || {
            Error::connect("can't write a file")
                .because(std::io::Error::other("the disk is full"))
                .hint("Make room.")
        };
        let commit = || Error::connect("can't commit").because(disk());
        assert_eq!(
            commit().to_string(),
            "can't commit: can't write a file: the disk is full\n  Make room."
        );
        let run = Error::connect("can't go on").because(commit()).hint("Run it again.");
        assert_eq!(
            run.to_string(),
            "can't go on: can't commit: can't write a file: the disk is full\n  Run it again."
        );
        // Another process receives the same text.
        let sent = postcard::to_stdvec(&commit().advise(Advice::BeginAnew)).unwrap();
        let received: Error = postcard::from_bytes(&sent).unwrap();
        assert_eq!(received.to_string(), commit().advise(Advice::BeginAnew).to_string());
        assert_eq!(received.exit_code(), 69);
    }
}
