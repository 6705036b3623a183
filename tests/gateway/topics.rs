//! Damaged folders of topics: the gateway acknowledges nothing that could not reach the archive.

use std::fs;
use std::path::Path;

use futures::executor::block_on;
use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
use watershed::gateway::{Append, Refusal};
use watershed::{Error, ErrorKind};

use super::{append, entry, records, slow};

fn refused(root: &Path) -> Error {
    let error = ArchiveAppender::open(root, slow()).err().unwrap_or_else(|| panic!("it opens"));
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    error
}

#[test]
fn a_topic_without_one_of_its_partitions_is_refused() {
    for (there, missing) in [(&[1u32][..], 0), (&[0, 2], 1), (&[], 0), (&[4_000_000_000], 0)] {
        let folder = tempfile::tempdir().unwrap();
        let topic = folder.path().join("topics/t");
        fs::create_dir_all(&topic).unwrap();
        there.iter().for_each(|p| fs::create_dir(topic.join(format!("partition={p}"))).unwrap());
        let message = refused(folder.path()).to_string();
        assert!(
            message.contains(&format!("no folder partition={missing}"))
                && message.contains("make an empty one"),
            "{message}"
        );
        if there.len() < 2 && !there.contains(&4_000_000_000) {
            fs::create_dir(topic.join("partition=0")).unwrap();
            let log = ArchiveAppender::open(folder.path(), AppendOptions::default()).unwrap();
            append(&log, &["1".into()]);
            block_on(log.close()).unwrap();
        }
    }
}

#[test]
fn a_layout_that_the_gateway_can_not_append_to_is_refused() {
    for strange in ["year=2020/month=08", "partition=007", "partition=x", "partition=0/hour=03"] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("topics/t/partition=0")).unwrap();
        fs::create_dir_all(folder.path().join("topics/t").join(strange)).unwrap();
        refused(folder.path());
    }
    for strange in [
        "t+0+0000000000.json.gz",
        "t+0+7.json",
        "t+0+000000000000.json",
        "t+1+0000000000.json",
        "t+0+0000000000.avro",
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("topics/t/partition=0")).unwrap();
        fs::write(folder.path().join("topics/t/partition=0").join(strange), "1\n").unwrap();
        let message = refused(folder.path()).to_string();
        assert!(message.contains(strange), "{message}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("topics/t/partition=0/.snapshot")).unwrap();
    fs::write(folder.path().join("topics/t/partition=0/README"), "who looks after this").unwrap();
    fs::write(folder.path().join("topics/t/partition=0/.t+0+0000000000.json.1.0.tmp"), "half")
        .unwrap();
    assert_eq!(append(&ArchiveAppender::open(folder.path(), slow()).unwrap(), &["1".into()]), [0]);
    assert_eq!(
        fs::read_dir(folder.path().join("topics/t/partition=0")).unwrap().count(),
        2,
        "half an object is left"
    );
}

#[test]
fn a_partition_or_topic_that_is_gone_after_a_kill_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 2)).unwrap();
    let record =
        |partition| watershed::gateway::NewRecord { partition: Some(partition), ..entry("kept") };
    block_on(log.append("t", vec![record(0), record(1)])).unwrap();
    drop(log);
    for gone in ["topics/t/partition=1", "topics/t", "topics"] {
        fs::rename(folder.path().join(gone), folder.path().join("aside")).unwrap();
        let message = refused(folder.path()).to_string();
        assert!(message.contains("topics/t") && message.contains("is gone"), "{gone}: {message}");
        fs::rename(folder.path().join("aside"), folder.path().join(gone)).unwrap();
    }
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    assert_eq!([0, 1].map(|p| records(folder.path(), "t", p)), [["kept"], ["kept"]]);
}

#[test]
fn a_partition_that_goes_while_it_is_open_ends_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), AppendOptions::default()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    append(&log, &["0".into()]);
    let aside = folder.path().join("aside");
    // Wait until the record is published as an object.
    while fs::read_dir(folder.path().join("topics/t/partition=0"))
        .unwrap()
        .flatten()
        .all(|e| e.path().extension().is_none_or(|e| e != "json"))
    {
        std::thread::yield_now();
    }
    fs::rename(folder.path().join("topics/t/partition=0"), &aside).unwrap();
    append(&log, &["1".into()]);
    let error = block_on(log.broken());
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("is gone"), "{error}");
    assert!(matches!(block_on(log.append("t", vec![entry("2")])), Err(Refusal::Failed(_))));
    assert!(
        block_on(log.close()).is_err(),
        "it ends with an error, because the archive is incomplete"
    );
    drop(log);
    refused(folder.path());
    fs::rename(&aside, folder.path().join("topics/t/partition=0")).unwrap();
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    assert_eq!(records(folder.path(), "t", 0), ["0", "1"]);
}

#[test]
fn a_deleted_topic_stays_deleted_after_any_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (topic, aside) =
        (folder.path().join("topics/t"), folder.path().join("_gateway/deleted/t-1"));
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    append(&log, &["old".into()]);
    block_on(log.delete("t")).unwrap();
    assert_eq!(block_on(log.delete("t")), Err(Refusal::NoTopic));
    drop(log);
    // The state after a kill before the folder was renamed.
    fs::rename(&aside, &topic).unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    assert_eq!(
        (block_on(log.topics()).unwrap().len(), topic.exists(), aside.exists()),
        (0, false, true)
    );
    // A new topic of the same name starts at offset 0, even in the same segment.
    block_on(log.create("t", 1)).unwrap();
    append(&log, &["older".into()]);
    block_on(log.delete("t")).unwrap();
    block_on(log.create("t", 2)).unwrap();
    let record = watershed::gateway::NewRecord { partition: Some(1), ..entry("new") };
    block_on(log.append("t", vec![record])).unwrap();
    drop(log);
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    assert_eq!(block_on(log.partitions("t")).unwrap().len(), 2);
    drop(log);
    assert_eq!(records(folder.path(), "t", 1), ["new"]);
    let set_aside = folder.path().join("_gateway/deleted/t-2/partition=0/t+0+0000000000.json");
    assert_eq!(fs::read_to_string(set_aside).unwrap(), "older\n");
}

#[test]
fn a_killed_creation_leaves_no_topic() {
    let folder = tempfile::tempdir().unwrap();
    // A killed creation made one partition of three.
    fs::create_dir_all(folder.path().join("_gateway/creating/t/partition=0")).unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    assert_eq!(block_on(log.topics()).unwrap().len(), 0);
    block_on(log.create("t", 2)).unwrap();
    assert_eq!(append(&log, &["1".into()]), [0]);
    drop(log);
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    assert_eq!(block_on(log.partitions("t")).unwrap().len(), 2);
}
