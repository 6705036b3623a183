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
    Kafka,
    Kinesis,
    /// Each in turn
    All,
}

impl Follows {
    fn kinds(self) -> Vec<Kind> {
        match self {
            Follows::Archive => vec![Kind::Archive],
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
    /// The program, with faults on request; without it, it is built
    #[arg(long)]
    program: Option<PathBuf>,
    /// The folder for the worlds
    #[arg(long, default_value = "target/campaign")]
    folder: PathBuf,
}

/// Builds the program in the profile of this program. Named beside an example, it gets the features
/// of the tests, and so faults on request.
///
/// # Errors
/// When this program was moved away from its sources or its target folder, or the build fails.
fn build() -> Result<PathBuf, String> {
    let sources = env!("CARGO_MANIFEST_DIR");
    if !Path::new(sources).is_dir() {
        return Err(format!("can't build the program: its sources are not in {sources}"));
    }
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--bin", "pinterest", "--example", "campaign"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(sources).status();
    let built = built.map_err(|error| format!("can't build the program by cargo: {error}"))?;
    if !built.success() {
        return Err(format!("can't build the program by cargo: it ended with {built}"));
    }
    let own = std::env::current_exe().map_err(|error| format!("can't find myself: {error}"))?;
    let beside = own.ancestors().nth(2).unwrap_or(Path::new("/")).join("pinterest");
    found(beside).map_err(|error| format!("{error}, beside this campaign in {}", own.display()))
}

/// Returns `program` if it is a file.
fn found(program: PathBuf) -> Result<PathBuf, String> {
    match program.is_file() {
        true => Ok(program),
        false => Err(format!("can't run {}: there is no such file", program.display())),
    }
}

/// Creates the folder of the worlds, and returns the one of this process in it.
fn own_folder(folder: &Path) -> Result<PathBuf, String> {
    let made = std::fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    let made = made.map_err(|error| format!("can't create {}: {error}", folder.display()))?;
    Ok(made.join(std::process::id().to_string()))
}

fn main() -> ExitCode {
    let Args { lives, seed, world, several, bug, program, folder } = Args::parse();
    let runs = if several { Runs::Several } else { Runs::All };
    let kinds = world.kinds();
    if let Some(kind) = kinds.iter().find(|kind| !kind.is_ready()) {
        eprintln!("campaign: can't use {kind}: start it with tests/services/up {kind}");
        return ExitCode::from(UNAVAILABLE);
    }
    let program = program.map_or_else(build, found).map_err(|error| {
        format!("{error}\nGive a program that is built with the feature faults by --program.")
    });
    let folder =
        own_folder(&folder).map_err(|error| format!("{error}\nGive another folder by --folder."));
    let (program, folder) = match (program, folder) {
        (Ok(program), Ok(folder)) => (program, folder),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("campaign: {error}");
            return ExitCode::from(UNUSABLE);
        }
    };
    let (folder, bug, progress) = (&folder, bug.as_deref(), &|line: &str| println!("{line}"));
    let plan = plan(seed, lives, &kinds, runs);
    let campaign = Campaign { program: &program, folder, plan, bug, progress };
    let report = campaign.run();
    println!("{report}");
    let never = report.never(&kinds, runs);
    if !never.is_empty() {
        println!("never met: {}", never.join(", "));
    }
    if report.is_right() && never.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
