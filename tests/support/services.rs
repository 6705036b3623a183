//! Real servers for the tests, which `tests/services/up` starts; where one can't be had, its tests
//! say that they are skipped.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// The process whose tests these are: what they started ends with it.
pub(crate) const UNTIL: &str = "UNTIL";

/// Says that something is not tested here and why, on standard error, past the capture of tests
/// that pass.
pub(crate) fn skipped(why: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The number of the process that `cargo test` has started.
pub(crate) fn runner() -> String {
    std::env::var(UNTIL).unwrap_or_else(|_| std::process::id().to_string())
}

/// Where a service is, by the names that its script prints; `None`, and the reason on standard
/// error, where it can't be had.
pub(crate) fn service(name: &str) -> Option<BTreeMap<String, String>> {
    static KNOWN: Mutex<BTreeMap<String, Option<BTreeMap<String, String>>>> =
        Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    let found = known.entry(name.to_string()).or_insert_with(|| {
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
