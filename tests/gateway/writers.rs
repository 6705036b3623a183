//! One archive and several possible writers: one writes at a time, and none replaces an object.

use std::fs;

use futures::executor::block_on;
use watershed::connectors::archive::WriterLock;
use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
use watershed::connectors::archive::{Archive, Rotation};
use watershed::gateway::Append;
use watershed::record::Batch;
use watershed::{ErrorKind, Result};

use super::{append, entry, only, records, slow};

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn an_object_that_is_there_is_never_replaced_by_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), AppendOptions::default()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    // A writer that ignores the lock.
    let object = folder.path().join("topics/t/partition=0/t+0+0000000000.json");
    let thousand = "1\n".repeat(1000);
    fs::write(&object, &thousand).unwrap();
    assert_eq!(append(&log, &["mine".into()]), [0]);
    let error = block_on(log.broken());
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(
        error.to_string().contains("t+0+0000000000.json")
            && error.to_string().contains("holds the acknowledged records"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&object).unwrap(), thousand);
    drop(log);
    // Its record is not taken for the acknowledged record either.
    let error = ArchiveAppender::open(folder.path(), slow()).err().unwrap();
    assert!(
        error.kind() == ErrorKind::Data
            && error.to_string().contains("offset 0 holds another record"),
        "{error}"
    );
    fs::rename(&object, folder.path().join("aside")).unwrap();
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    assert_eq!(records(folder.path(), "t", 0), ["mine"]);
}

#[test]
fn an_object_with_the_same_bytes_is_as_good_as_created() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    fs::write(folder.path().join("topics/t/partition=0/t+0+0000000000.json"), "a\nb\n").unwrap();
    append(&log, &["a".into(), "b".into()]);
    block_on(log.close()).unwrap();
    drop(log);
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    assert_eq!(append(&log, &["c".into()]), [2]);
    drop(log);
    // The state after a kill behind the creation of the object.
    fs::write(folder.path().join("topics/t/partition=0/t+0+0000000002.json"), "c\n").unwrap();
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    assert_eq!(records(folder.path(), "t", 0), ["a", "b", "c"]);
}

#[test]
fn a_gateway_and_a_copy_never_write_one_archive_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { flush_size: 1, rotate_interval: None };
    let copy =
        || Archive::open(folder.path().to_str().unwrap()).unwrap().topic("t").copy(0, rotation);
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    let error = copy().err().unwrap();
    assert!(
        error.kind() == ErrorKind::Connect && error.to_string().contains("a gateway, process"),
        "{error}"
    );
    assert_eq!(kind(WriterLock::exclusive(folder.path(), "generate")), Some(ErrorKind::Connect));
    append(&log, &["acknowledged".into()]);
    drop(log);
    // The state after a kill: no other writer may use the acknowledged offset, and the stale lock
    // blocks nobody.
    fs::write(folder.path().join(".writing"), "a gateway, process 1\n").unwrap();
    let error = copy().err().unwrap();
    assert!(
        error.kind() == ErrorKind::Data && error.to_string().contains("Start the gateway"),
        "{error}"
    );
    assert_eq!(kind(WriterLock::exclusive(folder.path(), "generate")), Some(ErrorKind::Data));
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.close()).unwrap();
    drop(log);
    drop(WriterLock::exclusive(folder.path(), "generate").unwrap());

    let (mut copier, second) = (copy().unwrap(), copy().unwrap());
    assert_eq!(kind(ArchiveAppender::open(folder.path(), slow())), Some(ErrorKind::Connect));
    let mut batch = Batch { partition: 0, first: 1, next: 2, ..Batch::default() };
    batch.push(1, None, None, Some(b"copied"));
    copier.push(&batch).unwrap();
    drop(copier);
    assert_eq!(kind(ArchiveAppender::open(folder.path(), slow())), Some(ErrorKind::Connect));
    drop(second);
    assert_eq!(
        append(&ArchiveAppender::open(folder.path(), slow()).unwrap(), &["next".into()]),
        [2]
    );
    assert_eq!(records(folder.path(), "t", 0), ["acknowledged", "copied"]);
}

#[test]
fn a_killed_idle_log_leaves_an_empty_journal() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), AppendOptions::default()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    block_on(log.append("t", vec![entry("1")])).unwrap();
    let length = || {
        let segments = fs::read_dir(folder.path().join("_gateway/journal")).unwrap().flatten();
        segments
            .filter_map(|segment| segment.metadata().ok())
            .map(|segment| segment.len())
            .sum::<u64>()
    };
    while length() > 40 {
        std::thread::yield_now();
    }
    assert_eq!(
        only(folder.path().join("topics/t/partition=0")).file_name().unwrap(),
        "t+0+0000000000.json"
    );
    assert_eq!(append(&log, &["2".into()]), [1]);
    block_on(log.close()).unwrap();
    assert_eq!(records(folder.path(), "t", 0), ["1", "2"]);
}
