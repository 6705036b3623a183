//! Entry points of a program: as a process, and inside another program.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, Args};

use super::advice::described;
use super::build::Program;
use super::check::{Expected, Inputs};
use super::cli::{Cli, Dataflow, Sources, parsed};
use super::process::{self, say};
use super::veil::veiled;
use crate::error::{Error, Result};
use crate::topology::Topology;

impl<O: Args + Send + Sync + 'static> Program<O> {
    /// Runs the command that the arguments of the process name, and returns its exit code.
    ///
    /// Warnings are logged to stderr. A panic of any thread ends the process with exit code 70.
    pub fn main(self) -> ExitCode {
        process::end_at_panics(self.shell.name);
        process::log_to_stderr(self.shell.name);
        self.main_from(std::env::args_os())
    }

    /// Runs the command that `args` name; the first of them is the name of the program. Answers are
    /// written to stdout, errors to stderr.
    pub fn main_from(
        &self,
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> ExitCode {
        let cli = self.cli();
        let done = match cli.command().try_get_matches_from(args) {
            Ok(matches) => cli.dispatch(&matches, &mut std::io::stdout().lock()),
            Err(error) => return refused(&error),
        };
        done.unwrap_or_else(|error| {
            say(format_args!("{}: {}", self.shell.name, described(&error)));
            ExitCode::from(error.exit_code())
        })
    }

    /// Runs the command that `args` name, and writes answers and help pages to `out`. Use it in
    /// tests, and in programs that embed this one.
    ///
    /// # Errors
    /// The errors of the command, and one of kind [`Usage`](crate::ErrorKind::Usage) for an invalid
    /// command line.
    pub fn perform(
        &self,
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        out: &mut dyn Write,
    ) -> Result<ExitCode> {
        let cli = self.cli();
        match cli.command().try_get_matches_from(args) {
            Ok(matches) => cli.dispatch(&matches, out),
            Err(error) if error.exit_code() == 0 => {
                process::print(out, &error.render().to_string())?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Err(Error::usage(veiled(&error.render().to_string()))),
        }
    }

    /// Returns the definition of the command line, for shell completions and tests.
    pub fn clap(&self) -> clap::Command {
        self.cli().command()
    }

    fn cli(&self) -> Cli<'_> {
        Cli {
            shell: &self.shell,
            own: &self.own,
            generator: self.generator.as_ref(),
            options: O::augment_args,
            dataflow: Box::new(|matches| self.dataflow(matches)),
            checks: self.expects.is_some(),
        }
    }

    /// Returns the dataflow for the options that were parsed.
    fn dataflow(&self, matches: &ArgMatches) -> Result<Dataflow<'_>> {
        let options = Arc::new(parsed::<O>(matches)?);
        let (build, own) = (self.build.clone(), options.clone());
        let topology = Topology::new(self.shell.name, move |builder| build(builder, &own));
        let expects = self.expects.as_ref().map(|batch| {
            let expects = move |sources: &Sources, expected: &mut Expected| {
                batch(&Inputs::new(sources, &options), expected)
            };
            Box::new(expects) as _
        });
        Ok(Dataflow { topology, expects })
    }
}

/// Prints the message of clap without passwords: it repeats the arguments, which may contain some.
fn refused(error: &clap::Error) -> ExitCode {
    let said = error.render().to_string();
    let shown = veiled(&said);
    if shown == said {
        // A closed terminal is no error.
        let _ = error.print();
    } else {
        say(format_args!("{}", shown.trim_end()));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
