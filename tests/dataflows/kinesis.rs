//! The program on Kinesis: its tables equal those of an archive with the records of the shards.
//! Also with an archive before the streams.

use std::fs;

use super::crash::{following, killed_again_and_again};
use super::follow::{copy_share, follows_to};
use super::{Place, assert_same};
use crate::connectors::kinesis::{World, server};

const KINDS: [&str; 3] = ["pin", "geo", "user"];
const SHARDS: u32 = 2;
/// The longest value in Kinesis, with room for its key.
const MAX_VALUE_BYTES: usize = 1_000_000;

/// A place with an archive of 600 events, and three empty streams of its user.
fn place(user: &str) -> Option<(Place, String, Vec<World>)> {
    let (mut place, user) = (Place::new(), format!("{user}-{}", std::process::id()));
    let credentials =
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")];
    place.environment = credentials.map(|(name, value)| (name, value.to_string())).into();
    place.environment.push(("AWS_ENDPOINT_URL_KINESIS", server()?));
    place.run(&[
        "generate",
        "--to",
        "all",
        "--user-id",
        &user,
        "--events",
        "600",
        "--dirt",
        "0.2",
        "--records-per-object",
        "20",
    ]);
    let streams =
        KINDS.map(|kind| World::named(format!("streaming-{user}-{kind}"), SHARDS).unwrap());
    Some((place, user, streams.into()))
}

/// Puts part `part` of `of` of the archive into the streams, with one key for each partition.
/// Records that are too long are left out.
fn send(place: &Place, user: &str, streams: &[World], part: usize, of: usize) {
    for (kind, stream) in KINDS.iter().zip(streams) {
        for partition in 0..3 {
            let lines = place.lines("all", &format!("{user}.{kind}"), partition);
            let lines = &lines[lines.len() * part / of..lines.len() * (part + 1) / of];
            let fitting = lines.iter().filter(|line| line.len() < MAX_VALUE_BYTES);
            stream.put(
                &fitting.map(|line| (format!("key-{partition}"), line.clone())).collect::<Vec<_>>(),
            );
        }
    }
}

/// Writes the records of the streams as an archive, each at its offset.
fn archived(place: &Place, user: &str, streams: &[World]) {
    for (kind, stream) in KINDS.iter().zip(streams) {
        for shard in 0..SHARDS {
            let folder = place.path("held").join(format!("topics/{user}.{kind}/partition={shard}"));
            fs::create_dir_all(&folder).unwrap();
            let lines = stream.shard(shard).into_iter().flat_map(|record| [record, b"\n".to_vec()]);
            let first = u64::from(shard) << 42;
            fs::write(
                folder.join(format!("{user}.{kind}+{shard}+{first:010}.json")),
                lines.collect::<Vec<_>>().concat(),
            )
            .unwrap();
        }
    }
}

#[test]
fn a_killed_run_on_kinesis_equals_the_oracle() {
    let Some((place, user, streams)) = place("killed") else { return };
    let args = ["run", "--from", "kinesis://eu-west-1", "--lake", "lake", "--user-id", &user];
    killed_again_and_again(
        8,
        || place.manifests().len(),
        |round| {
            send(&place, &user, &streams, round - 1, 9);
            following(&place, &args, round)
        },
    );
    send(&place, &user, &streams, 8, 9);
    archived(&place, &user, &streams);
    follows_to(&place, &args, &place.oracle("held", &["--user-id", &user]));
    let again = place.run(&args);
    assert!(again.contains("0 new records"), "{again}");
    assert!(place.run(&[&["check"], &args[1..]].concat()).contains("all are equal"));
}

#[test]
fn an_archive_and_kinesis_in_one_run_equal_a_batch_over_both() {
    let Some((place, user, streams)) = place("both") else { return };
    // Archive and streams overlap a lot, so that their order matters.
    copy_share(&place.path("all"), &place.path("history"), 2, 3);
    (1..3).for_each(|part| send(&place, &user, &streams, part, 3));
    archived(&place, &user, &streams);
    let (history, held) = (place.path("history"), place.path("held"));
    let args = [
        "--from",
        "history",
        "--from",
        "kinesis://eu-west-1",
        "--lake",
        "lake",
        "--user-id",
        &user,
    ];
    place.run(&[&["run"], &args[..]].concat());
    let then = |later: &std::path::Path| {
        ["--user-id".into(), user.clone(), "--then".into(), later.display().to_string()]
    };
    let expected = place.oracle("history", &then(&held).each_ref().map(|arg| &**arg));
    assert_same("history, then live", &expected, &place.lake("lake", None));
    assert!(place.run(&[&["check"], &args[..]].concat()).contains("all are equal"));
    let turned = [
        "run",
        "--from",
        "kinesis://eu-west-1",
        "--from",
        "history",
        "--lake",
        "turned",
        "--user-id",
        &user,
    ];
    place.run(&turned);
    let turned = place.oracle("held", &then(&history).each_ref().map(|arg| &**arg));
    assert_same("live, then history", &turned, &place.lake("turned", None));
    assert_ne!(expected["pin_table"], turned["pin_table"], "the order of the two decided nothing");
    assert!(place.run(&[&["describe"], &args[..]].concat()).contains("pin <- kinesis stream"));
}
