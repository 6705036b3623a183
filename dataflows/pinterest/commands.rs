//! The command `generate`: a look-alike archive in a folder or a bucket, or three tables of MySQL.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use watershed::program::{Context, plainly, upload};
use watershed::store::Store;
use watershed::{Error, Result};

use crate::emulate;
use crate::generate::{self, Options, Summary};

#[derive(Args, Clone)]
pub(crate) struct GenerateArgs {
    /// Number of events; each is a pin, a geo and a user
    #[arg(long, value_name = "N", default_value_t = 11_154)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    events: u64,
    /// Seed of all random choices
    #[arg(long, value_name = "S", default_value_t = 100)]
    seed: u64,
    /// Folder to write to, s3://bucket/prefix, or mysql://user@host/database for three tables such
    /// as the original's, without dirt
    #[arg(long, value_name = "URL", default_value = "data/archive")]
    to: String,
    /// Records of an object; the original's archive has 1
    #[arg(long, value_name = "M", default_value_t = 1000)]
    records_per_object: u64,
    /// Partitions of a topic
    #[arg(long, value_name = "P", default_value_t = 3)]
    partitions: u32,
    /// Fraction of the events that get dirt, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    dirt: f64,
}

const INTO: &str = "Give a folder, as a path or a file:// URL, s3://bucket/prefix, or \
                    mysql://user@host/database; `pinterest gateway` sends to others.";

/// Writes the default archive, which `run` reads.
pub(crate) fn generate_default(context: &mut Context<'_>) -> Result<()> {
    let options = Options { user_id: context.prefix().into(), ..Options::default() };
    let shown = options.to.display().to_string();
    let summary = write(&options)?;
    report(&options, &shown, &summary, context)
}

/// Writes the events to the place that the arguments name.
pub(crate) fn generate(args: GenerateArgs, context: &mut Context<'_>) -> Result<()> {
    let url = args.to.as_str();
    let folder = url.strip_prefix("file://").unwrap_or(url);
    let options = Options {
        events: args.events,
        seed: args.seed,
        to: folder.into(),
        user_id: context.prefix().into(),
        records_per_object: args.records_per_object,
        partitions: args.partitions,
        dirt: args.dirt,
    };
    match url.split_once("://") {
        Some(("mysql", _)) => emulate::fill(url, args.seed, args.events, context),
        Some(("s3", _)) => {
            // Check that the bucket can be reached before the events are generated.
            Store::open(url)?;
            let scratch = Scratch::new()?;
            let options = Options { to: scratch.0.join("archive"), ..options };
            let summary = write(&options)?;
            upload(&options.to, url, summary.objects)?;
            report(&options, url, &summary, context)
        }
        None | Some(("file", _)) => {
            let summary = write(&options)?;
            report(&options, folder, &summary, context)
        }
        Some(_) => {
            let place = plainly(url);
            let message = format!("can't generate into {place}: there is no sink of that kind");
            Err(Error::config(message).hint(INTO))
        }
    }
}

/// Writes the archive with a progress bar.
fn write(options: &Options) -> Result<Summary> {
    let bar = ProgressBar::new(options.events);
    let style = ProgressStyle::with_template("generating {wide_bar} {human_pos} events  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let summary = generate::generate(options, &mut |events| bar.set_position(events));
    bar.finish_and_clear();
    summary
}

/// Prints the size of the archive at `place`.
fn report(
    options: &Options,
    place: &str,
    summary: &Summary,
    context: &mut Context<'_>,
) -> Result<()> {
    let records = HumanCount(summary.records.iter().sum());
    let (events, objects, bytes) =
        (HumanCount(options.events), HumanCount(summary.objects), HumanBytes(summary.bytes));
    context.print(&format!(
        "generated {events} events in {place}: {records} records in {objects} objects, {bytes}\n\n"
    ))
}

/// A temporary folder that only this user can read, removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path =
            |n| std::env::temp_dir().join(format!("pinterest-generate-{}-{n}", std::process::id()));
        let made = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path);
        let mut last = Err(Error::internal("no folder was tried"));
        // An earlier process with the same id may have left its folder.
        for path in (0..100).map(path) {
            match made(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(e) => {
                    let shown = path.display();
                    last = Err(Error::connect(format!("can't make the folder {shown}")).because(e));
                }
            }
        }
        last
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that can't be removed is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}
