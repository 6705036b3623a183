//! `wordcount`: the smallest complete program. It reads lines from standard input, and writes the
//! counts of their words to standard output.
//!
//! ```text
//! $ echo "to be or not to be" | wordcount
//! ```

use std::io::BufRead;
use std::process::ExitCode;

use watershed::connect::memory::MemoryLog;
use watershed::connectors::console::Console;
use watershed::options::{Consumed, Produced};
use watershed::runtime::{Config, Streams};
use watershed::serdes::{Nullable, Raw, Utf8};
use watershed::{DEAD_LETTERS, Error, Result, StreamsBuilder, Topology};

fn topology(builder: &StreamsBuilder<'_>) {
    let lines = builder.stream("lines", Consumed::with(Nullable(Raw), Utf8));
    let words = lines
        .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
    words
        .group_by(|_, word| (word.clone(), ()))
        .count()
        .to("counts", Produced::columns(["word", "count"]));
}

fn run() -> Result<()> {
    let log = MemoryLog::default();
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line.map_err(|e| Error::connect("can't read standard input").because(e))?;
        log.append(0, None, Some(&line));
    }
    Streams::new(Topology::new("wordcount", topology))
        .source("lines", log)
        .sink("counts", Console::stdout())
        .sink(DEAD_LETTERS, Console::stdout())
        .run(Config::default())
        .map(|_| ())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
