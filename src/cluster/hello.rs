//! [`Hello`]: the facts about a process that must agree before a run starts.

use serde::{Deserialize, Serialize};

use super::key::Random;
use crate::error::{Error, Result};

/// The facts about a process that it sends in each handshake.
///
/// Timely assumes that all processes have the same number of workers and build the same dataflow,
/// and compares neither. So a run compares them first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The version of the protocol between processes.
    version: u32,
    /// The number of this process.
    pub(crate) process: usize,
    /// The number of processes of the run.
    pub(crate) processes: usize,
    /// The number of workers of each process.
    workers: usize,
    /// The version of the program.
    build: String,
    /// The fingerprint of the dataflow, with its outlets and stores.
    installed: String,
    /// A random number of the process, from its start to its end.
    pub(super) life: u64,
}

impl Hello {
    /// The version of the protocol.
    const VERSION: u32 = 1;
    /// The longest text of a hello, in bytes.
    pub(super) const LONGEST_BYTES: usize = 4096;

    /// Returns the facts about the process of number `process` of `processes`.
    pub(crate) fn new(process: usize, processes: usize, workers: usize) -> Self {
        let (build, installed) = (String::new(), String::new());
        let version = Self::VERSION;
        Hello { version, process, processes, workers, build, installed, life: 0 }
    }

    /// Adds the version of the program.
    #[must_use]
    pub(crate) fn build(mut self, build: impl Into<String>) -> Self {
        self.build = build.into();
        self
    }

    /// Adds the fingerprint of the dataflow, with its outlets and stores.
    #[must_use]
    pub(crate) fn installed(mut self, fingerprint: impl Into<String>) -> Self {
        self.installed = fingerprint.into();
        self
    }

    /// Draws the number of this life of the process.
    pub(super) fn alive(mut self, random: &Random) -> Result<Self> {
        let [a, b, c, d, e, f, g, h, ..] = random()?;
        self.life = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Ok(self)
    }

    /// Returns the bytes of a handshake. They are JSON, so that another version can read them.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(self)
            .map_err(|e| Error::internal("can't encode the facts about this process").because(e))?;
        match bytes.len() <= Self::LONGEST_BYTES {
            true => Ok(bytes),
            false => Err(Error::internal("the facts about this process are too long to be sent")),
        }
    }

    /// Reads the bytes of a process that holds the shared secret.
    ///
    /// # Errors
    /// Of kind [`Config`](crate::ErrorKind::Config) for those of another version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            Error::config("another process has another version of the protocol").because(e)
        })
    }

    /// Compares the facts about this process with those about another one.
    ///
    /// # Errors
    /// Of kind [`Config`](crate::ErrorKind::Config); it names each difference.
    pub(super) fn compare(&self, other: &Hello) -> Result<()> {
        let facts = |hello: &Hello| {
            [
                ("the version of the protocol", hello.version.to_string()),
                ("the number of processes", hello.processes.to_string()),
                ("the number of workers", hello.workers.to_string()),
                ("the build", hello.build.clone()),
                ("the dataflow, its outputs or its stores", hello.installed.clone()),
            ]
        };
        let pairs = facts(self).into_iter().zip(facts(other));
        let differences: Vec<String> = pairs
            .filter(|((_, own), (_, theirs))| own != theirs)
            .map(|((name, own), (_, theirs))| format!("{name} ({own} and {theirs})"))
            .collect();
        let numbers = (self.process, other.process);
        if !differences.is_empty() {
            let message = format!(
                "processes {} and {} differ in {}",
                numbers.0,
                numbers.1,
                differences.join(", ")
            );
            return Err(Error::config(message)
                .hint("Start the same program with the same configuration everywhere."));
        }
        if other.process >= self.processes || numbers.0 == numbers.1 {
            let message = format!("another process has the number {}", other.process);
            let hint =
                format!("Number the processes from 0 to {}.", self.processes.saturating_sub(1));
            return Err(Error::config(message).hint(hint));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn differences_between_processes_are_named() {
        let own = Hello::new(0, 3, 2).build("1.0").installed("aa");
        let other = Hello { process: 1, ..own.clone() };
        own.compare(&other).unwrap();
        let message = |other: Hello| {
            let other = Hello::from_bytes(&other.to_bytes().unwrap()).unwrap();
            let error = own.compare(&other).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Config, 78));
            error.to_string()
        };
        for (other, name) in [
            (Hello { version: 2, ..other.clone() }, "the version of the protocol (1 and 2)"),
            (Hello { processes: 2, ..other.clone() }, "the number of processes (3 and 2)"),
            (Hello { workers: 1, ..other.clone() }, "the number of workers (2 and 1)"),
            (Hello { build: "1.1".into(), ..other.clone() }, "the build (1.0 and 1.1)"),
            (other.clone().installed("ab"), "the dataflow, its outputs or its stores (aa and ab)"),
            (Hello { process: 3, ..other.clone() }, "another process has the number 3"),
            (Hello { process: 0, ..other.clone() }, "another process has the number 0"),
        ] {
            assert!(message(other).contains(name), "{name}");
        }
        let both = message(Hello { workers: 1, ..other.installed("ab") });
        assert!(
            both.starts_with(
                "processes 0 and 1 differ in the number of workers (2 and 1), the dataflow"
            ),
            "{both}"
        );
        let error = Hello::from_bytes(b"{\"version\":9}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
