//! `pinterest`: the Pinterest data pipeline as one incremental program.

mod bounds;
mod clean;
mod commands;
mod emulate;
mod generate;
mod help;
mod model;
mod naive;
mod posts;
mod questions;
#[cfg(test)]
mod tests;
mod topology;

use std::cmp::{Ordering, Reverse};
use std::process::ExitCode;

use watershed::program::{Output, Prefix, Program};
use watershed::row::Value;

use bounds::Bounds;

// A replay takes less processor time than with glibc's allocator, and a restart less memory.
#[cfg(all(feature = "jemalloc", unix))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    program().main()
}

fn program() -> Program<Bounds> {
    let cleaned = ["pin_table", "geo_table", "user_table"];
    let program = Program::with_options("pinterest", topology::topology)
        .about(help::ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .reads(generate::KINDS)
        .writes(cleaned.map(|table| Output::new(table).prefixed().unlisted()))
        .writes(questions::QUESTIONS.map(answer))
        .prefix(Prefix::new("user-id").default_value("demo").streams("streaming-"))
        .expects(naive::rows)
        .generated_by("generate --to", commands::generate_default)
        .command("generate", help::GENERATE_ABOUT, commands::generate)
        .command("emulate", help::EMULATE_ABOUT, emulate::emulate);
    help::PAGES.iter().fold(program, |program, (command, text)| program.help(command, text))
}

/// Returns the output of a question. Counts of categories are printed from the greatest.
fn answer((topic, question): (&'static str, &'static str)) -> Output {
    let output = Output::new(topic).title(question);
    if topic.starts_with("category_") { output.order_by(by_count) } else { output }
}

/// Orders by group, then by the greater count, then by category.
fn by_count(a: &[Value], b: &[Value]) -> Ordering {
    (&a[0], Reverse(&a[2]), &a[1]).cmp(&(&b[0], Reverse(&b[2]), &b[1]))
}
