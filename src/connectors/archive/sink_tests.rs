//! Promises of the archive to programs that write to it.

use std::sync::Arc;

use object_store::memory::InMemory;
use serde_json::json;

use super::*;
use crate::connect::{
    Committer, CountRows, FoundRows, Mode, Part, Poll, Recovered, Recovering, Schema, Sink,
    SinkContext, Source, Writer,
};
use crate::error::{Advice, ErrorKind};
use crate::row::{Column, ColumnType, Row, Value};
use crate::secret::Secret;

fn schema(mode: Mode) -> Schema {
    let types = [("n", ColumnType::Long), ("s", ColumnType::Text)];
    let columns = types.map(|(name, ty)| Column { name: name.into(), ty, nullable: true }).to_vec();
    Schema { topic: "out".into(), columns, key: 0, mode }
}

fn context(generation: u64, committed: u64) -> SinkContext {
    let secret = Secret::new([7; 16]);
    SinkContext {
        app: "app-1".into(),
        generation,
        committed,
        workers: 2,
        secret,
        staging: None,
        clock: Arc::new(|| 0),
    }
}

/// A run of two workers.
struct Run {
    writers: Vec<Box<dyn Writer>>,
    committer: Box<dyn Committer>,
}

fn open(topic: &ArchiveTopic, generation: u64, committed: u64) -> Run {
    let (schema, context) = (schema(Mode::Append), context(generation, committed));
    let mut committer = Sink::open(topic, &schema, &context).unwrap();
    let brief = committer.brief().unwrap();
    let writers = topic.writers(&schema, &context, &brief, 0..2).unwrap();
    let (writers, found) = Recovered::of_all(writers).unwrap();
    assert_eq!(found.rows, 0);
    Run { writers, committer }
}

/// Hands `rows` to `worker` and stages commit `n` of them.
fn stage(run: &mut Run, n: u64, worker: usize, rows: &[i64]) -> Option<serde_json::Value> {
    rows.iter().for_each(|row| {
        run.writers[worker].insert(0, &(*row, format!("r{row}"))).unwrap();
    });
    let parts = run.writers.iter_mut().filter_map(|w| w.stage().unwrap()).collect();
    run.committer.stage(n, parts).unwrap()
}

/// The `n` of each row in a partition.
fn rows(topic: &ArchiveTopic, partition: u32) -> Vec<i64> {
    let mut reader = Source::open(topic, partition, None, false).unwrap();
    let mut rows = Vec::new();
    while let Poll::Batch(batch) = reader.poll().unwrap() {
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        rows.extend(
            batch.iter(0).map(|record| value(record.value.unwrap())["n"].as_i64().unwrap()),
        );
    }
    rows
}

/// Runs a test in a folder and in an object store.
fn everywhere(test: impl Fn(Archive)) {
    let folder = tempfile::tempdir().unwrap();
    test(Archive::open(folder.path().to_str().unwrap()).unwrap());
    test(Archive::on(Store::objects(Arc::new(InMemory::new()), "p").unwrap()));
}

#[test]
fn a_commit_is_visible_once_however_often_it_is_made() {
    everywhere(|archive| {
        let topic = archive.topic("a+b");
        let mut run = open(&topic, 1, 0);
        assert_eq!(stage(&mut run, 1, 0, &[]), None);
        let one = stage(&mut run, 2, 0, &[1, 2]).unwrap();
        assert_eq!(rows(&topic, 0), [0; 0]);
        assert_eq!(one[0]["first"], 0);
        let two = stage(&mut run, 3, 0, &[3]).unwrap();
        for _ in 0..3 {
            run.committer.commit(2, &one).unwrap();
            assert_eq!(rows(&topic, 0), [1, 2]);
        }
        run.committer.commit(3, &two).unwrap();
        run.committer.commit(2, &one).unwrap();
        assert_eq!((rows(&topic, 0), rows(&topic, 1)), (vec![1, 2, 3], vec![]));
        let three = stage(&mut run, 4, 1, &[9]).unwrap();
        run.committer.commit(4, &three).unwrap();
        assert_eq!((rows(&topic, 1), topic.ignored_files()), (vec![9], 0));
        assert_eq!(Source::partitions(&topic).unwrap(), [0, 1]);
    });
}

#[test]
fn a_new_run_continues_after_the_commit_and_drops_staged_rows() {
    everywhere(|archive| {
        let topic = archive.topic("t");
        let mut first = open(&topic, 1, 0);
        let one = stage(&mut first, 1, 0, &[1, 2]).unwrap();
        stage(&mut first, 2, 0, &[3]).unwrap();
        // The first run stops between the manifest and the commit.
        let mut second = open(&topic, 2, 1);
        assert_eq!(rows(&topic, 0), [0; 0]);
        second.committer.maintain_now().unwrap();
        second.committer.commit(1, &one).unwrap();
        let two = stage(&mut second, 2, 0, &[4]).unwrap();
        assert_eq!(two[0]["first"], 2);
        // The first run wakes up and stages again, for a commit that is no longer its own.
        stage(&mut first, 2, 0, &[5]).unwrap();
        second.committer.maintain_now().unwrap();
        second.committer.commit(2, &two).unwrap();
        first.committer.commit(1, &one).unwrap();
        assert_eq!(rows(&topic, 0), [1, 2, 4]);
        assert_eq!(archive.store.list("topics/t/_staged").unwrap(), []);
        let mut third = open(&topic, 3, 2);
        third.committer.commit(2, &two).unwrap();
        third.committer.recovered(FoundRows::count(3)).unwrap();
        let error = third.committer.recovered(FoundRows::count(2)).unwrap_err();
        assert_eq!((error.kind(), advises_to_begin_anew(&error)), (ErrorKind::Data, true));
        assert_eq!(stage(&mut third, 3, 0, &[6]).unwrap()[0]["first"], 3);
    });
}

/// Returns true if a program can add its options for a new state and empty tables.
fn advises_to_begin_anew(error: &Error) -> bool {
    let words = |advice| if advice == Advice::BeginAnew { "OPTIONS" } else { "" };
    error.described(words).ends_with(" OPTIONS")
}

#[test]
fn a_commit_unlike_the_recorded_one_is_refused() {
    everywhere(|archive| {
        let topic = archive.topic("t");
        let mut run = open(&topic, 1, 0);
        let one = stage(&mut run, 1, 0, &[1]).unwrap();
        let path = "topics/t/partition=0/t+0+0000000000.json";
        archive.store.put(path, b"foreign\n").unwrap();
        let error = run.committer.commit(1, &one).unwrap_err();
        assert!(error.to_string().contains("holds other records"), "{error}");
        assert!(advises_to_begin_anew(&error), "{error}");
        archive.store.delete(path).unwrap();
        let staged = format!("topics/t/_staged/{}", one[0]["staged"].as_str().unwrap());
        archive.store.put(&staged, b"torn").unwrap();
        assert!(
            run.committer
                .commit(1, &one)
                .unwrap_err()
                .to_string()
                .contains("not as it was written")
        );
        archive.store.delete(&staged).unwrap();
        assert!(run.committer.commit(1, &one).unwrap_err().to_string().contains("is missing"));
        assert!(run.committer.commit(1, &json!({})).unwrap_err().to_string().contains("damaged"));
    });
}

#[test]
fn tables_and_foreign_records_are_refused_unchanged() {
    everywhere(|archive| {
        let refused = |topic: &str, mode, context| {
            Sink::open(&archive.topic(topic), &schema(mode), &context).err().unwrap().kind()
        };
        assert_eq!(refused("t", Mode::Snapshot, context(1, 0)), ErrorKind::Config);
        archive.store.put("topics/foreign/partition=4/foreign+4+0000000000.json", b"{}").unwrap();
        assert_eq!(refused("foreign", Mode::Append, context(1, 0)), ErrorKind::Data);
        assert_eq!(refused("foreign", Mode::Append, context(2, 7)), ErrorKind::Data);
        assert_eq!(archive.store.list("topics/foreign").unwrap(), []);

        let mut run = open(&archive.topic("own"), 1, 0);
        let one = stage(&mut run, 1, 0, &[1]).unwrap();
        let _again_before_the_first_manifest = open(&archive.topic("own"), 2, 0);
        run.committer.commit(1, &one).unwrap();
        assert_eq!(refused("own", Mode::Append, context(3, 0)), ErrorKind::Data);
        assert_eq!(
            refused("own", Mode::Append, SinkContext { app: "app-2".into(), ..context(3, 1) }),
            ErrorKind::Data
        );
    });
}

#[test]
fn only_a_topic_without_records_and_owner_is_reset() {
    everywhere(|archive| {
        let context = |app: &str| SinkContext { app: app.into(), ..context(2, 5) };
        let reset = |topic: &str, app: &str| {
            let (topic, schema) = (archive.topic(topic), schema(Mode::Append));
            topic.check_clear(&schema, &context(app), "app-1")?;
            topic.clear(&schema, &context(app), "app-1")
        };
        reset("t", "app-2").unwrap();
        drop(Sink::open(&archive.topic("t"), &schema(Mode::Append), &context("app-2")).unwrap());
        // A reset that died is repeated.
        reset("t", "app-2").unwrap();
        for app in ["app-3", "app-1"] {
            assert_eq!(reset("t", app).unwrap_err().kind(), ErrorKind::Config);
        }
        let mut run = open(&archive.topic("own"), 1, 0);
        let one = stage(&mut run, 1, 0, &[1]).unwrap();
        run.committer.commit(1, &one).unwrap();
        let error = reset("own", "app-2").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("can't be emptied"), "{error}");
        assert_eq!(rows(&archive.topic("own"), 0), [1]);
    });
}

fn line(columns: &[ColumnType], row: &dyn Row) -> Result<String> {
    let column =
        |(i, ty): (usize, &ColumnType)| Column { name: format!("c\"{i}"), ty: *ty, nullable: true };
    let columns = columns.iter().enumerate().map(column).collect();
    let schema = Arc::new(Schema { columns, ..schema(Mode::Append) });
    let recovering: Box<dyn Recovering> =
        Box::new(CountRows::before(rows::Encoder::new(schema, 7, 3)));
    let Recovered { mut writer, .. } = recovering.finish()?;
    assert!(writer.stage()?.is_none());
    writer.insert(0, row)?;
    let Part { note, files } = writer.stage()?.unwrap();
    let lines: rows::Lines = Part { note, files: Vec::new() }.read()?.0;
    assert_eq!((lines.partition, lines.records, lines.staged), (3, 1, "7-1-3.json".into()));
    assert_eq!((&files[0].name[..], files[0].bytes.len() as u64), ("7-1-3.json", lines.bytes));
    Ok(String::from_utf8(files[0].bytes.iter().collect::<Vec<_>>().concat()).unwrap())
}

#[test]
fn a_row_is_one_line_of_json_with_a_field_for_each_column() {
    use ColumnType::{Binary, Double, Doubles, Long, Text, Timestamp};
    let all = [Long, Double, Text, Timestamp, Doubles, Binary];
    let row = vec![
        Value::Long(i64::MIN),
        Value::Double(0.1),
        Value::Text("a\n\"é".into()),
        Value::Timestamp(1_598_586_767_000_001),
        Value::Doubles(vec![1.0, -2.5]),
        Value::Binary(vec![0, 255]),
    ];
    let expected = [
        r#"{"c\"0":-9223372036854775808,"c\"1":0.1,"c\"2":"a\n\"é","#,
        r#""c\"3":"2020-08-28T03:52:47.000001Z","c\"4":[1.0,-2.5],"c\"5":"AP8="}"#,
        "\n",
    ];
    assert_eq!(line(&all, &row).unwrap(), expected.concat());
    assert_eq!(
        line(&[Long, Text], &vec![Value::Null; 2]).unwrap(),
        "{\"c\\\"0\":null,\"c\\\"1\":null}\n"
    );
    assert_eq!(line(&[], &()).unwrap(), "{}\n");
    assert!(
        line(&[Timestamp], &vec![Value::Timestamp(-1)])
            .unwrap()
            .contains("1969-12-31T23:59:59.999999Z")
    );
}

#[test]
fn a_value_without_a_form_in_json_is_an_error() {
    for row in
        [Value::Double(f64::NAN), Value::Doubles(vec![f64::INFINITY]), Value::Timestamp(i64::MAX)]
    {
        let error = line(&[ColumnType::Double], &vec![row]).unwrap_err();
        assert!(
            error.to_string().starts_with("can't write a row of out as JSON: c\"0 is "),
            "{error}"
        );
    }
    assert!(
        line(&[ColumnType::Long], &(1i64, 2i64))
            .unwrap_err()
            .to_string()
            .contains("2 values for 1 columns")
    );
}

#[test]
fn an_application_and_an_exclusive_writer_keep_apart() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path().to_str().unwrap()).unwrap();
    let alone = WriterLock::exclusive(folder.path(), "generate").unwrap();
    let opened = Sink::open(&archive.topic("a"), &schema(Mode::Append), &context(1, 0));
    assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Connect));
    drop(alone);
    let (first, second) = (open(&archive.topic("a"), 1, 0), open(&archive.topic("b"), 1, 0));
    let refused =
        || WriterLock::exclusive(folder.path(), "generate").err().map(|error| error.kind());
    assert_eq!(refused(), Some(ErrorKind::Connect));
    drop(first);
    assert_eq!(refused(), Some(ErrorKind::Connect));
    drop(second);
    assert_eq!(refused(), None);
}
