//! A real S3 server for tests. A process finds the server in its environment, as a user's process
//! does.

use std::process::Command;

use crate::support::services::{UNTIL, runner, service, skipped};

/// The environment variable with the URL of the bucket.
const BUCKET: &str = "WATERSHED_TEST_S3";

/// Returns the URL of an empty place in a bucket, if the environment of this process names a
/// server. Otherwise it returns none, and runs `test` in a child process with such an environment.
/// Where no server can be started, the test is skipped.
pub(crate) fn bucket<F: Fn()>(test: F) -> Option<String> {
    let _ = test;
    if cfg!(not(feature = "s3")) {
        return None;
    }
    if let Ok(bucket) = std::env::var(BUCKET) {
        let unique = tempfile::tempdir().unwrap();
        return Some(format!(
            "{bucket}/{}",
            unique.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.')
        ));
    }
    let (_, name) = std::any::type_name::<F>().split_once("::").unwrap();
    let environment = service("s3")?;
    let again = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .envs(environment)
        .env(UNTIL, runner())
        .output()
        .unwrap();
    let output =
        [again.stdout, again.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    output[1].lines().filter_map(|line| line.strip_prefix("skipped: ")).for_each(skipped);
    assert!(
        again.status.success() && output[0].contains("1 passed"),
        "{name} on S3:\n{}\n{}",
        output[0],
        output[1]
    );
    None
}
