//! Word count from Kafka to Kafka, exactly once.
//!
//! `cargo run --example word_count -- 127.0.0.1:9092 lines counts` reads the lines that the topic
//! `lines` has, and writes the count of each word to the topic `counts`: the key is the word, the
//! value a JSON object. Both topics must exist. Transactions make each count visible once, and the
//! state in `data/word_count` lets the next start continue.
//!
//! ```text
//! 6 words in 2 new lines, 4 different; commit 1
//! ```

use watershed::connectors::kafka::Kafka;
use watershed::prelude::*;

fn topology(builder: &StreamsBuilder<'_>) {
    let lines = builder.stream("lines", Consumed::with(Nullable(Raw), Utf8));
    let words = lines
        .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
    let counts = words.group_by(|_, word| (word.clone(), ())).count();
    counts.materialize(Materialized::named("counts"));
    counts.to("counts", Produced::columns(["word", "count"]));
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, lines, counts, rest @ ..] = args.as_slice() else {
        return Err(Error::config("arguments are needed: BROKERS LINES COUNTS [STATE]"));
    };
    let state = rest.first().map_or("data/word_count", String::as_str);
    let kafka = Kafka::open(&format!("kafka://{brokers}"))?;
    let mut streams = Streams::new(Topology::new("word count", topology))
        .source("lines", kafka.topic(lines)?)
        .sink("counts", kafka.topic(counts)?);
    let store: ReadOnlyStore<String, i64> = streams.store("counts")?;
    let summary = streams.run(Config { state: Some(Store::open(state)?), ..Config::default() })?;

    let view = store.view();
    let words: i64 = view.all().map(|(_, count)| count).sum();
    println!(
        "{words} words in {} new lines, {} different; commit {}",
        summary.topics["lines"].read - summary.recovered,
        view.len(),
        summary.committed
    );
    Ok(())
}
