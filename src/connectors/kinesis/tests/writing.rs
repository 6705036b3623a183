//! The sink: refused records are put again in order, and repeated rows have the same name.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::super::api::CallErrorKind;
use super::fake::Fake;
use crate::connect::{Committer, Mode, Recovered, Schema, Sink, SinkContext, Writer};
use crate::error::ErrorKind;
use crate::row::{Column, ColumnType, Value};
use crate::secret::Secret;

fn schema(mode: Mode) -> Schema {
    let column = |name: &str, ty| Column { name: name.into(), ty, nullable: true };
    Schema {
        topic: "rows".into(),
        columns: vec![column("key", ColumnType::Text), column("n", ColumnType::Double)],
        key: 1,
        mode,
    }
}

fn context(committed: u64) -> SinkContext {
    let secret = Secret::new([7; 16]);
    SinkContext {
        app: "app".into(),
        generation: 1,
        committed,
        workers: 1,
        secret,
        clock: Arc::new(|| 0),
        staging: None,
    }
}

struct Run {
    writers: Vec<Box<dyn Writer>>,
    committer: Box<dyn Committer>,
}

fn open(fake: &Fake) -> Run {
    let (stream, schema, context) = (fake.stream(), schema(Mode::Append), context(0));
    let mut committer = stream.open(&schema, &context).unwrap();
    let brief = committer.brief().unwrap();
    let writers = stream.writers(&schema, &context, &brief, 0..1).unwrap();
    let (writers, found) = Recovered::of_all(writers).unwrap();
    assert_eq!(found.rows, 0);
    committer.recovered(found).unwrap();
    Run { writers, committer }
}

/// Stages rows in one commit. Returns the content for the manifest.
fn write(opened: &mut Run, n: u64, rows: &[(&str, f64)]) -> Json {
    for (key, number) in rows {
        opened.writers[0]
            .insert(0, &vec![Value::Text((*key).into()), Value::Double(*number)])
            .unwrap();
    }
    let part = opened.writers[0].stage().unwrap().unwrap();
    let content = opened.committer.stage(n, vec![part]).unwrap().unwrap();
    serde_json::from_str(&content.to_string()).unwrap()
}

/// Returns the accepted records, in the order of the calls, as key and number.
fn accepted(fake: &Fake, refused: &[BTreeSet<usize>]) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    for (call, entries) in fake.with(|stream| stream.puts.clone()).into_iter().enumerate() {
        let keys: BTreeSet<&String> = entries.iter().map(|entry| &entry.key).collect();
        assert_eq!(keys.len(), entries.len(), "one record per key and call");
        for (at, entry) in entries.iter().enumerate() {
            if !refused.get(call).is_some_and(|refused| refused.contains(&at)) {
                let row: Json = serde_json::from_slice(&entry.data).unwrap();
                all.push((entry.key.clone(), row["n"].as_f64().unwrap()));
            }
        }
    }
    all
}

#[test]
fn a_refused_record_is_not_overtaken_by_the_next_of_its_key() {
    let fake = Fake::of(1);
    let mut opened = open(&fake);
    let rows: Vec<(&str, f64)> = (0..30).map(|n| (["a", "b", "c"][n % 3], n as f64)).collect();
    let content = write(&mut opened, 1, &rows);
    let refused: Vec<BTreeSet<usize>> =
        vec![[0].into(), [1, 2].into(), [].into(), [0, 1, 2].into(), [2].into()];
    fake.with(|stream| stream.refused = refused.clone().into());
    opened.committer.commit(1, &content).unwrap();
    let accepted = accepted(&fake, &refused);
    for key in ["a", "b", "c"] {
        let of =
            |all: Vec<(String, f64)>| all.into_iter().filter(|(k, _)| k == key).collect::<Vec<_>>();
        assert_eq!(
            of(accepted.clone()),
            of(rows.iter().map(|(k, n)| (k.to_string(), *n)).collect()),
            "of {key}"
        );
    }
}

#[test]
fn many_keys_are_written_in_calls_of_five_hundred() {
    let fake = Fake::of(1);
    let mut opened = open(&fake);
    let keys: Vec<String> = (0..1200).map(|n| format!("key {n}")).collect();
    let rows: Vec<(&str, f64)> = keys.iter().map(|key| (key.as_str(), 1.0)).collect();
    let content = write(&mut opened, 1, &rows);
    opened.committer.commit(1, &content).unwrap();
    assert_eq!(
        fake.with(|stream| stream.puts.iter().map(Vec::len).collect::<Vec<_>>()),
        [500, 500, 200]
    );
}

#[test]
fn repeated_rows_have_the_same_names() {
    let fake = Fake::of(1);
    let mut opened = open(&fake);
    let content = write(&mut opened, 7, &[("a", 1.0), ("a", 1.0)]);
    fake.with(|stream| stream.failures = [CallErrorKind::Transient].into());
    opened.committer.commit(7, &content).unwrap();
    opened.committer.commit(7, &content).unwrap();
    let puts = fake.with(|stream| stream.puts.concat());
    let records: Vec<String> = puts
        .iter()
        .map(|entry| serde_json::from_slice::<Json>(&entry.data).unwrap()["_record"].to_string())
        .collect();
    assert_eq!(records, ["\"app/7/0\"", "\"app/7/1\"", "\"app/7/0\"", "\"app/7/1\""]);
}

#[test]
fn invalid_rows_are_refused_before_they_are_staged() {
    let fake = Fake::of(1);
    let error = fake.stream().open(&schema(Mode::Snapshot), &context(0)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    // `check` reports it before any sink of the run is opened.
    fake.with(|stream| stream.failures = [CallErrorKind::Missing].into());
    let error = fake.stream().check(&schema(Mode::Append), &context(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("no such stream"), "{error}");
    let mut opened = open(&fake);
    let row = |key: &str, n: f64| vec![Value::Text(key.into()), Value::Double(n)];
    assert_eq!(
        opened.writers[0].insert(0, &row("a", f64::NAN)).unwrap_err().kind(),
        ErrorKind::Data
    );
    opened.writers[0].insert(0, &row(&"k".repeat(1 << 20), 1.0)).unwrap();
    let part = opened.writers[0].stage().unwrap().unwrap();
    assert_eq!(opened.committer.stage(1, vec![part]).unwrap_err().kind(), ErrorKind::Data);
    assert!(opened.writers[0].stage().unwrap().is_none(), "no row remains");
    let error = opened.committer.commit(1, &serde_json::json!([7])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[test]
fn partition_keys_are_valid() {
    let fake = Fake::of(1);
    let mut opened = open(&fake);
    let long = "k".repeat(257);
    let content = write(&mut opened, 1, &[("", 0.0), (&long, 1.0), ("short", 2.0)]);
    opened.committer.commit(1, &content).unwrap();
    let keys: Vec<String> =
        fake.with(|stream| stream.puts.concat().into_iter().map(|entry| entry.key).collect());
    assert_eq!(keys[2], "short");
    assert!(keys[..2].iter().all(|key| key.len() == 32) && keys[0] != keys[1], "{keys:?}");
}
