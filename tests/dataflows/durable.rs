//! Any failed sync ends the program. A later run relies on files from a failed sync only after it
//! has synced them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Output;

use super::Place;
use super::follow::terminate;
use super::posting::JSON;
use crate::support::disk::{DiskCalls, watched};
use crate::support::http::Client;

/// Runs the program with a failing sync number `fails_at`. Returns its output and its calls to the
/// disk.
fn run(place: &Place, args: &[&str], fails_at: Option<u64>) -> (Output, DiskCalls) {
    let log = place.path("calls");
    let _ = std::fs::remove_file(&log);
    let mut command = place.command(args);
    watched(&mut command, &log, fails_at);
    (command.output().unwrap(), DiskCalls::read(&log))
}

/// Runs `args` in fresh places, with a failing sync number 1, 1 + `step`, …, until a run succeeds.
/// Each failing run must exit with 69. The same command then runs on a sound disk. It must sync
/// the failed path and succeed, or exit with `or` if nothing is left to do.
fn campaign(place: impl Fn() -> Place, args: &[&str], step: usize, or: Option<i32>) -> usize {
    for (failures, at) in (1..).step_by(step).enumerate() {
        let place = place();
        let (output, calls) = run(&place, args, Some(at));
        let printed = String::from_utf8(output.stderr).unwrap();
        let Some(failed) = calls.failed() else {
            assert!(output.status.success(), "sync {at}: {printed}");
            return failures;
        };
        assert_eq!(output.status.code(), Some(69), "sync {at} of {failed}: {printed}");
        assert!(printed.contains("can't sync"), "sync {at} of {failed}: {printed}");
        let (again, later) = run(&place, args, None);
        let printed_again = String::from_utf8(again.stderr).unwrap();
        assert!(
            again.status.success() || again.status.code() == or,
            "after sync {at} of {failed}: {printed_again}"
        );
        if again.status.success() {
            assert_synced(&later, failed);
        }
    }
    unreachable!("there are always more numbers")
}

/// Checks that the path of the failed sync was synced, if it still exists.
fn assert_synced(later: &DiskCalls, failed: &str) {
    let synced = later.first("synced", |path| path == failed).is_some();
    assert!(synced || !Path::new(failed).exists(), "{failed} was never synced");
}

fn with_archive() -> Place {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "8", "--partitions", "1"]);
    place
}

#[test]
fn a_run_ends_at_a_failed_sync_and_the_next_syncs_it() {
    let args = ["run", "--from", "archive", "--lake", "data/lake", "--workers", "1"];
    // Each of the first syncs, which create state and tables, and then some of each commit.
    assert!(campaign(with_archive, &args, 7, None) > 15);
}

#[test]
fn a_failed_sync_publishes_no_generated_archive() {
    let args = [
        "generate",
        "--to",
        "data/archive",
        "--events",
        "6",
        "--records-per-object",
        "3",
        "--partitions",
        "2",
    ];
    assert!(campaign(Place::new, &args, 1, Some(65)) > 10);
    let beside = || {
        let place = Place::new();
        place.run(&["generate", "--to", "data/archive", "--events", "6", "--user-id", "other"]);
        place
    };
    assert!(campaign(beside, &args, 1, Some(65)) > 10);
}

#[test]
fn a_failed_sync_posts_no_events() {
    let args = [
        "emulate",
        "--to",
        "archive",
        "--events",
        "3",
        "--rate",
        "0",
        "--in-flight",
        "1",
        "--rows",
        "10",
    ];
    assert!(campaign(Place::new, &args, 1, None) > 10);
}

/// Starts a gateway, posts `records` one by one, and stops it. Returns the number of acknowledged
/// records, the exit code and the calls to the disk.
fn post(
    place: &Place,
    records: &[String],
    fails_at: Option<u64>,
) -> (usize, Option<i32>, DiskCalls) {
    let log = place.path("calls");
    let _ = std::fs::remove_file(&log);
    let mut command = place.command(&[
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "archive",
        "--object-every",
        "0ms",
    ]);
    watched(&mut command, &log, fails_at);
    let mut child = command.spawn().unwrap();
    let mut acknowledged = 0;
    let (mut screen, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    screen.read_line(&mut line).unwrap();
    // If the disk fails at the start, the gateway prints no address.
    if let Some(listening) = line.strip_prefix("listening on http://") {
        let mut client = Client::connect(listening.split(',').next().unwrap().parse().unwrap());
        for record in records {
            let body = format!(r#"{{"records":[{{"value":"{record}"}}]}}"#);
            match client.ask("POST", "/topics/demo.pin", &[JSON], &body) {
                Ok(reply)
                    if reply.status == 200 && reply.json()["offsets"][0]["offset"].is_u64() =>
                {
                    acknowledged += 1
                }
                _ => break,
            }
        }
        drop(client);
        terminate(&child);
    }
    (acknowledged, child.wait().unwrap().code(), DiskCalls::read(&log))
}

#[test]
fn a_gateway_ends_at_a_failed_sync_and_keeps_its_journal() {
    let records: Vec<String> = (0..4).map(|n| format!("record {n}")).collect();
    let journal = |path: &str| path.contains("_gateway/journal/") && path.ends_with(".log");
    let (mut failures, mut late, mut rounds, mut at) = (0, 0, 0, 0);
    loop {
        at += 1;
        let place = Place::new();
        let (acknowledged, code, calls) = post(&place, &records, Some(at));
        let Some(failed) = calls.failed() else {
            assert_eq!((acknowledged, code), (records.len(), Some(0)), "sync {at}");
            (rounds, at) = (rounds + 1, 0);
            // On a busy machine an archive's folder may have been synced before the failure.
            if late > 0 || rounds == 10 {
                break;
            }
            continue;
        };
        failures += 1;
        assert_eq!(code, Some(69), "sync {at} of {failed}");
        assert!(
            !calls.after_failure("removed", journal),
            "a journal was removed after sync {at} of {failed} had failed"
        );
        let (_, code, later) = post(&place, &[], None);
        assert_eq!(code, Some(0), "after sync {at} of {failed}");
        assert_synced(&later, failed);
        if let Some(removed) = later
            .first("removed", journal)
            .filter(|_| failed.contains("/partition=") && !failed.ends_with(".tmp"))
        {
            let synced = later.first("synced", |path| path == failed).unwrap();
            assert!(synced < removed, "the journal was removed before {failed} was synced");
            late += 1;
        }
        let found = place.lines("archive", "demo.pin", 0);
        let sent: Vec<Vec<u8>> =
            records.iter().map(|record| format!("\"{record}\"").into_bytes()).collect();
        assert!(
            found.len() >= acknowledged && sent.starts_with(&found),
            "sync {at} of {failed}: {acknowledged} of {found:?}"
        );
    }
    assert!(
        failures > 10 && late > 0,
        "{failures} failures, {late} of them of an archive's folder"
    );
}

#[test]
fn without_hard_links_a_run_renames_or_fails_clearly() {
    let (place, args) = (with_archive(), ["run", "--from", "archive", "--lake", "lake"]);
    let without = |kind: &str| {
        let mut command = place.command(&args);
        watched(&mut command, &place.path("calls"), None);
        command.env("DISK_NO_LINKS", kind).output().unwrap()
    };
    let refused = without("2");
    let printed = String::from_utf8(refused.stderr).unwrap();
    assert!(
        refused.status.code() == Some(78)
            && printed.contains("neither hard links")
            && printed.contains("another file system"),
        "{printed}"
    );
    let renamed = without("1");
    assert!(renamed.status.success(), "{}", String::from_utf8_lossy(&renamed.stderr));
    assert!(place.run(&["check", "--from", "archive", "--lake", "lake"]).contains("equal"));
}

#[cfg(feature = "kafka")]
#[test]
fn a_copy_ends_at_a_failed_sync_and_the_next_syncs_it() {
    use crate::connectors::kafka::cluster;

    let Some(cluster) = cluster() else { return };
    let prefix = format!("{}.", cluster.unique());
    for kind in ["pin", "geo", "user"] {
        let topic = format!("{prefix}demo.{kind}");
        assert!(cluster.create(&topic, 1));
        cluster.append(
            &topic,
            0,
            &[(None, Some(b"{\"index\":0}")), (None, Some(b"{\"index\":1}"))],
        );
    }
    let from = cluster.url(&prefix);
    let args = ["archive", "--from", &from, "--to", "data/archive", "--flush-size", "1"];
    assert!(campaign(Place::new, &args, 3, None) > 3);
}
