//! A real S3 server for tests. What reaches it is in the environment of a process, as it is when
//! the program is used.

use std::process::Command;

use crate::support::services::{UNTIL, runner, service, skipped};

/// Where a process with a server in its environment finds the bucket.
const BUCKET: &str = "WATERSHED_TEST_S3";

/// The URL of a place of its own in a bucket, if this process has a server in its environment. If
/// not, `test` is run again in a process that has; then there is nothing left to do here, nor where
/// no server can be had.
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
    let said =
        [again.stdout, again.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    said[1].lines().filter_map(|line| line.strip_prefix("skipped: ")).for_each(skipped);
    assert!(
        again.status.success() && said[0].contains("1 passed"),
        "{name} on S3:\n{}\n{}",
        said[0],
        said[1]
    );
    None
}
