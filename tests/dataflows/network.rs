//! A bad network between the program and real servers: the tables are those of a good network.

use std::fs;
use std::process::{Child, Command};

use watershed::store::Store;

use super::follow::{copy_share, terminate, until};
#[cfg(feature = "kafka")]
use super::kafka::send;
use super::s3::upload;
use super::{Place, assert_same, tables};
#[cfg(feature = "kafka")]
use crate::connectors::kafka::cluster;
use crate::support::bucket::bucket;
use crate::support::proxy::{Proxy, Weather};

/// Returns a command of the program with the proxy as its S3 server, and a request timeout of
/// three seconds, enough for a busy machine.
fn behind(proxy: &Proxy, place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command
        .env("AWS_ENDPOINT_URL", format!("http://{}", proxy.address()))
        .env("AWS_TIMEOUT", "3 seconds");
    command
}

fn server() -> String {
    std::env::var("AWS_ENDPOINT_URL").unwrap().trim_start_matches("http://").to_string()
}

/// Stops a run that follows, which must succeed.
fn finish(child: Child) {
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_on_s3_over_a_bad_network_equals_the_oracle() {
    let Some(url) = bucket(a_run_on_s3_over_a_bad_network_equals_the_oracle) else {
        return;
    };
    let (place, proxy) = (Place::new(), Proxy::to(&server()));
    place.run(&[
        "generate",
        "--to",
        "all",
        "--events",
        "600",
        "--dirt",
        "0.1",
        "--records-per-object",
        "10",
    ]);
    let (archive, lake) = (format!("{url}/archive"), format!("{url}/lake"));
    fs::create_dir(place.path("archive")).unwrap();
    let mut share = 0;
    let mut more = || {
        share += 1;
        copy_share(&place.path("all"), &place.path("archive"), share, 8);
        upload(&place.path("archive"), &archive);
    };
    more();
    let args = ["run", "--from", &archive, "--lake", &lake, "--follow", "--commit-every", "50ms"];
    let child = behind(&proxy, &place, &args).spawn().unwrap();
    let state = Store::open(&format!("{lake}/_watershed")).unwrap();
    let commits = || state.list("manifest").unwrap().len();
    until("the first commit", || commits() > 0);

    let weathers = [Weather::Clear, Weather::Slow, Weather::Silent, Weather::Closed];
    for (bytes, weather) in
        [100, 700, 2_000, 9_000, 30_000, 90_000, 300].into_iter().zip(weathers.iter().cycle())
    {
        let (before, resets, accepted) = (commits(), proxy.resets(), proxy.accepted());
        proxy.reset_after(bytes);
        more();
        until("a reset", || proxy.resets() > resets);
        proxy.set(*weather);
        proxy.cut();
        until("another connection", || proxy.accepted() > accepted + 1);
        proxy.set(Weather::Clear);
        until("another commit", || commits() > before);
    }
    let expected = place.oracle("all", &[]);
    until("all of it", || tables(&lake, None) == expected);
    finish(child);
    assert_same("in the end", &expected, &tables(&lake, None));
    assert!(place.run(&["check", "--from", &archive, "--lake", &lake]).contains("all are equal"));
}

#[cfg(feature = "kafka")]
#[test]
fn a_run_on_kafka_over_a_bad_network_equals_the_oracle() {
    let Some(cluster) = cluster() else { return };
    let Some(proxy) = cluster.behind() else { return };
    let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "600",
        "--dirt",
        "0.2",
        "--records-per-object",
        "50",
    ]);
    let expected = place.oracle("archive", &[]);
    send(cluster, &place, &prefix, 0, 8);
    let url = format!("kafka://{}/{prefix}", proxy.address());
    let child = place.spawn(&[
        "run",
        "--from",
        &url,
        "--lake",
        "lake",
        "--follow",
        "--commit-every",
        "50ms",
    ]);
    until("the first commit", || !place.manifests().is_empty());

    let weathers = [Weather::Clear, Weather::Slow, Weather::Silent, Weather::Closed];
    for (part, weather) in (1..8).zip(weathers.iter().cycle()) {
        let (before, resets, accepted) =
            (place.manifests().len(), proxy.resets(), proxy.accepted());
        proxy.reset_after(100 * part as i64);
        until("a reset", || proxy.resets() > resets);
        proxy.set(*weather);
        send(cluster, &place, &prefix, part, 8);
        proxy.cut();
        until("another connection", || proxy.accepted() > accepted + 1);
        proxy.set(Weather::Clear);
        until("another commit", || place.manifests().len() > before);
    }
    until("all of it", || place.lake("lake", None) == expected);
    finish(child);
    assert_same("in the end", &expected, &place.lake("lake", None));
}

/// A broker whose machine is gone: connections stay open, and no response arrives.
#[cfg(feature = "kafka")]
#[test]
fn only_a_broker_that_is_silent_from_the_start_ends_a_run() {
    let Some(cluster) = cluster() else { return };
    let Some(proxy) = cluster.behind() else { return };
    let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
    place.run(&["generate", "--to", "archive", "--events", "60", "--dirt", "0"]);
    send(cluster, &place, &prefix, 0, 2);
    let url = format!("kafka://{}/{prefix}", proxy.address());
    proxy.set(Weather::Silent);
    let printed = place.fail(&["run", "--from", &url, "--lake", "none"], 69);
    assert!(printed.contains(&prefix) && printed.lines().count() <= 2, "{printed}");
    assert!(!place.path("none").exists());

    proxy.set(Weather::Clear);
    let child = place.spawn(&[
        "run",
        "--from",
        &url,
        "--lake",
        "lake",
        "--follow",
        "--commit-every",
        "50ms",
    ]);
    until("the first commit", || !place.manifests().is_empty());
    proxy.set(Weather::Silent);
    send(cluster, &place, &prefix, 1, 2);
    // A stopping run does not wait for a silent broker.
    finish(child);
    proxy.set(Weather::Clear);
    place.run(&["run", "--from", &url, "--lake", "lake"]);
    assert_same("in the end", &place.oracle("archive", &[]), &place.lake("lake", None));
}
