//! The command line: the tree of commands, and the dispatch to them.

use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::advice::described;
use super::answers::{self, AnswersArgs};
use super::archive::{self, ArchiveArgs};
use super::bind::{BindArgs, Binding};
use super::check::{self, Expected};
use super::context::Context;
#[cfg(feature = "gateway")]
use super::gateway::{self, GatewayArgs};
use super::lake::Lake;
use super::missing::missing;
use super::process::is_broken_pipe;
use super::run::{self, RunArgs};
use super::shell::{Names, Shell};
use super::state::{self, StateArgs};
use super::streams::{self, StreamsArgs};
use super::{help, values};
use crate::connect::Source;
use crate::error::{Error, Result};
use crate::topology::Topology;

/// Sources of each topic, in order.
pub(super) type Sources = [(&'static str, Vec<Box<dyn Source>>)];

/// The dataflow for one set of the program's own options.
pub(super) struct Dataflow<'a> {
    pub(super) topology: Topology,
    pub(super) expects: Option<Box<dyn FnOnce(&Sources, &mut Expected) -> Result<()> + 'a>>,
}

/// Generates the default archive.
pub(super) type Generate = Box<dyn Fn(&mut Context<'_>) -> Result<()>>;

/// A command of the program's own.
pub(super) struct OwnCommand {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) arguments: fn(Command) -> Command,
    pub(super) run: Box<dyn Fn(&ArgMatches, &mut Context<'_>) -> Result<()>>,
}

/// The command line of a program.
pub(super) struct Cli<'a> {
    pub(super) shell: &'a Shell,
    pub(super) own: &'a [OwnCommand],
    pub(super) generator: Option<&'a Generate>,
    /// Adds the program's own options to a command.
    pub(super) options: fn(Command) -> Command,
    pub(super) dataflow: Box<dyn Fn(&ArgMatches) -> Result<Dataflow<'a>> + 'a>,
    /// True if there is a batch program to check against.
    pub(super) checks: bool,
}

impl Cli<'_> {
    /// Builds the tree of commands.
    pub(super) fn command(&self) -> Command {
        let mut root = self.runs::<RunArgs>(self.shell.name);
        if !self.shell.version.is_empty() {
            root = root.version(self.shell.version);
        }
        root = self
            .page(root, "", self.shell.about)
            .args_conflicts_with_subcommands(true)
            .subcommand(self.page(self.runs::<RunArgs>("run"), "run", help::RUN));
        let own = self.own.iter().map(|own| {
            let command = (own.arguments)(Command::new(own.name));
            self.page(self.prefixed(command), own.name, own.about)
        });
        let answers = self.named::<AnswersArgs>("answers").mut_arg("view", |arg| {
            let writes = self.shell.tables();
            let listed = |topic: &&str| self.shell.output(topic).is_some_and(|o| o.listed);
            let others: Vec<&str> = writes.filter(|topic| !listed(topic)).collect();
            arg.help(format!("Table to print, also {} [default: all answers]", others.join(", ")))
        });
        root = root.subcommands(own).subcommand(self.page(answers, "answers", help::ANSWERS));
        if self.checks {
            let check = self.runs::<BindArgs>("check");
            root = root.subcommand(self.page(check, "check", help::CHECK));
        }
        let describe = self.runs::<BindArgs>("describe");
        let archive = self.named::<ArchiveArgs>("archive");
        let state = StateArgs::augment_args(Command::new("state"));
        root = root
            .subcommand(self.page(describe, "describe", help::DESCRIBE))
            .subcommand(self.page(state, "state", help::STATE))
            .subcommand(self.page(archive, "archive", help::ARCHIVE));
        #[cfg(feature = "gateway")]
        {
            let gateway = self.named::<GatewayArgs>("gateway").mut_arg("tokens", |arg| {
                let variable = gateway::token_variable(self.shell);
                extended(arg, &format!("; {variable} may hold one more"))
            });
            root = root.subcommand(self.page(gateway, "gateway", help::GATEWAY));
        }
        let streams = StreamsArgs::augment_args(Command::new("streams"));
        let streams = streams::PREFIXED.iter().fold(streams, |streams, name| {
            streams.mut_subcommand(name, |command| self.prefixed(command))
        });
        root.subcommand(self.page(streams, "streams", help::STREAMS))
    }

    /// Returns a command that names topics.
    fn named<A: Args>(&self, name: &'static str) -> Command {
        self.prefixed(A::augment_args(Command::new(name)))
    }

    /// Returns a command that builds the topology: it has the program's own options.
    fn runs<A: Args>(&self, name: &'static str) -> Command {
        let default = self.shell.default_source;
        (self.options)(self.named::<A>(name))
            .mut_arg("from", |arg| extended(arg, &format!(" [default: {default}]")))
    }

    /// Adds the option for the prefix of topics, if the program has one.
    fn prefixed(&self, command: Command) -> Command {
        let Some(prefix) = &self.shell.prefix else { return command };
        let names = self.shell.names(Some("<ID>".into()));
        let topics = names.topics().join(", ");
        let stream = names.streams().into_iter().next().unwrap_or_default();
        let prefixed = self.shell.writes.iter().find(|output| output.prefixed);
        let tables = prefixed.map(|output| {
            let table = names.table(Some(output), output.topic);
            format!("; tables {table}")
        });
        let tables = tables.unwrap_or_default();
        let arg = Arg::new(prefix.option)
            .long(prefix.option)
            .value_name("ID")
            .value_parser(values::prefix)
            .help(format!(
                "Prefix of names: topics {topics}; streams of Kinesis {stream}{tables}; and so on"
            ));
        command.arg(prefix.default.iter().fold(arg, |arg, default| arg.default_value(*default)))
    }

    /// Sets the texts of a help page. The first line of `about` is its summary.
    fn page(&self, command: Command, name: &'static str, about: &'static str) -> Command {
        let (summary, rest) = about.split_once("\n\n").unwrap_or((about, ""));
        let command = command.about(summary).long_about(None);
        let command = if rest.is_empty() { command } else { command.long_about(about) };
        match self.shell.helps.get(name) {
            Some(end) => command.after_help(*end),
            None => command.after_help(help::examples(self.shell.name, name)),
        }
    }

    /// Runs the command that was parsed.
    pub(super) fn dispatch(&self, matches: &ArgMatches, out: &mut dyn Write) -> Result<ExitCode> {
        let (name, matches) = matches.subcommand().unwrap_or(("run", matches));
        if name == "check" {
            return self.check(matches, out);
        }
        let done = match name {
            "run" => {
                let args: RunArgs = parsed(matches)?;
                let binding = self.binding(matches, args.bind.clone());
                if let Some(generate) = self.generator.filter(|_| binding.lacks_default()) {
                    generate(&mut Context::new(self.shell, binding.names.clone(), out))?;
                }
                run::run(&args, &binding, (self.dataflow)(matches)?.topology, out)
            }
            "answers" => {
                let args: AnswersArgs = parsed(matches)?;
                let names = self.names(matches);
                let lake = Lake::new(self.shell, &args.lake, args.state.as_deref(), names);
                answers::answers(args.view.as_deref(), &lake, args.format, args.as_of, out)
            }
            "describe" => {
                let topology = (self.dataflow)(matches)?.topology;
                run::describe(&self.binding(matches, parsed(matches)?), &topology, out)
            }
            "state" => {
                let args: StateArgs = parsed(matches)?;
                let names = self.names(matches);
                let lake = Lake::new(self.shell, &args.lake, args.state.as_deref(), names);
                state::state(&args, &lake.state, self.shell.name, out)
            }
            "archive" => archive::archive(&parsed(matches)?, self.shell, &self.names(matches), out),
            #[cfg(feature = "gateway")]
            "gateway" => gateway::gateway(&parsed(matches)?, self.shell, self.names(matches), out),
            "streams" => {
                let below = matches.subcommand().map_or(matches, |(_, below)| below);
                streams::streams(&parsed(matches)?, &self.names(below), out)
            }
            _ => {
                let own = self.own.iter().find(|own| own.name == name);
                let own = own.ok_or_else(|| Error::internal(format!("no command {name}")))?;
                (own.run)(matches, &mut Context::new(self.shell, self.names(matches), out))
            }
        };
        // A reader that closes the pipe early has read enough.
        done.or_else(|e| if is_broken_pipe(&e) { Ok(()) } else { Err(e) })
            .map(|()| ExitCode::SUCCESS)
    }

    /// Compares the outputs with the rows that the batch program expects. Returns exit code 1 if
    /// they differ.
    fn check(&self, matches: &ArgMatches, out: &mut dyn Write) -> Result<ExitCode> {
        let binding = self.binding(matches, parsed(matches)?);
        let sources = binding.sources()?;
        missing(&binding)?.iter().for_each(|error| tracing::warn!("{}", described(error)));
        let mut expected = Expected::new(crate::runtime::secret()?);
        let Dataflow { topology, expects } = (self.dataflow)(matches)?;
        if let Some(expects) = expects {
            expects(&sources, &mut expected)?;
        }
        let same = check::check(expected, &topology, &binding.lake(), out)?;
        Ok(ExitCode::from(u8::from(!same)))
    }

    fn binding(&self, matches: &ArgMatches, args: BindArgs) -> Binding<'_> {
        Binding { shell: self.shell, names: self.names(matches), args }
    }

    /// Returns the names of the topics for the prefix that was given.
    fn names(&self, matches: &ArgMatches) -> Names {
        let prefix = self.shell.prefix.as_ref().and_then(|prefix| {
            matches.try_get_one::<String>(prefix.option).ok().flatten().cloned()
        });
        self.shell.names(prefix)
    }
}

/// Reads the arguments of a command.
pub(super) fn parsed<A: FromArgMatches>(matches: &ArgMatches) -> Result<A> {
    A::from_arg_matches(matches).map_err(|e| Error::usage(e.to_string()))
}

/// Returns the argument with a longer help text.
fn extended(arg: Arg, more: &str) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(help + more).long_help(None)
}
