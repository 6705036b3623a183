//! The context in which a command of the program's own runs.

use std::fmt::Display;
use std::io::Write;

#[cfg(feature = "gateway")]
use super::append::{Appending, OpenOptions};
use super::process;
use super::shell::{Names, Shell};
use crate::error::Result;

/// Access of a command to the terminal, to signals and to the names of the program's topics.
///
/// ```
/// use watershed::Result;
/// use watershed::program::Context;
///
/// /// Prints the names that the topics have in Kafka.
/// fn topics(_: (), context: &mut Context<'_>) -> Result<()> {
///     let names = context.topics().join("\n");
///     context.print(&format!("{names}\n"))
/// }
/// # let _ = topics;
/// ```
pub struct Context<'a> {
    shell: &'a Shell,
    names: Names,
    out: &'a mut dyn Write,
}

impl<'a> Context<'a> {
    pub(super) fn new(shell: &'a Shell, names: Names, out: &'a mut dyn Write) -> Self {
        Context { shell, names, out }
    }

    /// Returns the prefix of topics, or "".
    pub fn prefix(&self) -> &str {
        self.names.prefix.as_deref().unwrap_or_default()
    }

    /// Returns the names of the topics that the program reads, in Kafka and in archives.
    pub fn topics(&self) -> Vec<String> {
        self.names.topics()
    }

    /// Returns the names of the streams that the program reads, in Kinesis.
    pub fn streams(&self) -> Vec<String> {
        self.names.streams()
    }

    /// Writes `text` to standard output at once.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn print(&mut self, text: &str) -> Result<()> {
        process::print(self.out, text)
    }

    /// Writes a line to standard error, behind the name of the program and without passwords.
    pub fn warn(&self, message: impl Display) {
        process::say(format_args!("{}: {message}", self.shell.name));
    }

    /// Returns a future that completes at the first SIGINT or SIGTERM from now on. The program then
    /// prints `ending`, the work that is left, such as "once all events are sent". The second
    /// signal ends the process.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn stopped(
        &self,
        ending: &'static str,
    ) -> Result<impl Future<Output = ()> + Send + 'static + use<>> {
        process::stopped(self.shell.name, ending)
    }

    /// Opens the folder of an archive, Kafka or Kinesis for appending to the topics of the program.
    /// Missing topics are created.
    ///
    /// # Errors
    /// When the URL has another scheme, or the service can't be reached.
    #[cfg(feature = "gateway")]
    pub fn append_to(&self, url: &str) -> Result<Appending> {
        Appending::open(url, &self.names, OpenOptions::default())
    }

    /// Returns the environment variable with the token of the gateway, and the token if it is set.
    ///
    /// # Errors
    /// When the token is blank.
    #[cfg(feature = "gateway")]
    pub fn gateway_token(&self) -> Result<(String, Option<String>)> {
        Ok((super::gateway::token_variable(self.shell), super::gateway::token(self.shell)?))
    }
}
