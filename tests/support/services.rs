//! Real servers for the tests, which `tests/services/up` starts; where one can't be had, its tests say that they are skipped.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// Where a service is, by the names that its script prints; `None`, and the reason on standard error, where it can't be had.
pub(crate) fn service(name: &str) -> Option<BTreeMap<String, String>> {
    static KNOWN: Mutex<BTreeMap<String, Option<BTreeMap<String, String>>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    let found = known.entry(name.to_string()).or_insert_with(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/up");
        let output = Command::new("bash").arg(script).arg(name).output().ok()?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            // Past the capture of tests that pass.
            let _ = writeln!(std::io::stderr(), "skipped: no {name} can be started here: {}", reason.trim());
            return None;
        }
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(lines.lines().filter_map(|line| line.split_once('=')).map(|(n, v)| (n.to_string(), v.to_string())).collect())
    });
    found.clone()
}
