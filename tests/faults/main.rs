//! The long campaign, `cargo run --release --example campaign -- --lives 10000 --seed 1`: it prints
//! a line for each life, and counts at the end. It fails if anything was lost or repeated, or if a
//! fault or a point never struck.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "mod.rs"]
mod faults;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use faults::{Campaign, plan};

#[derive(Parser)]
struct Args {
    /// Number of lives
    #[arg(long, default_value_t = 200)]
    lives: usize,
    /// Seed of the plan
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--bin", "pinterest", "--example", "campaign"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("pinterest")
}

fn main() -> ExitCode {
    let Args { lives, seed, bug, program, folder } = Args::parse();
    let program = program.unwrap_or_else(build);
    std::fs::create_dir_all(&folder).unwrap();
    let folder = folder.canonicalize().unwrap().join(std::process::id().to_string());
    let (folder, bug, progress) = (&folder, bug.as_deref(), &|line: &str| println!("{line}"));
    let campaign = Campaign { program: &program, folder, plan: plan(seed, lives), bug, progress };
    let report = campaign.run();
    println!("{report}");
    let never = report.never();
    if !never.is_empty() {
        println!("never struck: {}", never.join(", "));
    }
    if report.is_right() && never.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
