//! The long campaign, `cargo run --release --example campaign -- --lives 10000 --seed 1`: it prints
//! a line for each life, and counts at the end. It fails if anything was lost or repeated, or if a
//! fault, a condition or a point was never met.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "mod.rs"]
mod faults;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use faults::{Campaign, KINDS, Kind, Runs, plan};

/// The exit code if a service is absent.
const UNAVAILABLE: u8 = 69;

/// The exit code if there is no program or no folder, as for options that are not understood.
const UNUSABLE: u8 = 2;

/// The logs that the program follows.
#[derive(Clone, Copy, ValueEnum)]
enum Follows {
    Archive,
    /// An archive of event time, with windows, sessions and joins behind it
    Visits,
    Kafka,
    Kinesis,
    /// Each in turn
    All,
}

impl Follows {
    fn kinds(self) -> Vec<Kind> {
        match self {
            Follows::Archive => vec![Kind::Archive],
            Follows::Visits => vec![Kind::Visits],
            Follows::Kafka => vec![Kind::Kafka],
            Follows::Kinesis => vec![Kind::Kinesis],
            Follows::All => KINDS.into(),
        }
    }
}

/// Kills the real program again and again while it follows a growing log, in one process or in
/// several, and compares every version of every table with an oracle.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  campaign --lives 600                                an archive that grows; about 40 minutes
  campaign --lives 10000 --seed 7 --world all         every kind of log, for a night
  campaign --lives 300 --several                      several processes and their network
  campaign --lives 40 --world kafka --bug skipped_offset
                                                      a planted bug, which must be found

Kafka and Kinesis are servers on this machine. They are started if they do not run, and installed
once; tests/services/up kafka kinesis starts them for several campaigns.

Exit codes: 0 all is right, 1 a fault was found or something was never met, 2 there is no program
to kill, 69 a server is absent.")]
struct Args {
    /// Number of lives
    #[arg(long, default_value_t = 600)]
    lives: usize,
    /// Seed of the plan
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The log that the program follows
    #[arg(long, value_enum, default_value = "archive")]
    world: Follows,
    /// Only runs in several processes
    #[arg(long)]
    several: bool,
    /// A bug to plant, which the campaign has to find
    #[arg(long)]
    bug: Option<String>,
    /// The folder of the programs, with faults on request; without it, they are built
    #[arg(long)]
    programs: Option<PathBuf>,
    /// The folder for the worlds
    #[arg(long, default_value = "target/campaign")]
    folder: PathBuf,
}

/// Builds the programs in the profile of this program, and returns their folder. Named beside an
/// example, they get the features of the tests, and so faults on request.
///
/// # Errors
/// When this program was moved away from its sources or its target folder, or the build fails.
fn build() -> Result<PathBuf, String> {
    let sources = env!("CARGO_MANIFEST_DIR");
    if !Path::new(sources).is_dir() {
        return Err(format!("can't build the programs: their sources are not in {sources}"));
    }
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--bin", "pinterest", "--bin", "visits", "--example", "campaign"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(sources).status();
    let built = built.map_err(|error| format!("can't build the programs by cargo: {error}"))?;
    if !built.success() {
        return Err(format!("can't build the programs by cargo: it ended with {built}"));
    }
    let own = std::env::current_exe().map_err(|error| format!("can't find myself: {error}"))?;
    Ok(own.ancestors().nth(2).unwrap_or(Path::new("/")).to_path_buf())
}

/// Returns the folder if the programs of all `kinds` are in it.
fn with_programs(folder: PathBuf, kinds: &[Kind]) -> Result<PathBuf, String> {
    let programs = kinds.iter().map(|kind| folder.join(kind.program()));
    match programs.into_iter().find(|program| !program.is_file()) {
        None => folder.canonicalize().map_err(|e| format!("can't open {}: {e}", folder.display())),
        Some(absent) => Err(format!("can't run {}: there is no such file", absent.display())),
    }
}

/// Creates the folder of the worlds, and returns the one of this process in it.
fn own_folder(folder: &Path) -> Result<PathBuf, String> {
    let made = std::fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    let made = made.map_err(|error| format!("can't create {}: {error}", folder.display()))?;
    Ok(made.join(std::process::id().to_string()))
}

fn main() -> ExitCode {
    let Args { lives, seed, world, several, bug, programs, folder } = Args::parse();
    let runs = if several { Runs::Several } else { Runs::All };
    let kinds = world.kinds();
    if let Some(kind) = kinds.iter().find(|kind| !kind.is_ready()) {
        eprintln!("campaign: can't use {kind}: start it with tests/services/up {kind}");
        return ExitCode::from(UNAVAILABLE);
    }
    let programs = programs.map_or_else(build, Ok).and_then(|found| with_programs(found, &kinds));
    let programs = programs.map_err(|error| {
        format!("{error}\nGive a folder of programs with the feature faults by --programs.")
    });
    let folder =
        own_folder(&folder).map_err(|error| format!("{error}\nGive another folder by --folder."));
    let (programs, folder) = match (programs, folder) {
        (Ok(programs), Ok(folder)) => (programs, folder),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("campaign: {error}");
            return ExitCode::from(UNUSABLE);
        }
    };
    let (folder, bug, progress) = (&folder, bug.as_deref(), &|line: &str| println!("{line}"));
    let plan = plan(seed, lives, &kinds, runs);
    let campaign = Campaign { programs: &programs, folder, plan, bug, progress };
    let report = campaign.run();
    println!("{report}");
    let never = report.never(&kinds, runs);
    if !never.is_empty() {
        println!("never met: {}", never.join(", "));
    }
    if report.is_right() && never.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
