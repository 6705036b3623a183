//! The oracle of `pinterest`: a process that answers one request after the other.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::support::lake::{Tables, parse_tables, support};

/// The running oracle.
pub(crate) struct Server {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it.
    pub(super) fn start() -> Self {
        let mut command = Command::new("python3");
        command.arg(support("oracle.py")).arg("--serve");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Server { process, requests, answers }
    }

    /// Returns the tables of an archive up to the `ends` of its partitions; null for no ends.
    pub(super) fn tables(&mut self, archive: &Path, ends: &Json) -> Tables {
        let request = json!({"archive": archive, "upto": ends});
        writeln!(self.requests, "{request}").unwrap();
        let mut answer = Vec::new();
        self.answers.read_until(b'\n', &mut answer).unwrap();
        parse_tables(&answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
