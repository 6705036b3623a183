//! [`Program`]: a topology, its topics, and the other parts of a command line.

use std::sync::Arc;

use clap::{ArgMatches, Args};

use super::check::{Expected, Inputs};
use super::cli::{Generate, OwnCommand, parsed};
use super::context::Context;
use super::shell::{Output, Prefix, Shell};
use crate::builder::StreamsBuilder;
use crate::connect::Source;
use crate::error::Result;

type Build<O> = Arc<dyn for<'a, 's> Fn(&'a StreamsBuilder<'s>, &O) + Send + Sync>;
type Expects<O> = Box<dyn Fn(&Inputs<'_, O>, &mut Expected) -> Result<()>>;

/// A dataflow with a command line.
///
/// `O` holds the program's own options: a type that derives [`clap::Args`], or `()` for none.
///
/// ```
/// use std::process::ExitCode;
///
/// use watershed::prelude::*;
/// use watershed::program::{Expected, Inputs, Program};
///
/// /// How often does each word begin a line?
/// fn topology(builder: &StreamsBuilder) {
///     let lines = builder.stream("lines", Consumed::from_value(line));
///     lines
///         .group_by(|_, line| (line.split(' ').next().unwrap_or_default().to_string(), ()))
///         .count()
///         .to("counts", Produced::columns(["word", "count"]));
/// }
///
/// fn line(value: Option<&[u8]>) -> Result<((), String), Reject> {
///     Ok(((), String::from_utf8_lossy(value.unwrap_or_default()).into_owned()))
/// }
///
/// /// The same answer by a batch program.
/// fn naive(inputs: &Inputs<'_>, expected: &mut Expected) -> Result<()> {
///     let mut counts = std::collections::BTreeMap::<String, i64>::new();
///     inputs.each("lines", |record| {
///         let line = String::from_utf8_lossy(record.value.unwrap_or_default());
///         *counts.entry(line.split(' ').next().unwrap_or_default().into()).or_default() += 1;
///     })?;
///     counts.into_iter().for_each(|count| expected.row("counts", &count));
///     Ok(())
/// }
///
/// fn program() -> Program {
///     Program::new("beginnings", topology)
///         .reads(["lines"])
///         .writes([("counts", "How often does each word begin a line?")])
///         .expects(naive)
/// }
///
/// # let root = tempfile::tempdir().unwrap();
/// # let (from, lake) = (root.path().join("from"), root.path().join("lake"));
/// # let partition = from.join("topics/lines/partition=0");
/// # std::fs::create_dir_all(&partition).unwrap();
/// # std::fs::write(partition.join("lines+0+0000000000.json"), "to be\nor not\nto be\n").unwrap();
/// # let (from, lake) = (from.to_str().unwrap(), lake.to_str().unwrap());
/// // In `main` this is `program().main()`, with the arguments of the process.
/// let done = program().main_from(["beginnings", "run", "--from", from, "--lake", lake]);
/// assert_eq!(done, ExitCode::SUCCESS);
///
/// let mut out = Vec::new();
/// let answers = ["beginnings", "answers", "--lake", lake, "--format", "csv"];
/// program().perform(answers, &mut out)?;
/// assert_eq!(String::from_utf8_lossy(&out), "view,word,count\ncounts,or,1\ncounts,to,2\n\n");
/// let check = ["beginnings", "check", "--from", from, "--lake", lake];
/// assert_eq!(program().perform(check, &mut out)?, ExitCode::SUCCESS);
/// # Ok::<(), Error>(())
/// ```
pub struct Program<O = ()> {
    pub(super) shell: Shell,
    pub(super) own: Vec<OwnCommand>,
    pub(super) build: Build<O>,
    pub(super) expects: Option<Expects<O>>,
    /// Generates the default archive if it does not exist.
    pub(super) generator: Option<Generate>,
}

impl Program {
    /// Returns a program that runs `topology`. The name is recorded in the state and in the tables:
    /// a program with another name can't continue them. It is also the name of the command.
    pub fn new(
        name: &'static str,
        topology: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync + 'static,
    ) -> Self {
        Program::with_options(name, move |builder: &StreamsBuilder<'_>, (): &()| topology(builder))
    }
}

impl<O: Args + Send + Sync + 'static> Program<O> {
    /// Returns a program whose topology depends on options of the command line.
    ///
    /// The commands `run`, `check` and `describe` take the options.
    ///
    /// ```
    /// use watershed::prelude::*;
    /// use watershed::program::Program;
    ///
    /// #[derive(clap::Args)]
    /// struct Options {
    ///     /// Ignore smaller numbers
    ///     #[arg(long, default_value_t = 0)]
    ///     least: i64,
    /// }
    ///
    /// fn topology(builder: &StreamsBuilder, options: &Options) {
    ///     let least = options.least;
    ///     builder.setting("least", least); // with another value it is another topology
    ///     let numbers = builder.table("number", Consumed::with(Int64, Int64));
    ///     numbers.filter(move |_, n| *n >= least).to("numbers", Produced::columns(["key", "n"]));
    /// }
    ///
    /// let program = Program::with_options("numbers", topology);
    /// let program = program.reads(["number"]).writes(["numbers"]);
    /// # let mut out = Vec::new();
    /// program.perform(["numbers", "run", "--help"], &mut out)?;
    /// assert!(String::from_utf8_lossy(&out).contains("--least"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_options(
        name: &'static str,
        topology: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>, &O) + Send + Sync + 'static,
    ) -> Self {
        let (shell, build) = (Shell::new(name), Arc::new(topology));
        Program { shell, own: Vec::new(), build, expects: None, generator: None }
    }

    /// Adds logical topics that the topology reads; `--from` binds them.
    #[must_use]
    pub fn reads(mut self, topics: impl IntoIterator<Item = &'static str>) -> Self {
        self.shell.reads.extend(topics);
        self
    }

    /// Adds topics that the topology writes, in the order in which `answers` prints them. Each is a
    /// Delta table, unless it is [archived](Output::archived). An [`Output`] has further
    /// properties, such as a title.
    #[must_use]
    pub fn writes(mut self, topics: impl IntoIterator<Item = impl Into<Output>>) -> Self {
        self.shell.writes.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Sets the batch program for `check`. It reads all records of the sources, and lists the rows
    /// that it expects in each table, including dead letters.
    #[must_use]
    pub fn expects(
        mut self,
        batch: impl Fn(&Inputs<'_, O>, &mut Expected) -> Result<()> + 'static,
    ) -> Self {
        self.expects = Some(Box::new(batch));
        self
    }

    /// Adds a URL scheme: `open` gets the URL and a logical topic.
    ///
    /// ```
    /// use watershed::connect::memory::MemoryLog;
    /// use watershed::program::Program;
    ///
    /// let program = Program::new("numbers", |_| {})
    ///     .reads(["number"])
    ///     .scheme("generated", |_url, _topic| Ok(Box::new(MemoryLog::default())));
    /// # let mut out = Vec::new();
    /// # program.perform(["numbers", "describe", "--from", "generated://?events=7"], &mut out)?;
    /// # assert!(String::from_utf8_lossy(&out).contains("number <- "));
    /// # Ok::<(), watershed::Error>(())
    /// ```
    #[must_use]
    pub fn scheme(
        mut self,
        scheme: &'static str,
        open: impl Fn(&str, &str) -> Result<Box<dyn Source>> + Send + Sync + 'static,
    ) -> Self {
        self.shell.schemes.insert(scheme, Box::new(open));
        self
    }

    /// Sets the URL that is read without `--from`; `data/archive` if it is not set.
    #[must_use]
    pub fn default_source(mut self, url: &'static str) -> Self {
        self.shell.default_source = url;
        self
    }

    /// Sets a function that generates the default archive. `run` calls it if there is no `--from`
    /// and the archive does not exist. `words` is the command that generates one in another place,
    /// such as `generate --to`; hints name it.
    #[must_use]
    pub fn generated_by(
        mut self,
        words: &'static str,
        make: impl Fn(&mut Context<'_>) -> Result<()> + 'static,
    ) -> Self {
        self.shell.generator = Some(words);
        self.generator = Some(Box::new(make));
        self
    }

    /// Adds an option for a prefix of all topics.
    #[must_use]
    pub fn prefix(mut self, prefix: Prefix) -> Self {
        self.shell.prefix = Some(prefix);
        self
    }

    /// Adds a command of the program's own, with arguments that derive [`clap::Args`].
    #[must_use]
    pub fn command<A: Args>(
        mut self,
        name: &'static str,
        about: &'static str,
        run: impl Fn(A, &mut Context<'_>) -> Result<()> + 'static,
    ) -> Self {
        let run =
            move |matches: &ArgMatches, context: &mut Context<'_>| run(parsed(matches)?, context);
        self.own.push(OwnCommand { name, about, arguments: A::augment_args, run: Box::new(run) });
        self
    }

    /// Sets the version that `--version` prints.
    #[must_use]
    pub fn version(mut self, version: &'static str) -> Self {
        self.shell.version = version;
        self
    }

    /// Sets the first lines of the help page: a summary, and after an empty line the rest.
    #[must_use]
    pub fn about(mut self, about: &'static str) -> Self {
        self.shell.about = about;
        self
    }

    /// Sets the end of the help page of a command, or of the program if `command` is "". The
    /// default is a few examples.
    #[must_use]
    pub fn help(mut self, command: &'static str, text: &'static str) -> Self {
        self.shell.helps.insert(command, text);
        self
    }
}
