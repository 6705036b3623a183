//! The commands `run`, `generate` and `describe`: topics bound to archives and Delta tables, and
//! what is shown meanwhile.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use watershed::connect::Source;
use watershed::connectors::archive::{Archive, HybridSource};
use watershed::connectors::delta::Delta;
#[cfg(feature = "kafka")]
use watershed::connectors::kafka::Kafka;
#[cfg(feature = "kinesis")]
use watershed::connectors::kinesis::Kinesis;
use watershed::runtime::{Config, Progress, Stop, Streams, Summary};
use watershed::store::Store;
use watershed::{Error, Result};

use crate::answers::{self, Format, Lake};
use crate::missing::missing;
use crate::{BindArgs, RunArgs, generate as generator, print, topology};

/// Where the archive is unless told.
pub(crate) const ARCHIVE: &str = "data/archive";
/// The streams, and the tables of their rows.
pub(crate) const KINDS: [(&str, &str); 3] =
    [("pin", "pin_table"), ("geo", "geo_table"), ("user", "user_table")];

/// Runs the pipeline to the end of what is there, or until it is stopped, and prints answers and
/// summary.
pub(crate) fn run(args: RunArgs, out: &mut dyn Write) -> Result<()> {
    if args.bind.from.is_empty() && !Path::new(ARCHIVE).join("topics").exists() {
        let options =
            generator::Options { user_id: args.bind.user_id.clone(), ..Default::default() };
        generate(&options, out)?;
    }
    let (lake, sources) = (args.bind.lake(), sources(&args.bind)?);
    let missing = missing(&args.bind)?;
    // What a state knows of a topic is asked when the run begins.
    let waited_for = args.follow
        || !missing.is_empty() && !Store::open(&lake.state)?.list("manifest")?.is_empty();
    for error in missing {
        if !waited_for {
            return Err(error);
        }
        tracing::warn!("{error}");
    }
    let mut streams = Streams::new(topology::topology(&args.bind.bounds()));
    for (kind, topics) in KINDS.iter().zip(sources) {
        streams = topics.into_iter().fold(streams, |streams, topic| streams.source(kind.0, topic));
    }
    for table in Lake::topics() {
        streams = streams.sink(table, Delta::table(&lake.table(table))?);
    }
    let bar = Bar::new();
    let mut config = Config {
        state: Some(Store::open(&lake.state)?),
        follow: args.follow,
        commit_every: args.commit_every,
        stop: stop_at_signals("once what is read is committed")?,
        progress: Some(bar.watch(args.follow)),
        ..Config::default()
    };
    if let Some(workers) = args.workers {
        config.workers = workers.into();
    }
    let summary = streams.run(config);
    bar.clear();
    let summary = summary?;
    answers::answers(None, &lake, Format::Table, None, out)?;
    print(out, &summarise(&summary))
}

/// Writes a look-alike archive.
pub(crate) fn generate(options: &generator::Options, out: &mut dyn Write) -> Result<()> {
    let bar = Bar::new();
    bar.0.set_length(options.events);
    let to = options.to.display().to_string();
    bar.0.set_style(style("generating {wide_bar} {human_pos} events  {elapsed}"));
    let summary = generator::generate(options, &mut |events| bar.0.set_position(events));
    bar.clear();
    let summary = summary?;
    let records = HumanCount(summary.records.iter().sum());
    let (events, objects, bytes) =
        (HumanCount(options.events), HumanCount(summary.objects), HumanBytes(summary.bytes));
    print(
        out,
        &format!(
            "generated {events} events in {to}: {records} records in {objects} objects, {bytes}\n\n"
        ),
    )
}

/// Prints the topology and what it is bound to.
pub(crate) fn describe(bind: &BindArgs, out: &mut dyn Write) -> Result<()> {
    let mut text = topology::topology(&bind.bounds()).describe();
    for ((kind, _), sources) in KINDS.iter().zip(sources(bind)?) {
        sources.iter().for_each(|source| text += &format!("  {kind} <- {}\n", source.describe()));
    }
    let lake = bind.lake();
    for url in [lake.table(""), lake.state.clone()] {
        held(&url)?;
    }
    for table in Lake::topics() {
        text += &format!("  {table} -> delta {}\n", lake.table(table));
    }
    text += &format!("  state -> {}\n", lake.state);
    print(out, &text)
}

/// What each stream is bound to, in order.
pub(crate) fn sources(bind: &BindArgs) -> Result<[Vec<Box<dyn Source>>; 3]> {
    let mut sources: [Vec<Box<dyn Source>>; 3] = Default::default();
    let mut archived = false;
    for url in bind.urls() {
        let logs = logs(url, &bind.user_id)?;
        let goes_on = archived && !bind.apart && url.starts_with("kafka://");
        archived = is_archive(url);
        for ((kind, _), sources) in KINDS.iter().zip(&mut sources) {
            let log = logs(kind)?;
            let before = if goes_on { sources.pop() } else { None };
            sources.push(match before {
                Some(archive) => Box::new(HybridSource::new(archive, log)),
                None => log,
            });
        }
    }
    Ok(sources)
}

pub(crate) fn is_archive(url: &str) -> bool {
    matches!(url.split_once("://"), None | Some(("file" | "s3", _)))
}

/// The log of each kind of records, in one place.
pub(crate) type Logs = Box<dyn Fn(&str) -> Result<Box<dyn Source>>>;

/// The logs of a user in what `url` names.
pub(crate) fn logs(url: &str, user: &str) -> Result<Logs> {
    let topic = format!("{user}.");
    match url.split_once("://") {
        #[cfg(feature = "kafka")]
        Some(("kafka", _)) => {
            let kafka = Kafka::open(url)?;
            Ok(Box::new(move |kind| {
                let topic = format!("{topic}{kind}");
                Ok(Box::new(kafka.topic(&topic)?.watched_as(&format!("watershed-{topic}"))))
            }))
        }
        #[cfg(feature = "kinesis")]
        Some(("kinesis", _)) => {
            let (kinesis, stream) = (Kinesis::open(url)?, format!("streaming-{user}-"));
            Ok(Box::new(move |kind| Ok(Box::new(kinesis.stream(format!("{stream}{kind}"))))))
        }
        None | Some(("file" | "s3", _)) => {
            let archive = archive(url)?;
            Ok(Box::new(move |kind| Ok(Box::new(archive.topic(format!("{topic}{kind}"))))))
        }
        Some((scheme, _)) => Err(Error::config(format!("can't read {scheme}:// URLs: there is no source of that kind"))
            .hint("Give an archive: a folder, as a path or a file:// URL, or s3://bucket/prefix; or kafka://host:port or kinesis://region, if the program is built with that feature.")),
    }
}

pub(crate) fn archive(url: &str) -> Result<Archive> {
    let store = Store::open(url)?;
    let there = match store.folder() {
        Some(folder) => folder.join("topics").try_exists().map_err(|e| {
            Error::connect(format!("can't read {}", store.name("topics")))
                .because(e)
                .hint("Check that it is there and may be read by this user.")
        })?,
        None => !store.folders("topics")?.is_empty(),
    };
    if !there {
        let to = if store.folder().is_some() { url } else { "FOLDER" };
        return Err(Error::config(format!(
            "there is no archive in {url}: {} is missing",
            store.name("topics")
        ))
        .hint(format!(
            "Give another --from, or make an archive with `pinterest generate --to {to}`."
        )));
    }
    Archive::open(url)
}

/// Refuses what is no place for tables, without asking whether it is there.
fn held(url: &str) -> Result<()> {
    if is_archive(url) && !url.split('/').nth(2).is_some_and(|bucket| bucket.contains('@')) {
        return Ok(());
    }
    Store::open(url).map(|_| ())
}

/// What to call the `url` of an argument that is refused: it might hold a secret.
pub(crate) fn plainly(url: &str) -> String {
    url.split_once("://")
        .map_or_else(|| url.to_string(), |(scheme, _)| format!("a {scheme}:// URL"))
}

/// SIGINT and SIGTERM end the run in good order, which is then `said`; a second one ends it at
/// once, and the next run continues.
pub(crate) fn stop_at_signals(said: &'static str) -> Result<Stop> {
    let stop = Stop::default();
    let told = stop.clone();
    at_signals(said, move || told.stop())?;
    Ok(stop)
}

/// Calls `first` at the first SIGINT or SIGTERM, and ends the process at the second.
pub(crate) fn at_signals(said: &'static str, first: impl FnOnce() + Send + 'static) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e: std::io::Error| Error::internal("can't listen to signals").because(e);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let _entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    drop(_entered);
    // A thread of its own: whatever the others wait for, the second is heard.
    let listen = move || {
        runtime.block_on(async move {
            let mut first = Some(first);
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                let Some(first) = first.take() else { std::process::exit(130) };
                crate::say(format_args!("pinterest: ending, {said}; once more ends at once"));
                first();
            }
        });
    };
    std::thread::Builder::new()
        .spawn(listen)
        .map_err(|e| Error::no_thread("a thread for signals", e))?;
    Ok(())
}

/// The progress bar, on a terminal only.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        Bar(ProgressBar::new(0))
    }

    /// Shows how it goes with what has no known end.
    pub(crate) fn tell(&self, text: String) {
        self.0.set_style(style("{spinner} {msg}  {elapsed}"));
        self.0.set_message(text);
        self.0.tick();
    }

    fn watch(&self, follow: bool) -> Box<dyn FnMut(&Progress) + Send> {
        let bar = self.0.clone();
        let replay = style("{prefix} {wide_bar} {percent:>3}%  {msg}");
        let live = style("{spinner} {prefix}  {msg}");
        Box::new(move |now: &Progress| {
            let caught_up = follow && now.remaining == 0 && !now.recovering;
            bar.set_style(if caught_up { live.clone() } else { replay.clone() });
            bar.set_length(now.bytes + now.remaining);
            bar.set_position(now.bytes);
            bar.set_prefix(if now.recovering {
                "recovering"
            } else if caught_up {
                "following"
            } else {
                "replaying"
            });
            let seconds = now.elapsed.as_secs_f64().max(0.001);
            let (records, rate) =
                (HumanCount(now.records), HumanCount((now.records as f64 / seconds) as u64));
            let megabytes = now.bytes as f64 / seconds / 1e6;
            bar.set_message(format!(
                "{records} records, {rate}/s, {megabytes:.0} MB/s, commit {}, on: {}",
                now.committed, now.holds
            ));
        })
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What became of every record, and how long it took.
fn summarise(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header([
        "topic",
        "read",
        "applied",
        "duplicates",
        "superseded",
        "dead letters",
        "rows now",
        "replaced",
    ]);
    for (topic, t) in &summary.topics {
        let counts = [t.read, t.applied, t.duplicates, t.superseded, t.dead, t.rows, t.replaced]
            .map(|n| HumanCount(n).to_string());
        table.add_row([topic.clone()].into_iter().chain(counts));
    }
    table
        .column_iter_mut()
        .skip(1)
        .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let gauges: String =
        summary.gauges.iter().map(|(what, n)| format!("{} {what}\n", HumanCount(*n))).collect();
    let read: u64 = summary.topics.values().map(|t| t.read).sum();
    let (new, seconds) = (read.saturating_sub(summary.recovered), summary.elapsed.as_secs_f64());
    let again = match summary.recovered {
        0 => String::new(),
        n => format!(", after {} that were read again", HumanCount(n)),
    };
    let took = if summary.elapsed < Duration::from_secs(120) {
        format!("{seconds:.1} s")
    } else {
        HumanDuration(summary.elapsed).to_string()
    };
    format!(
        "{table}\n\n{gauges}\n{} new records{again} in {took}, commit {}\n",
        HumanCount(new),
        summary.committed
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};
    use watershed::runtime::Holds;

    use super::*;

    /// A terminal of 120 columns that keeps what was last written.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _n: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _n: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _n: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _n: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            if !text.trim().is_empty() {
                *self.0.lock().unwrap() = text.trim_end().to_string();
            }
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_says_how_far_how_fast_and_what_everything_waits_for() {
        let screen = Screen::default();
        let bar = Bar(ProgressBar::with_draw_target(
            Some(0),
            ProgressDrawTarget::term_like(Box::new(screen.clone())),
        ));
        let mut watch = bar.watch(true);
        let mut now = Progress {
            records: 12_000,
            bytes: 3_000_000,
            remaining: 9_000_000,
            elapsed: Duration::from_secs(2),
            recovering: true,
            committed: 7,
            holds: Holds::State,
        };
        let mut said = |now: &Progress| {
            watch(now);
            screen.0.lock().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let (rate, at) = ("12,000 records, 6,000/s, 2 MB/s, commit 7, on:", |said: String| {
            let bar = |c: char| matches!(c, '\u{2588}' | '\u{2591}');
            said.split(bar)
                .filter(|part| !part.is_empty())
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        });
        assert_eq!(at(said(&now)), format!("recovering 25% {rate} state"));
        now = Progress { recovering: false, holds: Holds::Partition("pin".into(), 2), ..now };
        assert_eq!(at(said(&now)), format!("replaying 25% {rate} pin, partition 2"));
        now = Progress { remaining: 0, holds: Holds::Records, ..now };
        let following = said(&now);
        assert!(following.ends_with(&format!(" following {rate} new records")), "{following}");
        bar.clear();
    }
}
