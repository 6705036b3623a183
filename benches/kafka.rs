//! How fast does a word count from Kafka to Kafka go, beside a plain loop?
//!
//! ```text
//! cargo bench --bench kafka                               starts a broker on this machine
//! cargo bench --bench kafka -- --brokers localhost:9092   uses one that runs, and two new topics
//! cargo bench --bench kafka -- --quick                    a few records, as a smoke test
//! ```
//!
//! A line has five words of a few thousand. The plain loop reads each line with librdkafka and
//! writes it to another topic. The word count writes the changed counts of each commit in a
//! transaction, and keeps a state. Both are processes of their own, measured in turn from their
//! start to their end, and the broker is on the same cores.

#[path = "support/report.rs"]
#[expect(dead_code, reason = "other benches use the rest")]
mod report;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use watershed::connectors::kafka::Kafka;
use watershed::prelude::*;

use report::{Report, count, percentile, seconds};

/// The result of everything here.
type Outcome<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PARTITIONS: i32 = 2;
/// Different words.
const WORDS: u64 = 5_000;
/// Longest wait for a broker's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How fast does a word count from Kafka to Kafka go, beside a plain loop?
#[derive(Parser)]
struct Args {
    /// Lines in the topic that is read.
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    records: u64,
    /// Runs of each case; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeat: usize,
    /// Brokers that run, instead of one that is started.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Run everything at a size that only proves that it works.
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench` but not by `cargo test`, which runs the quick sizes.
    #[arg(long, hide = true)]
    bench: bool,
    /// The case, the topic with lines, and the one with results, for a child process.
    #[arg(long, hide = true, num_args = 3)]
    case: Option<Vec<String>>,
}

/// Returns a line of five words. The first words of the list are much more frequent.
fn line(number: u64) -> String {
    let word = |place: u64| {
        // SplitMix64 (prng.di.unimi.it/splitmix64.c)
        let mut random = (number * 5 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32;
        let (a, b) = (random % WORDS, (random >> 16) % WORDS);
        format!("Word{}", a * b / WORDS)
    };
    (0..5).map(word).collect::<Vec<_>>().join(" ")
}

/// Starts a broker, which ends with this process, and returns its address.
fn broker() -> Outcome<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/up");
    let until = std::process::id().to_string();
    let output = Command::new("bash").arg(script).arg("kafka").env("UNTIL", until).output()?;
    let lines = String::from_utf8(output.stdout)?;
    let address = lines.lines().find_map(|line| line.strip_prefix("KAFKA_PLAIN="));
    let error = || String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(address.map(String::from).ok_or_else(error)?)
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn create(brokers: &str, topic: &str) -> Outcome {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create()?;
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = futures::executor::block_on(admin.create_topics(&[new], &AdminOptions::new()))?;
    for result in made {
        result.map_err(|(topic, code)| format!("topic {topic} can't be created: {code}"))?;
    }
    Ok(())
}

fn producer(brokers: &str) -> Outcome<BaseProducer> {
    // Large batches and a long queue, for many records a second.
    let mut config = client(brokers);
    config
        .set("acks", "all")
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.messages", "1000000");
    Ok(config.create()?)
}

/// Puts a record into the producer's queue, once there is room.
fn send(producer: &BaseProducer, topic: &str, partition: i32, value: &[u8]) -> Outcome {
    let mut record: BaseRecord<'_, (), [u8]> =
        BaseRecord::to(topic).partition(partition).payload(value);
    while let Err((error, back)) = producer.send(record) {
        if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            return Err(error.into());
        }
        producer.poll(Duration::from_millis(10));
        record = back;
    }
    Ok(())
}

/// Fills the topic that is read.
fn fill(brokers: &str, topic: &str, records: u64) -> Outcome {
    let producer = producer(brokers)?;
    for number in 0..records {
        send(&producer, topic, (number % PARTITIONS as u64) as i32, line(number).as_bytes())?;
        if number % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    Ok(producer.flush(ANSWER_TIMEOUT)?)
}

/// Waits for the next record. A poll may return without one before its time is over.
fn next(consumer: &BaseConsumer) -> Outcome<BorrowedMessage<'_>> {
    let started = Instant::now();
    while started.elapsed() < ANSWER_TIMEOUT {
        if let Some(record) = consumer.poll(ANSWER_TIMEOUT) {
            return Ok(record?);
        }
    }
    Err("no record came in time".into())
}

/// Reads each record and writes it to another topic.
fn copy(brokers: &str, from: &str, to: &str, records: u64) -> Outcome {
    // By default a client whose queue was full fetches nothing for a second.
    let mut config = client(brokers);
    config.set("group.id", "bench").set("fetch.queue.backoff.ms", "5");
    let consumer: BaseConsumer = config.create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(from, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let producer: BaseProducer<DefaultProducerContext> = producer(brokers)?;
    for number in 0..records {
        let record = next(&consumer)?;
        send(&producer, to, record.partition(), record.payload().unwrap_or_default())?;
        if number % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    Ok(producer.flush(ANSWER_TIMEOUT)?)
}

fn topology(builder: &StreamsBuilder<'_>) {
    let lines = builder.stream("lines", Consumed::with(Nullable(Raw), Utf8));
    let words = lines
        .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
    let counts = words.group_by(|_, word| (word.clone(), ())).count();
    counts.to("counts", Produced::columns(["word", "count"]));
}

/// Counts the words of all records.
fn word_count(brokers: &str, from: &str, to: &str, records: u64) -> Outcome {
    let (kafka, state) = (Kafka::open(&format!("kafka://{brokers}"))?, tempfile::tempdir()?);
    let summary = Streams::new(Topology::new("word count", topology))
        .source("lines", kafka.topic(from)?)
        .sink("counts", kafka.topic(to)?)
        .run(Config {
            state: Some(Store::open(&state.path().to_string_lossy())?),
            workers: 2,
            ..Config::default()
        })?;
    match summary.topics["lines"].read == records {
        true => Ok(()),
        false => Err("the word count has read another number of lines".into()),
    }
}

fn main() -> Outcome {
    let mut args = Args::parse();
    if args.quick || !args.bench {
        (args.records, args.repeat) = (20_000, 1);
    }
    let brokers = match args.brokers.take() {
        Some(brokers) => brokers,
        None => broker()?,
    };
    if let Some([name, from, to]) = args.case.as_deref() {
        return match name.as_str() {
            "loop" => copy(&brokers, from, to, args.records),
            _ => word_count(&brokers, from, to, args.records),
        };
    }
    let prefix = format!("bench-{}", std::process::id());
    let lines = format!("{prefix}-lines");
    create(&brokers, &lines)?;
    eprintln!("kafka: {} lines", count(args.records));
    fill(&brokers, &lines, args.records)?;
    let names = ["loop", "word count"];
    let mut found: [Vec<f64>; 2] = Default::default();
    for round in 1..=args.repeat {
        for (name, found) in names.iter().zip(&mut found) {
            eprintln!("kafka: {name}, round {round} of {}", args.repeat);
            let to = format!("{prefix}-{}-{round}", name.replace(' ', "-"));
            create(&brokers, &to)?;
            let started = Instant::now();
            let status = Command::new(std::env::current_exe()?)
                .args(["--bench", "--brokers", &brokers, "--records", &args.records.to_string()])
                .args(["--case", name, &lines, &to])
                .status()?;
            if !status.success() {
                return Err(format!("{name} has failed").into());
            }
            found.push(started.elapsed().as_secs_f64());
        }
    }
    let mut report = Report::default();
    report.question("kafka: how fast is a word count beside a plain loop?");
    let row = |(name, times): (&&str, &Vec<f64>)| {
        let median = percentile(times, 0.5);
        [(*name).into(), seconds(median), count((args.records as f64 / median) as u64)]
    };
    report.table(["case", "time", "lines/s"], names.iter().zip(&found).map(row));
    let [plain, words] = &found;
    let ratios: Vec<f64> = plain.iter().zip(words).map(|(plain, words)| plain / words).collect();
    report.at_least("lines/s of the word count / of the loop", percentile(&ratios, 0.5), 0.6, "x");
    Ok(())
}
