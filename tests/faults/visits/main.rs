//! `visits`: the program that the campaign kills in worlds of event time. It is built with the
//! tests only. The variable `VISITS_VERSION` selects one of its versions by the bits of a number.

mod epochs;
mod joins;
mod topology;
mod version;
mod windows;

use std::process::ExitCode;

use watershed::program::Program;

use version::Version;

fn main() -> ExitCode {
    let bits = std::env::var("VISITS_VERSION").ok().and_then(|bits| bits.parse().ok());
    let version = Version::of(bits.unwrap_or(0));
    Program::new("visits", move |builder| topology::topology(builder, version))
        .reads(topology::TOPICS)
        .writes(topology::tables(version))
        .main()
}
