//! A disk that fails when told, and tells what it was asked: `disk.c`, which programs are started
//! with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The requests of a program to the disk: each sync that succeeded or failed and each file that was
/// removed, in order.
pub(crate) struct Asked(Vec<(String, String)>);

/// Has a program that is about to start tell `log` what it asks of the disk; its sync number
/// `fails_at` fails.
pub(crate) fn watched(command: &mut Command, log: &Path, fails_at: Option<u64>) {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (library, begun) =
            (folder.join("disk.so"), folder.join(format!("disk-{}.so", std::process::id())));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/disk.c");
        let mut cc = Command::new("cc");
        let built =
            cc.args(["-shared", "-fPIC", "-o"]).args([&begun, &source]).arg("-ldl").status();
        assert!(built.unwrap().success(), "{} can't be built", source.display());
        std::fs::rename(begun, &library).unwrap();
        library
    });
    command.env("LD_PRELOAD", library).env("DISK_LOG", log);
    if let Some(at) = fails_at {
        command.env("DISK_FAILS_AT", at.to_string());
    }
}

impl Asked {
    /// The lines of `log`; none if there is no such file.
    pub(crate) fn read(log: &Path) -> Self {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let line = |line: &str| {
            line.split_once(' ').map(|(what, path)| (what.to_string(), path.to_string())).unwrap()
        };
        Asked(text.lines().map(line).collect())
    }

    /// The path whose sync failed.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.0.iter().find(|(what, _)| what == "failed").map(|(_, path)| path.as_str())
    }

    /// Where in the order something was first done to a path that `is` it.
    pub(crate) fn first(&self, what: &str, is: impl Fn(&str) -> bool) -> Option<usize> {
        self.0.iter().position(|(did, path)| did == what && is(path))
    }

    /// True if something was done to a path that `is` it after a sync had failed.
    pub(crate) fn after_failure(&self, what: &str, is: impl Fn(&str) -> bool) -> bool {
        self.0
            .iter()
            .skip_while(|(did, _)| did != "failed")
            .any(|(did, path)| did == what && is(path))
    }
}
