//! `visits`: the program that the campaign kills in worlds of event time. It is built with the
//! tests only.

mod topology;

use std::process::ExitCode;

use watershed::program::Program;

fn main() -> ExitCode {
    Program::new("visits", topology::topology)
        .reads(topology::TOPICS)
        .writes(topology::TABLES)
        .main()
}
