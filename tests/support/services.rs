//! Real servers for the tests, started by `tests/services/up`. Where a server can't be started, its
//! tests report that they are skipped.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// The environment variable with the process whose end also ends the started servers.
pub(crate) const UNTIL: &str = "UNTIL";

/// Reports a skipped test on standard error, past the output capture of passing tests.
pub(crate) fn skipped(why: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The id of the process that `cargo test` started.
pub(crate) fn runner() -> String {
    std::env::var(UNTIL).unwrap_or_else(|_| std::process::id().to_string())
}

/// Returns the addresses of a service, by the names that its script prints. Where it can't be
/// started, returns `None` and prints the reason on standard error.
pub(crate) fn service(name: &str) -> Option<BTreeMap<String, String>> {
    static CACHE: Mutex<BTreeMap<String, Option<BTreeMap<String, String>>>> =
        Mutex::new(BTreeMap::new());
    let mut cache = CACHE.lock().unwrap();
    let found = cache.entry(name.to_string()).or_insert_with(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/up");
        let output =
            Command::new("bash").arg(script).arg(name).env(UNTIL, runner()).output().ok()?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            skipped(format_args!("no {name} can be started here: {}", reason.trim()));
            return None;
        }
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(
            lines
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(n, v)| (n.to_string(), v.to_string()))
                .collect(),
        )
    });
    found.clone()
}
