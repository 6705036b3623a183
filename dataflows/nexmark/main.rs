//! `nexmark`: the questions of the NEXMark benchmark, as standing answers.

mod generator;
mod model;
mod naive;
mod queries;
#[cfg(test)]
mod tests;
mod topology;

use std::process::ExitCode;

use watershed::program::Program;

use generator::Kind;

const ABOUT: &str = "Persons, auctions and bids of the NEXMark benchmark, and 23 standing answers \
                     about them: 22 Delta tables, and a log of all bids in an archive

Without a command it does the same as run: it generates 100,000 events, 46 bids and 3 auctions for \
                     each person, and prints the answers.";

// A replay takes less processor time than with glibc's allocator, and a restart less memory.
#[cfg(all(feature = "jemalloc", unix))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    program().main()
}

fn program() -> Program {
    Program::new("nexmark", topology::topology)
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .reads(Kind::ALL.map(Kind::topic))
        .reads([model::SIDE_INPUT])
        .writes(queries::outputs())
        .default_source("generated://?events=100000&seed=7")
        .scheme("generated", generator::open)
        .expects(naive::rows)
}
