//! The command `emulate`: users who post. Each event is a row of each of the three tables, sent as
//! three records. Rows are drawn as in the original project.

mod columns;
mod credentials;
mod database;
mod dates;
mod rows;
mod target;
mod yaml;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use futures::{StreamExt, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;
use tokio::time::MissedTickBehavior;
use watershed::program::Context;
use watershed::{Error, Result};

use crate::generate::KINDS;
use database::Database;
use dates::DateFormat;
use rows::Rows;
use target::Target;

/// Events a second that an argument may request. No sender reaches the upper limit; below the lower
/// one, the second event would take more than eleven days.
const RATES: RangeInclusive<f64> = 1e-6..=1e6;

#[derive(Args)]
pub(crate) struct EmulateArgs {
    /// Source of the rows: `generated`, or mysql://user@host/database with the original's three
    /// tables
    #[arg(long, value_name = "URL", default_value = "generated")]
    from: String,
    /// File of YAML with HOST, USER, PASSWORD, DATABASE and PORT, for values that the URL does not
    /// have; the environment has them as PINTEREST_DB_HOST and so on
    #[arg(long, value_name = "PATH")]
    credentials: Option<PathBuf>,
    /// Gateway to post to, as http://host:port; or a log to write to directly: the folder of an
    /// archive, or kafka://host:port or kinesis://region if built with that feature
    #[arg(long, value_name = "URL", default_value = "data/archive")]
    to: String,
    /// Protocol of the gateway
    #[arg(long, value_enum, default_value_t = Style::RestProxy)]
    style: Style,
    /// Events a second; 0 is as fast as possible
    #[arg(long, value_name = "R", default_value_t = 2.0, allow_negative_numbers = true)]
    rate: f64,
    /// Number of events to send [default: until SIGINT or SIGTERM]
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Rows of each generated table
    #[arg(long, value_name = "N", default_value_t = 11_154)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rows: u64,
    /// Take one row after the other instead of drawing them
    #[arg(long)]
    in_order: bool,
    /// Seed of all random choices
    #[arg(long, value_name = "S", default_value_t = 100)]
    seed: u64,
    /// Format of dates [default: that of the rows]; a date with a fraction of a second is written
    /// as ISO if the format has no fractions
    #[arg(long, value_enum)]
    date_format: Option<DateFormat>,
    /// Events that are sent at the same time
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: u16,
}

/// A protocol of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// Confluent REST Proxy v2: POST /topics/<ID>.pin
    RestProxy,
    /// API Gateway before Kinesis: PUT /streams/streaming-<ID>-pin/record
    KinesisProxy,
}

/// The numbers of events and records so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    events: u64,
    taken: u64,
    refused: u64,
}

/// Sends events until there are enough, or until it is stopped.
pub(crate) fn emulate(args: EmulateArgs, context: &mut Context<'_>) -> Result<()> {
    if args.rate != 0.0 && !RATES.contains(&args.rate) {
        return Err(Error::usage(format!("can't send {} events a second", args.rate))
            .hint("Give a rate from 0.000001 to 1000000, or 0 for as fast as possible."));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| Error::no_thread("a thread for requests", e))?;
    // Create topics only after the rows are found: an error must leave no topic behind.
    let rows = runtime.block_on(Rows::open(&args))?;
    let target = Target::open(&args.to, args.style, context)?;
    runtime.block_on(target.reach())?;
    let bar = ProgressBar::new(args.events.unwrap_or(0));
    let template = "{spinner} {human_pos} events, {msg}  {elapsed}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let began = Instant::now();
    let sent = runtime.block_on(async {
        tokio::select! {
            sent = send(&args, &rows, &target, &bar, context) => sent,
            error = target.broken() => Err(error),
        }
    });
    bar.finish_and_clear();
    let closed = runtime.block_on(target.close());
    let (sent, seconds) = (sent?, began.elapsed().as_secs_f64().max(0.001));
    closed?;
    let rate = sent.events as f64 / seconds;
    let line = format!(
        "{} events in {seconds:.1} s, {rate:.1}/s: {} records taken, {} refused\n",
        HumanCount(sent.events),
        HumanCount(sent.taken),
        HumanCount(sent.refused)
    );
    context.print(&line)?;
    if sent.refused > 0 {
        return Err(Error::connect(format!("{} records were not taken", HumanCount(sent.refused)))
            .hint("The lines above say why."));
    }
    Ok(())
}

/// Creates the original's three tables in the database at `url`, and fills them with the clean rows
/// of `events` events.
pub(crate) fn fill(url: &str, seed: u64, events: u64, context: &mut Context<'_>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::no_thread("a thread for requests", e))?;
    let credentials = rows::credentials(url, None)?;
    let bar = ProgressBar::new(events);
    let invented = rows::invented(seed, events, None);
    let filled = runtime
        .block_on(Database::fill(&credentials, &invented, &mut |rows| bar.set_position(rows)));
    bar.finish_and_clear();
    filled?;
    context.print(&format!(
        "generated {} events in {url}, as a row in each of 3 tables\n",
        HumanCount(events)
    ))
}

async fn send(
    args: &EmulateArgs,
    rows: &Rows,
    target: &Target,
    bar: &ProgressBar,
    context: &Context<'_>,
) -> Result<Sent> {
    let mut draw = Pcg64::seed_from_u64(args.seed);
    let count = rows.count();
    let drawn = (0..args.events.unwrap_or(u64::MAX)).map(move |k| {
        if args.in_order {
            k % count
        } else {
            ((u128::from(draw.next_u64()) * u128::from(count)) >> 64) as u64
        }
    });
    let mut pace =
        (args.rate > 0.0).then(|| tokio::time::interval(Duration::from_secs_f64(1.0 / args.rate)));
    if let Some(pace) = &mut pace {
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    }
    let paced = stream::unfold((drawn, pace), |(mut drawn, mut pace)| async move {
        let row = drawn.next()?;
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        Some((row, (drawn, pace)))
    });
    let events =
        paced.map(|row| event(rows, target, row, context)).buffer_unordered(args.in_flight.into());
    let mut events = std::pin::pin!(
        events.take_until(context.stopped("once the events in flight are acknowledged")?)
    );
    let mut sent = Sent::default();
    while let Some(taken) = events.next().await {
        let taken = taken?;
        sent.events += 1;
        sent.taken += taken;
        sent.refused += KINDS.len() as u64 - taken;
        bar.set_position(sent.events);
        bar.set_message(format!("{:.1}/s, {} records refused", bar.per_sec(), sent.refused));
    }
    Ok(sent)
}

/// Sends the three records of a row, and returns how many of them were acknowledged.
async fn event(rows: &Rows, target: &Target, row: u64, context: &Context<'_>) -> Result<u64> {
    let lines = rows.row(row).await?;
    let posts = lines.into_iter().enumerate().map(|(kind, line)| target.post(kind, row, line));
    let posted = futures::future::join_all(posts).await;
    let mut taken = 0;
    for (posted, kind) in posted.into_iter().zip(KINDS) {
        match posted {
            Ok(()) => taken += 1,
            Err(why) => context.warn(format_args!("the {kind} of row {row} was not taken: {why}")),
        }
    }
    Ok(taken)
}
