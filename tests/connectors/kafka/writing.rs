//! A commit to Kafka becomes visible whole and once, even if runs crash or overlap.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value as Json;
use watershed::connect::{Committer, Mode, Recovered, Schema, Sink, SinkContext, Writer};
use watershed::row::{Column, ColumnType, Value};
use watershed::store::Store;
use watershed::{ErrorKind, Result};

use super::reading::{send, transaction};
use super::{Cluster, Records, cluster};
use crate::support::until;

pub(super) fn schema(mode: Mode) -> Schema {
    let types = [("id", ColumnType::Long), ("text", ColumnType::Text)];
    let columns =
        types.map(|(name, ty)| Column { name: name.into(), ty, nullable: false }).to_vec();
    Schema {
        topic: "logical".into(),
        columns,
        key: if mode == Mode::Snapshot { 1 } else { 0 },
        mode,
    }
}

/// A topic with its state, for runs that write to it.
pub(super) struct SinkTopic {
    pub(super) cluster: &'static Cluster,
    pub(super) topic: String,
    state: tempfile::TempDir,
    mode: Mode,
    /// The time in milliseconds.
    pub(super) now: Arc<AtomicI64>,
}

impl SinkTopic {
    pub(super) fn new(cluster: &'static Cluster, mode: Mode) -> Self {
        SinkTopic {
            cluster,
            topic: cluster.topic(1),
            state: tempfile::tempdir().unwrap(),
            mode,
            now: Arc::default(),
        }
    }

    pub(super) fn context(&self, generation: u64, committed: u64) -> SinkContext {
        let staging = Some(Store::open(self.state.path().to_str().unwrap()).unwrap());
        let now = self.now.clone();
        let clock = Arc::new(move || now.load(Ordering::Relaxed));
        let secret = watershed::Secret::new([7; 16]);
        SinkContext { app: "app".into(), generation, committed, workers: 1, secret, staging, clock }
    }

    /// Starts a run: makes the last commit visible, and recovers `rows`.
    pub(super) fn start(
        &self,
        generation: u64,
        committed: u64,
        last: Option<&Json>,
        rows: &[(i64, &str)],
    ) -> Run {
        self.try_start(generation, committed, last, rows).unwrap()
    }

    pub(super) fn try_start(
        &self,
        generation: u64,
        committed: u64,
        last: Option<&Json>,
        rows: &[(i64, &str)],
    ) -> Result<Run> {
        let (sink, context) = (self.cluster.open(&self.topic), self.context(generation, committed));
        sink.check(&schema(self.mode), &context)?;
        let schema = schema(self.mode);
        let mut committer = sink.open(&schema, &context)?;
        if let Some(content) = last {
            committer.commit(committed, content)?;
        }
        let brief = committer.brief()?;
        let mut recovery = sink.writers(&schema, &context, &brief, 0..1)?.remove(0);
        for (slot, row) in slots(rows) {
            recovery.insert(slot, &row)?;
        }
        let Recovered { writer, found } = recovery.finish()?;
        committer.recovered(found)?;
        Ok(Run { writer, committer })
    }

    pub(super) fn read(&self) -> Vec<String> {
        let records: Records = self.cluster.read_now(&self.topic, 0);
        let text = |bytes: Option<Vec<u8>>| {
            bytes.map_or("-".to_string(), |bytes| String::from_utf8(bytes).unwrap())
        };
        records
            .into_iter()
            .map(|(_, key, value)| format!("{} {}", text(key), text(value)))
            .collect()
    }

    /// Writes two records and the number `n` in a transaction, and leaves it open.
    fn leave_open_transaction(&self, n: i64) -> BaseProducer {
        let id = format!("app/{}", self.topic);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.cluster.at["KAFKA_PLAIN"]);
        let group: BaseConsumer = config.clone().set("group.id", &id).create().unwrap();
        let producer: BaseProducer = config.set("transactional.id", &id).create().unwrap();
        producer.init_transactions(Duration::from_secs(30)).unwrap();
        producer.begin_transaction().unwrap();
        for half in ["half", "more"] {
            let record = BaseRecord::<str, str>::to(&self.topic).partition(0).payload(half);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.topic, 0, Offset::Offset(n)).unwrap();
        let group = group.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&offsets, &group, Duration::from_secs(30)).unwrap();
        producer
    }
}

/// A run of one worker.
pub(super) struct Run {
    pub(super) writer: Box<dyn Writer>,
    pub(super) committer: Box<dyn Committer>,
}

fn slots(rows: &[(i64, &str)]) -> impl Iterator<Item = (u32, Vec<Value>)> {
    let row = |(id, text): &(i64, &str)| vec![Value::Long(*id), Value::Text((*text).to_string())];
    (0..).zip(rows.iter().map(row))
}

pub(super) fn put(run: &mut Run, rows: &[(i64, &str)]) {
    slots(rows).for_each(|(slot, row)| run.writer.insert(slot, &row).unwrap());
}

pub(super) fn stage(opened: &mut Run, n: u64) -> Json {
    let parts = opened.writer.stage().unwrap().into_iter().collect();
    opened.committer.stage(n, parts).unwrap().unwrap()
}

pub(super) fn commit(opened: &mut Run, n: u64) {
    let content = stage(opened, n);
    opened.committer.commit(n, &content).unwrap();
}

#[test]
fn a_row_is_written_as_json_and_deleted_by_a_tombstone() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Snapshot);
    let mut run = place.start(1, 0, None, &[]);
    put(&mut run, &[(7, "a \"quoted\"\nline"), (8, "b")]);
    commit(&mut run, 1);
    run.writer.remove(0);
    commit(&mut run, 2);
    let expected = [
        r#"{"id":7} {"id":7,"text":"a \"quoted\"\nline"}"#,
        r#"{"id":8} {"id":8,"text":"b"}"#,
        r#"{"id":7} -"#,
    ];
    assert_eq!(place.read(), expected);
}

#[test]
fn rows_of_a_stream_have_no_keys() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Append);
    let mut run = place.start(1, 0, None, &[]);
    put(&mut run, &[(1, "same"), (1, "same")]);
    commit(&mut run, 1);
    assert_eq!(place.read(), [r#"- {"id":1,"text":"same"}"#; 2]);
}

#[test]
fn a_commit_ends_when_readers_see_it() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Append);
    let mut run = place.start(1, 0, None, &[]);
    // Until this transaction has ended, it hides the commit behind it.
    let other = transaction(cluster, &cluster.unique());
    send(&other, &place.topic, 0..1);
    put(&mut run, &[(1, "row")]);
    let content = stage(&mut run, 1);
    let committer = &mut run.committer;
    let end = thread::scope(|scope| {
        let committing = scope.spawn(|| {
            committer.commit(1, &content).unwrap();
            cluster.stable_end(&place.topic, 0)
        });
        // The record of the other transaction, the row, and the marker of the commit.
        until("the marker of the commit", || cluster.end(&place.topic, 0) == 3);
        other.abort_transaction(Duration::from_secs(30)).unwrap();
        committing.join().unwrap()
    });
    assert!(end >= 3, "the commit has ended before offset {end} was visible");
    assert_eq!(place.read().len(), 1);
}

#[test]
fn a_commit_behind_an_open_transaction_ends_nevertheless() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Append);
    let mut run = place.start(1, 0, None, &[]);
    let other = transaction(cluster, &cluster.unique());
    send(&other, &place.topic, 0..1);
    put(&mut run, &[(1, "row")]);
    commit(&mut run, 1);
    assert_eq!(place.read().len(), 0);
    other.abort_transaction(Duration::from_secs(30)).unwrap();
    cluster.settle(&place.topic, 0);
    assert_eq!(place.read(), [r#"- {"id":1,"text":"row"}"#]);
}

#[test]
fn an_open_transaction_of_a_dead_run_is_aborted() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Append);
    let mut first = place.start(1, 0, None, &[]);
    put(&mut first, &[(1, "one")]);
    let content = stage(&mut first, 1);
    let dead = place.leave_open_transaction(1);
    // The records and the number of the dead run are at the broker, but not visible.
    assert_eq!(cluster.read_now(&place.topic, 0), []);
    cluster.open(&place.topic).check(&schema(Mode::Append), &place.context(2, 1)).unwrap();
    for generation in 2..4 {
        place.start(generation, 1, Some(&content), &[(1, "one")]);
        assert_eq!(place.read(), [r#"- {"id":1,"text":"one"}"#]);
    }
    let error = dead.commit_transaction(Duration::from_secs(30)).unwrap_err();
    let KafkaError::Transaction(code) = &error else { panic!("{error}") };
    let fenced = [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced];
    assert!(fenced.contains(&code.code()), "{error}");
    assert_eq!(place.read().len(), 1);
}

#[test]
fn a_fenced_run_stops_and_changes_nothing() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Append);
    let mut older = place.start(1, 0, None, &[]);
    put(&mut older, &[(1, "one")]);
    commit(&mut older, 1);
    let mut newer = place.start(2, 1, None, &[(1, "one")]);
    put(&mut older, &[(2, "older")]);
    let content = stage(&mut older, 2);
    let error = older.committer.commit(2, &content).unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Superseded, 76), "{error}");
    put(&mut newer, &[(2, "newer")]);
    commit(&mut newer, 2);
    assert_eq!(place.read(), [r#"- {"id":1,"text":"one"}"#, r#"- {"id":2,"text":"newer"}"#]);
}

#[test]
fn a_large_commit_is_staged_in_the_state_until_it_is_made() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Snapshot);
    let mut first = place.start(1, 0, None, &[]);
    let texts: Vec<String> = (0..2000).map(|n| format!("{n:0100}")).collect();
    let rows: Vec<(i64, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
    put(&mut first, &rows);
    let content = stage(&mut first, 1);
    assert!(content.to_string().len() < 500, "the manifest stays small: {content}");
    drop(first);
    // Also stage a commit that is never decided.
    let mut second = place.start(2, 1, Some(&content), &rows);
    assert_eq!(place.read().len(), 2000);
    put(&mut second, &[(0, &"x".repeat(9000))]);
    stage(&mut second, 2);
    drop(second);
    let mut third = place.start(3, 1, Some(&content), &rows);
    put(&mut third, &[(0, "short")]);
    commit(&mut third, 2);
    third.committer.maintain_now().unwrap();
    assert_eq!(place.read().len(), 2001);
    let folders = Store::open(place.state.path().to_str().unwrap()).unwrap();
    let left: Vec<_> = folders
        .folders("")
        .unwrap()
        .iter()
        .flat_map(|folder| folders.list(folder).unwrap())
        .collect();
    // The object that names the owner remains.
    assert!(matches!(&left[..], [(name, _)] if name.ends_with("owner")), "{left:?}");
}

#[test]
fn a_topic_with_foreign_records_is_refused() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Append);
    cluster.append(&place.topic, 0, &[(None, Some(b"someone's"))]);
    let error =
        cluster.open(&place.topic).open(&schema(Mode::Append), &place.context(2, 1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    let missing =
        cluster.open("not-there").open(&schema(Mode::Append), &place.context(1, 0)).err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::Config, "{missing}");
}
