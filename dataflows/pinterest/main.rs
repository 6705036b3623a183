//! `pinterest`: the Pinterest data pipeline as one incremental program. Commands and what topics
//! are bound to.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "comments of arguments are pages of help, where <ID> is a place to fill"
)]

mod answers;
mod archive;
mod check;
mod clean;
mod emulate;
mod gateway;
mod generate;
mod help;
mod missing;
mod model;
mod questions;
mod run;
mod streams;
mod topology;
mod upload;
mod veil;

use std::io::{IsTerminal, Write};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use watershed::{Error, ErrorKind, Result};

use answers::{Format, Lake};
use topology::Bounds;

/// Three streams of posts, places and users, cleaned once and kept joined: ten standing answers in
/// Delta tables.
///
/// Without a command it runs: it generates an archive of 11,154 events if there is none, replays
/// it, and prints the answers.
#[derive(Parser)]
#[command(name = "pinterest", version, args_conflicts_with_subcommands = true, after_help = help::ALL)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Read every source to what was there at the start, commit, print the answers; with --follow
    /// go on.
    #[command(after_help = help::RUN)]
    Run(RunArgs),
    /// Write a look-alike archive. The same arguments give the same bytes.
    #[command(after_help = help::GENERATE)]
    Generate(GenerateArgs),
    /// Print one view, or all, from the Delta tables, all at the same commit.
    #[command(after_help = help::ANSWERS)]
    Answers(AnswersArgs),
    /// Compute everything again from the sources by a naive batch program, and compare row by row.
    #[command(after_help = help::CHECK)]
    Check(CheckArgs),
    /// Print the topology and what it is bound to.
    #[command(after_help = help::DESCRIBE)]
    Describe(BindArgs),
    /// Write topics of Kafka into an archive, as Confluent's S3 sink does, each record exactly
    /// once.
    #[command(after_help = help::ARCHIVE)]
    Archive(archive::ArchiveArgs),
    /// Take records by HTTP, as the Confluent REST Proxy and API Gateway before Kinesis do, into an
    /// archive, Kafka or Kinesis.
    #[command(after_help = help::GATEWAY)]
    Gateway(gateway::GatewayArgs),
    /// Post events as the original's users do: rows of three tables, as three records an event.
    #[command(after_help = help::EMULATE)]
    Emulate(emulate::EmulateArgs),
    /// List, create, describe, delete and reshard streams of Kinesis.
    #[command(after_help = help::STREAMS)]
    Streams(streams::StreamsArgs),
}

/// What the topics are bound to.
#[derive(Args, Clone)]
struct BindArgs {
    /// What to read: the folder of an archive, s3://bucket/prefix, or kafka://host:port or
    /// kinesis://region if built with that feature; give it again for more, later ones win. An
    /// archive and a kafka:// right after it are one log: the archive is read as far as it reaches,
    /// and Kafka from the next offset of each partition on [default: data/archive]
    #[arg(long, value_name = "URL")]
    from: Vec<String>,
    /// Read an archive and the kafka:// after it as two logs of which the later one wins
    #[arg(long)]
    apart: bool,
    /// Folder of the Delta tables, or s3://bucket/prefix
    #[arg(long, value_name = "URL", default_value = "data/lake", value_parser = lake)]
    lake: String,
    /// Folder of the manifests that make a run continue [default: <lake>/_watershed]
    #[arg(long, value_name = "URL")]
    state: Option<String>,
    /// Topics are <ID>.pin, <ID>.geo, <ID>.user; streams of Kinesis streaming-<ID>-pin; tables
    /// <ID>_pin_table; and so on
    #[arg(long, value_name = "ID", default_value = "demo", value_parser = user_id)]
    user_id: String,
    /// Look at these years only where posts are counted by year, such as 2018..2022
    #[arg(long, value_name = "A..B", value_parser = years)]
    post_years: Option<RangeInclusive<i64>>,
    /// Look at these years only where users are asked by year of joining
    #[arg(long, value_name = "A..B", value_parser = years)]
    join_years: Option<RangeInclusive<i64>>,
}

#[derive(Args, Clone)]
struct RunArgs {
    #[command(flatten)]
    bind: BindArgs,
    /// Threads that work on the dataflow [default: cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Go on as records are added, until SIGINT or SIGTERM
    #[arg(long)]
    follow: bool,
    /// The least time between two commits, such as 1s or 200ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    commit_every: Duration,
}

#[derive(Args, Clone)]
struct GenerateArgs {
    /// Events to write; each is a pin, a geo and a user
    #[arg(long, value_name = "N", default_value_t = 11_154, value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    events: u64,
    /// Seed of all that is drawn
    #[arg(long, value_name = "S", default_value_t = 100)]
    seed: u64,
    /// Folder to write to, s3://bucket/prefix, or mysql://user@host/database for three tables such
    /// as the original's, without dirt
    #[arg(long, value_name = "URL", default_value = run::ARCHIVE)]
    to: String,
    /// Topics are <ID>.pin, <ID>.geo, <ID>.user
    #[arg(long, value_name = "ID", default_value = "demo", value_parser = user_id)]
    user_id: String,
    /// Records of an object; 1 is how the original archives
    #[arg(long, value_name = "M", default_value_t = 1000)]
    records_per_object: u64,
    /// Partitions of a topic
    #[arg(long, value_name = "P", default_value_t = 3)]
    partitions: u32,
    /// Share of events that get some dirt
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    dirt: f64,
}

#[derive(Args)]
struct AnswersArgs {
    /// The view, or pin_table, geo_table, user_table, dead_letters; all views if none is named
    view: Option<String>,
    /// Folder of the Delta tables
    #[arg(long, value_name = "URL", default_value = "data/lake", value_parser = lake)]
    lake: String,
    /// Folder of the manifests of the run that made them [default: <lake>/_watershed]
    #[arg(long, value_name = "URL")]
    state: Option<String>,
    /// Whose cleaned tables are meant
    #[arg(long, value_name = "ID", default_value = "demo", value_parser = user_id)]
    user_id: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The answers as of this commit
    #[arg(long, value_name = "N")]
    as_of: Option<u64>,
}

#[derive(Args)]
struct CheckArgs {
    #[command(flatten)]
    bind: BindArgs,
}

fn main() -> ExitCode {
    // A dead thread may leave others waiting for it: all end together, and the next run continues.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Libraries panic where the system gives them no thread: that is no bug.
        if let Some(said) = info.payload_as_str()
            && ["failed to spawn thread", "can't spawn worker thread"]
                .iter()
                .any(|part| said.contains(part))
        {
            say(format_args!("pinterest: {}", Error::no_thread("a thread", said)));
            std::process::exit(69);
        }
        print(info);
        std::process::exit(70);
    }));
    // What a library below warns of comes as an error of ours too, or is of no use to people.
    let ours = Targets::new()
        .with_targets(["watershed", "pinterest"].map(|target| (target, tracing::Level::WARN)));
    let colours = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .log_internal_errors(false);
    log.with_target(false).finish().with(ours).init();
    let cli = Cli::try_parse().unwrap_or_else(|error| refused(&error));
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("pinterest: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Ends with the words of `clap`, which repeat what was given: if that holds a password, without
/// it.
fn refused(error: &clap::Error) -> ! {
    let said = error.render().to_string();
    let shown = veil::veiled(&said);
    if shown == said {
        error.exit();
    }
    say(format_args!("{}", shown.trim_end()));
    std::process::exit(error.exit_code())
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let done = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => run::run(args, &mut out),
        Command::Generate(args) => match args.to.clone().split_once("://") {
            Some(("mysql", _)) => emulate::fill(&args.to.clone(), args.seed, args.events, &mut out),
            Some(("s3", _)) => upload::upload(&args.clone().into(), &args.to, &mut out),
            None | Some(("file", _)) => run::generate(&args.into(), &mut out),
            Some(_) => Err(Error::config(format!(
                "can't generate into {}: nothing is written there",
                run::plainly(&args.to)
            ))
            .hint(INTO)),
        },
        Command::Answers(args) => {
            let lake = Lake::new(args.lake, args.user_id, args.state);
            answers::answers(args.view.as_deref(), &lake, args.format, args.as_of, &mut out)
        }
        Command::Describe(bind) => run::describe(&bind, &mut out),
        Command::Archive(args) => archive::archive(&args, &mut out),
        Command::Gateway(args) => gateway::gateway(&args, &mut out),
        Command::Emulate(args) => emulate::emulate(&args, &mut out),
        Command::Streams(args) => streams::streams(&args, &mut out),
        Command::Check(CheckArgs { bind }) => {
            let sources = run::sources(&bind)?;
            missing::missing(&bind)?.iter().for_each(|error| tracing::warn!("{error}"));
            let same = check::check(&sources, &bind.lake(), &bind.bounds(), &mut out);
            return same.map(|same| ExitCode::from(u8::from(!same)));
        }
    };
    // Who closes the pipe early has read enough.
    done.or_else(|e| if broken_pipe(&e) { Ok(()) } else { Err(e) }).map(|()| ExitCode::SUCCESS)
}

fn broken_pipe(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
    cause.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Tells people what stands beside the answers, without passwords. Whoever has closed stderr has
/// read enough: `eprintln` would end the run for it.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{}", veil::veiled(&text.to_string()));
}

/// Writes to the screen.
fn print(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Error::new(ErrorKind::Connect, "can't print").because(e))
}

impl BindArgs {
    fn lake(&self) -> Lake {
        Lake::new(self.lake.clone(), self.user_id.clone(), self.state.clone())
    }

    /// What is read, in order.
    fn urls(&self) -> Vec<&str> {
        if self.from.is_empty() {
            vec![run::ARCHIVE]
        } else {
            self.from.iter().map(String::as_str).collect()
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds { post_years: self.post_years.clone(), join_years: self.join_years.clone() }
    }
}

impl From<GenerateArgs> for generate::Options {
    fn from(args: GenerateArgs) -> Self {
        let GenerateArgs { events, seed, to, user_id, records_per_object, partitions, dirt } = args;
        let to = to.strip_prefix("file://").unwrap_or(&to).into();
        generate::Options { events, seed, to, user_id, records_per_object, partitions, dirt }
    }
}

fn user_id(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
        return Err("letters, digits, '.', '_' and '-', not beginning with '.'".into());
    }
    Ok(text.to_string())
}

/// The name of what holds folders: without one they would be made in the root of the machine.
fn lake(text: &str) -> Result<String, String> {
    if text.is_empty() || text.ends_with("://") {
        return Err("a folder, or s3://bucket/prefix".into());
    }
    Ok(text.to_string())
}

fn years(text: &str) -> Result<RangeInclusive<i64>, String> {
    let range =
        text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "two years such as 2018..2022, both included".into())
}

const INTO: &str = "Give a folder, as a path or a file:// URL, s3://bucket/prefix, or mysql://user@host/database; `pinterest gateway` sends to others.";

const UNITS: &str = "a whole number and ms, s, m or h, such as 200ms";

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| UNITS.to_string())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        _ => Err(UNITS.into()),
    }
}
