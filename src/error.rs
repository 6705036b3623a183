//! The one error type: what kind of trouble, what was attempted on which name, and the way out.

use std::fmt;

/// What a caller can do about an [`Error`]; each kind has its process exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line can't be understood (exit 2).
    Usage,
    /// A source, a state or a table contradicts what was recorded (exit 65).
    Data,
    /// A service or a store can't be reached, read or written (exit 69).
    Connect,
    /// A bug of ours (exit 70).
    Internal,
    /// A newer run took over (exit 76).
    Superseded,
    /// The configuration or the topology is wrong (exit 78).
    Config,
}

/// Advice that programs of different kinds word differently: by an option of the command line, or by
/// a line of their source.
///
/// It is shown behind the [hint](Error::hint); see [`Error::described`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// The way to begin anew: a state and tables that nothing was written to.
    BeginAnew,
    /// The way to keep the state in a place that nothing was written to.
    OtherState,
    /// The way to read an archive and its topic as two sources.
    TwoLogs,
    /// The way to read a table as of an earlier commit.
    EarlierCommit,
}

impl Advice {
    /// Returns the advice in the words of the library.
    pub fn text(self) -> &'static str {
        match self {
            Advice::BeginAnew => "To begin anew, use another state and empty tables.",
            Advice::OtherState => "Use a state that is empty or does not exist.",
            Advice::TwoLogs => {
                "To read two logs, bind both as sources, with another state and empty tables."
            }
            Advice::EarlierCommit => "To read the table as it was, open it as of that commit.",
        }
    }
}

/// An error that says what was attempted on which name; the hint says the way out,
/// [`source`](std::error::Error::source) the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    advice: Option<Advice>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` in lower case, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None, advice: None, source: None }
    }

    /// The command line can't be understood.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// A source, a state or a table contradicts what was recorded.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// A service or a store can't be reached, read or written.
    pub fn connect(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Connect, message)
    }

    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// A newer run took over.
    pub fn superseded(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Superseded, message)
    }

    /// The configuration or the topology is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// The system gives no thread for `what`.
    pub fn no_thread(
        what: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let way = "Raise the limit of threads (ulimit -u, or that of the container or service), or that of memory, and run it again.";
        Self::connect(format!("can't start {what}")).because(cause).hint(way)
    }

    /// Adds the way out, a sentence of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a way out that each program words by itself, behind the hint.
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

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Usage => 2,
            ErrorKind::Data => 65,
            ErrorKind::Connect => 69,
            ErrorKind::Internal => 70,
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
        let mut text = self.message.clone();
        let mut way_out = self.way_out(&words);
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            match next.downcast_ref::<Error>() {
                // Its own causes are those that come next.
                Some(error) => {
                    text += &format!(": {}", error.message);
                    way_out = way_out.or_else(|| error.way_out(&words));
                }
                None => text += &format!(": {next}"),
            }
            cause = next.source();
        }
        way_out.into_iter().fold(text, |text, way_out| text + "\n  " + &way_out)
    }

    /// Returns the hint and the advice, as far as there are any.
    fn way_out(&self, words: &impl Fn(Advice) -> &'static str) -> Option<String> {
        match (&self.hint, self.advice.map(words)) {
            (Some(hint), Some(advice)) => Some(format!("{hint} {advice}")),
            (hint, advice) => hint.clone().or_else(|| advice.map(String::from)),
        }
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
    fn an_error_says_each_cause_once_and_the_way_out_that_is_nearest() {
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
    }
}
