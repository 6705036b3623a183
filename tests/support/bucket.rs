//! A real S3 server for tests. What reaches it is in the environment of a process, as it is when the program is used.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Where a process with a server in its environment finds the bucket.
const BUCKET: &str = "WATERSHED_TEST_S3";

/// The URL of a place of its own in a bucket, if this process has a server in its environment. If not, `test` is run again in
/// a process that has; then there is nothing left to do here, nor where no server can be had.
pub(crate) fn bucket<F: Fn()>(test: F) -> Option<String> {
    let _ = test;
    if let Ok(bucket) = std::env::var(BUCKET) {
        let unique = tempfile::tempdir().unwrap();
        return Some(format!("{bucket}/{}", unique.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.')));
    }
    let (_, name) = std::any::type_name::<F>().split_once("::").unwrap();
    match server() {
        Err(why) => eprintln!("skipped: no S3 server can be had: {why}"),
        Ok(environment) => {
            let again = Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact", "--nocapture"])
                .envs(environment)
                .output()
                .unwrap();
            let said = [again.stdout, again.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(again.status.success() && said[0].contains("1 passed"), "{name} on S3:\n{}\n{}", said[0], said[1]);
        }
    }
    None
}

/// What reaches the server of this process, which is started when it is first asked for, and ends with the process.
fn server() -> &'static Result<BTreeMap<String, String>, String> {
    static SERVER: OnceLock<Result<BTreeMap<String, String>, String>> = OnceLock::new();
    SERVER.get_or_init(|| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/s3.sh");
        let mut command = Command::new("bash");
        command.arg(script).arg("start").env("S3_PORT", port.to_string()).env("S3_UNTIL", std::process::id().to_string());
        let started = command.output().unwrap();
        if !started.status.success() {
            return Err(String::from_utf8_lossy(&started.stderr).trim().to_string());
        }
        let said = String::from_utf8(started.stdout).unwrap();
        Ok(said.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect())
    })
}
