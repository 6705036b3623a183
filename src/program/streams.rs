//! The command `streams`: lists, creates, describes, reshards and deletes streams of Kinesis.

use std::io::Write;

use clap::{Args, Subcommand};

use super::shell::Names;
use crate::error::Result;

#[derive(Args)]
#[cfg_attr(not(feature = "kinesis"), allow(dead_code, reason = "it is only parsed"))]
pub(super) struct StreamsArgs {
    #[command(subcommand)]
    command: Command,
    /// Region, as kinesis://region [default: that of AWS_REGION]
    #[arg(long, global = true, value_name = "URL")]
    at: Option<String>,
}

#[derive(Subcommand)]
#[cfg_attr(not(feature = "kinesis"), allow(dead_code, reason = "it is only parsed"))]
enum Command {
    /// Print the names of all streams
    List,
    /// Create a stream, or the streams of all topics that the program reads
    Create {
        /// Name of the stream [default: those of all topics that are read]
        name: Option<String>,
        /// Shards of each stream
        #[arg(long, value_name = "N", default_value_t = 1)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        shards: u32,
    },
    /// Print a stream and its shards, or the streams of all topics that the program reads
    Describe {
        /// Name of the stream [default: those of all topics that are read]
        name: Option<String>,
    },
    /// Delete a stream with all its records
    Delete {
        /// Name of the stream
        name: String,
        /// Delete it without a confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Change the number of shards of a stream, and wait until it is complete
    Reshard {
        /// Name of the stream
        name: String,
        /// New number of shards
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        shards: u32,
    },
}

/// Subcommands that take the prefix of topics.
pub(super) const PREFIXED: [&str; 2] = ["create", "describe"];

/// Refuses the command: this build has no Kinesis.
#[cfg(not(feature = "kinesis"))]
pub(super) fn streams(_args: &StreamsArgs, _names: &Names, _out: &mut dyn Write) -> Result<()> {
    Err(crate::Error::config("can't manage streams: kinesis is not built in")
        .hint("Build with --features kinesis."))
}

#[cfg(feature = "kinesis")]
pub(super) use managed::streams;

#[cfg(feature = "kinesis")]
mod managed {
    use std::time::Duration;

    use comfy_table::Table;
    use indicatif::{ProgressBar, ProgressStyle};

    use super::{Command, Names, Result, StreamsArgs, Write};
    use crate::connectors::kinesis::{Kinesis, StreamInfo};
    use crate::error::Error;
    use crate::program::process::print;

    /// Runs the subcommand, and prints its result.
    pub(in crate::program) fn streams(
        args: &StreamsArgs,
        names: &Names,
        out: &mut dyn Write,
    ) -> Result<()> {
        let region = || std::env::var("AWS_REGION").ok().filter(|region| !region.is_empty());
        let url = args.at.clone().or_else(|| region().map(|region| format!("kinesis://{region}")));
        let url = url.ok_or_else(|| {
            Error::usage("can't find the streams: no region is given")
                .hint("Give --at kinesis://region, or set AWS_REGION.")
        })?;
        let kinesis = Kinesis::open(&url)?;
        let named =
            |name: &Option<String>| name.clone().map_or_else(|| names.streams(), |name| vec![name]);
        match &args.command {
            Command::List => {
                kinesis.streams()?.iter().try_for_each(|name| print(out, &format!("{name}\n")))
            }
            Command::Create { name, shards } => named(name).iter().try_for_each(|name| {
                waiting(format!("creating {name}"), || kinesis.create(name, *shards))?;
                print(out, &format!("created {name}: {}\n", counted(*shards as usize)))
            }),
            Command::Describe { name } => named(name)
                .iter()
                .try_for_each(|name| print(out, &described(&kinesis.describe(name)?))),
            Command::Delete { name, yes } => {
                if !yes {
                    confirm(name)?;
                }
                waiting(format!("deleting {name}"), || kinesis.delete(name))?;
                print(out, &format!("deleted {name}\n"))
            }
            Command::Reshard { name, shards } => {
                let before = kinesis.describe(name)?.open_shards();
                if before != *shards as usize {
                    waiting(format!("resharding {name} from {before} to {shards}"), || {
                        kinesis.reshard(name, *shards)
                    })?;
                }
                let now = kinesis.describe(name)?.open_shards();
                print(out, &format!("resharded {name}: {} open, {before} before\n", counted(now)))
            }
        }
    }

    fn counted(shards: usize) -> String {
        format!("{shards} shard{}", if shards == 1 { "" } else { "s" })
    }

    /// Shows a spinner and the elapsed time while `done` runs.
    fn waiting<T>(message: String, done: impl FnOnce() -> Result<T>) -> Result<T> {
        let bar = ProgressBar::new_spinner().with_message(message);
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}  {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        let done = done();
        bar.finish_and_clear();
        done
    }

    /// Requests the name again, because the records are lost with the stream.
    fn confirm(name: &str) -> Result<()> {
        eprint!("All records of {name} will be lost. Type its name to delete it: ");
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        if read.is_err() || line.trim() != name {
            return Err(Error::usage(format!("can't delete {name}: its name was not typed"))
                .hint("Type it when you are asked, or give --yes."));
        }
        Ok(())
    }

    fn described(info: &StreamInfo) -> String {
        let StreamInfo { name, status, on_demand, by_key, retention_hours, shards } = info;
        let mode = if *on_demand { "on demand" } else { "provisioned" };
        let dealt = if *by_key { "by key" } else { "dealt out to any shard" };
        let open = counted(info.open_shards());
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_header([
            "shard",
            "state",
            "made of",
            "first hash",
            "last hash",
        ]);
        for shard in shards {
            let parents = shard.parents.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let state = if shard.closed { "closed" } else { "open" };
            table.add_row([
                shard.number.to_string(),
                state.to_string(),
                parents,
                format!("{:032x}", shard.hashes.0),
                format!("{:032x}", shard.hashes.1),
            ]);
        }
        format!(
            "{name}: {status}, {mode}, {open} open, records {dealt}, kept for {retention_hours} hours\n{}\n",
            table.trim_fmt()
        )
    }
}
