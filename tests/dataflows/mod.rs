//! The real executables, on data, compared with an oracle that shares no code with them.

mod airflow;
mod answers;
#[cfg(feature = "kafka")]
mod archive;
mod consistency;
mod crash;
mod database;
mod deploy;
mod describe;
mod dirt;
mod durable;
mod examples;
mod follow;
mod full;
mod gateway;
mod generate;
#[cfg(feature = "kafka")]
mod handoff;
mod invariants;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kinesis")]
mod kinesis;
mod layouts;
mod limits;
mod moved;
mod network;
mod nexmark;
#[cfg(any(feature = "kafka", feature = "kinesis"))]
mod onward;
mod posting;
mod processes;
mod readers;
mod refusals;
mod reset;
mod retention;
mod s3;
mod secrets;
mod unreachable;
mod wordcount;

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

pub(crate) use crate::support::lake::{Tables, lines, parse_tables, support, tables};

/// A temporary folder of one test, with an archive and a lake in it.
struct Place {
    folder: tempfile::TempDir,
    /// Additional environment variables of the program.
    environment: Vec<(&'static str, String)>,
}

impl Place {
    fn new() -> Self {
        Place { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that runs the program in the folder.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinterest"));
        command
            .current_dir(self.folder.path())
            .args(args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the program, which must succeed, and returns its standard output.
    fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "pinterest {args:?} ended with {}: {error}",
            output.status
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program, which must exit with `code`, and returns its standard error.
    fn fail(&self, args: &[&str], code: i32) -> String {
        let output = self.output(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "pinterest {args:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
        error
    }

    fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Returns the oracle's tables of an archive.
    fn oracle(&self, archive: &str, args: &[&str]) -> Tables {
        parse_tables(&self.ask_oracle(archive, args))
    }

    /// Runs the oracle on an archive, and returns its output.
    fn ask_oracle(&self, archive: &str, args: &[&str]) -> Vec<u8> {
        let output = Command::new("python3")
            .arg(support("oracle.py"))
            .arg(self.path(archive))
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "the oracle failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// The lines of all objects of a partition. Temporary files of a killed writer don't count.
    fn lines(&self, archive: &str, topic: &str, partition: u32) -> Vec<Vec<u8>> {
        let folder =
            self.path(archive).join("topics").join(topic).join(format!("partition={partition}"));
        let mut objects: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        objects.retain(|object| object.extension().is_some_and(|extension| extension == "json"));
        objects.sort();
        let bytes: Vec<u8> =
            objects.iter().flat_map(|object| std::fs::read(object).unwrap()).collect();
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap().to_vec())
            .collect()
    }

    /// The manifests of the lake, one for each commit. Temporary files of a killed run have names
    /// that are no numbers.
    fn manifests(&self) -> Vec<PathBuf> {
        let found = std::fs::read_dir(self.path("lake/_watershed/manifest"));
        let paths = found.into_iter().flatten().map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().is_ok())
            .collect()
    }

    /// The versions of a table that declare support for deletion vectors as required.
    fn declared(&self, table: &str) -> Vec<u64> {
        let log = self.path("lake").join(table).join("_delta_log");
        let versions = (0..).map_while(|version| {
            Some((version, std::fs::read_to_string(log.join(format!("{version:020}.json"))).ok()?))
        });
        versions
            .filter(|(_, actions)| actions.contains("minReaderVersion\":3"))
            .map(|(version, _)| version)
            .collect()
    }

    /// Reads the tables of a lake with our own reader, as of commit `n` if given.
    fn lake(&self, lake: &str, n: Option<u64>) -> Tables {
        tables(self.path(lake).to_str().unwrap(), n)
    }
}

/// The Python with the packages of the tests; none where they can't be installed.
fn python() -> Option<PathBuf> {
    let venv = Command::new("bash").arg(support("venv.sh")).output().unwrap();
    let python = String::from_utf8(venv.stdout).unwrap();
    (!python.trim().is_empty()).then(|| python.trim().into())
}

/// Compares table by table, and shows the first rows that differ.
fn assert_same(what: &str, expected: &Tables, found: &Tables) {
    let names = |tables: &Tables| tables.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(found), "{what}: the tables");
    for (name, rows) in expected {
        let there = &found[name];
        let missing: Vec<_> =
            rows.iter().filter(|row| there.binary_search(row).is_err()).take(3).collect();
        let surplus: Vec<_> =
            there.iter().filter(|row| rows.binary_search(row).is_err()).take(3).collect();
        let counts = (rows.len(), there.len());
        assert!(
            rows == there,
            "{what}: {name} has {counts:?} rows, missing {missing:#?}, surplus {surplus:#?}"
        );
    }
}
