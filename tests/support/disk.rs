//! A disk that fails on request and records its calls. Programs are started with the library
//! `disk.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The recorded calls of a program, in order: each sync with its result, and each removal of a
/// file.
pub(crate) struct DiskCalls(Vec<(String, String)>);

/// Returns the path of the library, and builds it first.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // Beside the running executable is room for files of a build.
        let program = std::env::current_exe().unwrap();
        let folder = program.parent().unwrap();
        let (library, begun) =
            (folder.join("disk.so"), folder.join(format!("disk-{}.so", std::process::id())));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/disk.c");
        let mut cc = Command::new("cc");
        let built =
            cc.args(["-shared", "-fPIC", "-o"]).args([&begun, &source]).arg("-ldl").status();
        assert!(built.unwrap().success(), "{} can't be built", source.display());
        std::fs::rename(begun, &library).unwrap();
        library
    })
}

/// Gives a command a disk that is full after it has written so many bytes.
pub(crate) fn full_after(command: &mut Command, bytes: u64) {
    command.env("LD_PRELOAD", library()).env("DISK_FULL_AFTER", bytes.to_string());
}

/// Gives a command a disk on which each sync takes so many milliseconds longer.
pub(crate) fn slow_by(command: &mut Command, millis: u64) {
    command.env("LD_PRELOAD", library()).env("DISK_SLOW_BY", millis.to_string());
}

/// Makes a command record its calls to the disk in `log`. Its sync number `fails_at` fails.
pub(crate) fn watched(command: &mut Command, log: &Path, fails_at: Option<u64>) {
    command.env("LD_PRELOAD", library()).env("DISK_LOG", log);
    if let Some(at) = fails_at {
        command.env("DISK_FAILS_AT", at.to_string());
    }
}

impl DiskCalls {
    /// Reads the lines of `log`; none if there is no such file.
    pub(crate) fn read(log: &Path) -> Self {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let line = |line: &str| {
            line.split_once(' ').map(|(call, path)| (call.to_string(), path.to_string())).unwrap()
        };
        DiskCalls(text.lines().map(line).collect())
    }

    /// Returns the path of the failed sync.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.0.iter().find(|(call, _)| call == "failed").map(|(_, path)| path.as_str())
    }

    /// Returns the index of the first `call` on a path that matches.
    pub(crate) fn first(&self, call: &str, is: impl Fn(&str) -> bool) -> Option<usize> {
        self.0.iter().position(|(did, path)| did == call && is(path))
    }

    /// Returns true if a `call` on a matching path followed the failed sync.
    pub(crate) fn after_failure(&self, call: &str, is: impl Fn(&str) -> bool) -> bool {
        self.0
            .iter()
            .skip_while(|(did, _)| did != "failed")
            .any(|(did, path)| did == call && is(path))
    }
}
