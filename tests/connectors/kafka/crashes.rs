//! From Kafka to Kafka, with a process that is killed and started again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::NamedTempFile;
use watershed::connectors::kafka::Kafka;
use watershed::runtime::{Config, Milestone, Streams};
use watershed::store::Store;
use watershed::{StreamsBuilder, Topology};

use super::{Cluster, cluster};
use crate::support::{Dice, pair, stream, until};

/// The arguments of the child: `url topics state follow`.
const CHILD_ARGS: &str = "WATERSHED_TEST_KAFKA_CHILD";

/// Sums by key, and copies every record.
pub(super) fn program() -> Topology {
    Topology::new("program", |builder: &StreamsBuilder<'_>| {
        let events = stream(builder, "events");
        events.to("all", pair());
        events.group_by_key().sum(|v| *v).to("sums", pair());
    })
}

/// The process that is killed: it runs the program, and prints a line for each commit.
#[test]
#[ignore = "is started by the other tests"]
fn the_child() {
    let Ok(args) = std::env::var(CHILD_ARGS) else { return };
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let [url, topic, state, follow] = args.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let kafka = Kafka::with(url, []).unwrap();
    let topic = |kind: &str| kafka.topic(&format!("{topic}.{kind}")).unwrap();
    let config = Config {
        workers: 2,
        state: Some(Store::open(state).unwrap()),
        follow: follow == "follow",
        commit_every: Duration::from_millis(1),
        milestone: Some(Box::new(|milestone| {
            if let Milestone::Committed(records) = milestone {
                println!("committed {records}");
            }
        })),
        ..Config::default()
    };
    let streams = Streams::new(program())
        .source("events", topic("events"))
        .sink("all", topic("all"))
        .sink("sums", topic("sums"));
    streams.run(config).unwrap();
}

/// A run in a process of its own. It ends with its test. If the test fails, its output is printed.
pub(super) struct Run {
    process: Child,
    stderr: NamedTempFile,
}

impl Run {
    pub(super) fn start(cluster: &Cluster, topic: &str, state: &str, follow: &str) -> Self {
        let args = format!("kafka://{} {topic} {state} {follow}", cluster.at["KAFKA_PLAIN"]);
        let stderr = NamedTempFile::new().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "connectors::kafka::crashes::the_child",
            "--ignored",
            "--nocapture",
        ]);
        command.env(CHILD_ARGS, args).stdout(Stdio::piped()).stderr(stderr.reopen().unwrap());
        Run { process: command.spawn().unwrap(), stderr }
    }

    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Runs to the present end of the topic.
    pub(super) fn end(cluster: &Cluster, topic: &str, state: &str) {
        let mut run = Self::start(cluster, topic, state, "end");
        assert!(run.process.wait().unwrap().success());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = self.process.kill();
        if std::thread::panicking() {
            eprintln!(
                "output of the run:\n{}",
                std::fs::read_to_string(&self.stderr).unwrap_or_default()
            );
        }
    }
}

#[test]
fn a_run_killed_many_times_writes_every_row_once() {
    kill_many_times(|_, _| {});
}

#[test]
fn a_run_with_deleted_offsets_writes_every_row_once() {
    kill_many_times(|cluster, topic| {
        let list = || cluster.admin.inner().fetch_group_list(None, Duration::from_secs(30));
        // A broker that has just started loads its groups first.
        until("a list of the groups", || list().is_ok());
        let groups = list().unwrap();
        let own = |group: &&str| {
            group.ends_with(&format!("/{topic}.all")) || group.ends_with(&format!("/{topic}.sums"))
        };
        groups
            .groups()
            .iter()
            .map(|group| group.name())
            .filter(own)
            .for_each(|group| cluster.forget(group));
    });
}

/// Calls `meanwhile` between two runs.
fn kill_many_times(meanwhile: impl Fn(&Cluster, &str)) {
    let Some(cluster) = cluster() else { return };
    let (topic, state) = (cluster.topic(1), tempfile::tempdir().unwrap());
    for kind in ["events", "all", "sums"] {
        assert!(cluster.create(&format!("{topic}.{kind}"), 2));
    }
    let state = state.path().to_str().unwrap();
    let (mut dice, mut sums, mut sent) = (Dice::new(5), BTreeMap::<String, i64>::new(), 0);
    let mut send = |dice: &mut Dice, count: u32| {
        for n in 0..count {
            let (key, value) = (format!("k{}", dice.below(7)), dice.below(100) as i64);
            let text = value.to_string();
            cluster.append(
                &format!("{topic}.events"),
                n % 2,
                &[(Some(key.as_bytes()), Some(text.as_bytes()))],
            );
            *sums.entry(key).or_default() += value;
        }
        sent += count as usize;
    };
    for round in 0..8 {
        send(&mut dice, 20);
        let mut run = Run::start(cluster, &topic, state, "follow");
        let mut lines = BufReader::new(run.process.stdout.take().unwrap()).lines();
        // In some rounds kill at once or during recovery, in most around the next commit.
        for _ in 0..round % 4 {
            let committed =
                lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("committed"));
            assert!(committed, "the child ended by itself");
            send(&mut dice, 5);
        }
        std::thread::park_timeout(Duration::from_millis(dice.below(30)));
        run.kill();
        meanwhile(cluster, &topic);
    }
    Run::end(cluster, &topic, state);
    let read = |kind: &str| -> Vec<_> {
        let topic = format!("{topic}.{kind}");
        (0..2).flat_map(|partition| cluster.read_now(&topic, partition)).collect()
    };
    assert_eq!(read("all").len(), sent);
    let mut visible = BTreeMap::new();
    for (_, key, value) in read("sums") {
        let key: BTreeMap<String, String> = serde_json::from_slice(&key.unwrap()).unwrap();
        match value {
            Some(value) => {
                let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
                visible.insert(key["key"].clone(), value["value"].as_i64().unwrap());
            }
            None => drop(visible.remove(&key["key"])),
        }
    }
    assert_eq!(visible, sums);
    let mut all = BTreeMap::<String, i64>::new();
    for (_, key, value) in read("all") {
        assert_eq!(key, None);
        let value: serde_json::Value = serde_json::from_slice(&value.unwrap()).unwrap();
        *all.entry(value["key"].as_str().unwrap().to_string()).or_default() +=
            value["value"].as_i64().unwrap();
    }
    assert_eq!(all, sums);
}
