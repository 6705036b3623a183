//! The commands `run` and `describe`: sources, Delta tables and an archive bound to a topology.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::advice::described;
use super::answers::{self, Format};
use super::bar::Bar;
use super::bind::{BindArgs, Binding, check_place, is_archive};
use super::liveness;
use super::missing::missing;
use super::process::{at_signals, print, say};
use super::processes::{self, ProcessArgs, Role};
use super::summary::summarise;
use super::values;
use crate::connect::Source;
use crate::connectors::delta::Delta;
use crate::error::{Error, Result};
use crate::runtime::{Adoption, Cluster, Config, Stop, Streams, TopologyChange};
use crate::store::Store;
use crate::topology::Topology;

#[derive(Args, Clone)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) bind: BindArgs,
    /// Worker threads [default: number of cores; processes on one machine share them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Go on as records are added, until SIGINT or SIGTERM. The file system reports the new objects
    /// of an archive; a bucket is asked once a second, and less often from 256 partitions on
    #[arg(long)]
    follow: bool,
    /// Close all windows once everything is read: no record will ever come that belongs into one.
    /// Records that a later run reads all the same are late
    #[arg(long, conflicts_with = "follow")]
    close_at_end: bool,
    /// Promise that no partition is added to the sources while they are followed: topics of Kafka
    /// keep their number of partitions, streams of Kinesis are not resharded, and each partition of
    /// an archive has a record already. Then deleted keys are forgotten; otherwise 20 bytes and the
    /// key of each are kept in memory for ever. A partition that is added nevertheless ends the run
    /// with exit code 65, before any of its records is read; the next run reads it too
    #[arg(long, requires = "follow")]
    fixed_partitions: bool,
    /// Continue the unchanged part of a state that another version of the program made: new tables
    /// get all rows, and unchanged ones are compared with their record. If other steps make the
    /// rows of a table now, one commit replaces all of them; its columns must be the same. Others
    /// are left as they are. Only a topic of which the snapshot lacks rows is read again from its
    /// beginning
    #[arg(long)]
    adopt: bool,
    /// Begin anew although a state exists: empty the tables, and read all records from the
    /// beginning of their logs. Earlier versions of the tables stay readable for a week. Give it
    /// once: if the run dies, the next one completes the reset, with this option or without.
    /// Nothing is changed if a source has lost the first records that the state was made of (exit
    /// code 65), or if rows were written to an archive, which can't be emptied (78)
    #[arg(long, conflicts_with = "adopt")]
    reset: bool,
    /// Least time between two commits, such as 1s or 200ms. While more than 128 MiB are unread, a
    /// commit also waits for 128 MiB of records, or for ten seconds. Once it has 128 MiB, it is due
    /// after a quarter of the time
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = values::duration)]
    commit_every: Duration,
    /// Delete objects of the archives that are read, once no restart needs their records and they
    /// are older than this, such as 7d; 0s for any age. Whoever else reads these archives must be
    /// ahead of this program. By default nothing is deleted
    #[arg(long, value_name = "AGE", value_parser = values::duration)]
    keep: Option<Duration>,
    /// File that this process writes each second, unless it hangs: for the liveness probe of
    /// Kubernetes. A step of a minute counts as a hang
    #[arg(long, value_name = "FILE")]
    liveness_file: Option<PathBuf>,
    #[command(flatten)]
    processes: ProcessArgs,
}

/// Runs the topology over the records that the sources hold at the start, or until it is stopped,
/// and prints the answers and a summary.
pub(super) fn run(
    args: &RunArgs,
    binding: &Binding<'_>,
    topology: Topology,
    out: &mut dyn Write,
) -> Result<()> {
    let shell = binding.shell;
    if args.keep.is_some() && !binding.urls().into_iter().any(is_archive) {
        return Err(Error::usage("can't delete objects: no archive is read").hint(
            "Give --from an archive, or leave out --keep: Kafka and Kinesis have a retention \
                of their own.",
        ));
    }
    let lake = binding.lake();
    let stop = Stop::default();
    let (cluster, gathering) = match args.processes.role(&stop)? {
        Role::Supervisor(processes) => {
            return processes::supervise(shell.name, processes, &Store::open(&lake.state)?);
        }
        Role::Member(cluster, gathering) => (Some(cluster), Some(gathering)),
        Role::Alone => (None, None),
    };
    let is_first = cluster.as_ref().is_none_or(Cluster::is_first);
    // One process of a machine writes the file.
    let file = args.liveness_file.as_ref().filter(|_| is_first || args.processes.is_placed());
    let liveness = file.map(|file| liveness::keep(file)).transpose()?;
    let sources = binding.sources_with(args.keep)?;
    let missing = if is_first { missing(binding)? } else { Vec::new() };
    // If there is a state, the runtime reports a topic that was read and is gone.
    let waits = args.follow
        || !missing.is_empty() && !Store::open(&lake.state)?.list("manifest")?.is_empty();
    for error in missing {
        if !waits {
            return Err(error);
        }
        tracing::warn!("{}", described(&error));
    }
    let mut streams = Streams::new(topology);
    for (topic, sources) in sources {
        for log in sources {
            streams = match args.fixed_partitions {
                true => streams.source(topic, log.with_fixed_partitions()),
                false => streams.source(topic, log),
            };
        }
    }
    for topic in shell.tables() {
        streams = streams.sink(topic, Delta::table(&lake.table(topic))?);
    }
    for topic in shell.archived() {
        streams = streams.sink(topic, lake.archive_topic(topic)?);
    }
    let state = Store::open(&lake.state)?;
    let mut topology_change = TopologyChange::Refuse;
    if args.reset {
        topology_change = TopologyChange::Reset;
    }
    if args.adopt {
        topology_change = TopologyChange::Adopt;
        if is_first && let Some(adoption) = streams.adoption(&state)? {
            say(format_args!("{}: {}", shell.name, described_adoption(&adoption)));
        }
    }
    let bar = Bar::new();
    let pulled = stop.clone();
    at_signals(shell.name, "once all records read are committed", move || {
        if let Some(gathering) = &gathering {
            gathering.end();
        }
        pulled.stop();
    })?;
    let mut config = Config {
        cluster,
        state: Some(state),
        topology_change,
        follow: args.follow,
        close_at_end: args.close_at_end,
        commit_every: args.commit_every,
        stop,
        progress: is_first.then(|| bar.watch(args.follow)),
        liveness,
        ..Config::default()
    };
    config.workers = match args.workers {
        Some(workers) => workers.into(),
        None => args.processes.workers(config.workers),
    };
    let summary = streams.run(config);
    bar.clear();
    let summary = summary?;
    // Process 0 has the answers, and the numbers of all processes.
    if !is_first {
        return Ok(());
    }
    answers::answers(None, &lake, Format::Table, None, out)?;
    print(out, &summarise(&summary))
}

/// Returns the changes to a state as lines for people.
fn described_adoption(adoption: &Adoption) -> String {
    let Adoption { kept, replaced, new, gone, found, lacking, read_again } = adoption;
    let lists = [
        ("tables that are continued", kept),
        ("tables whose rows are replaced", replaced),
        ("tables that are new", new),
        ("tables that are left as they are", gone),
        ("saved rows that are continued", found),
        ("saved rows that are lacking", lacking),
        ("topics that are read again from their beginning", read_again),
    ];
    let mut text = "adopting the state\n".to_string();
    for (title, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
        text += &format!("  {title}: {}\n", names.join(", "));
    }
    text + match read_again.is_empty() {
        true => "  only the records behind the snapshot are read",
        false => "  of other topics only the records behind the snapshot are read",
    }
}

/// Prints the topology, its sources and its outputs.
pub(super) fn describe(
    binding: &Binding<'_>,
    topology: &Topology,
    out: &mut dyn Write,
) -> Result<()> {
    let mut text = topology.describe();
    for (topic, sources) in binding.sources()? {
        sources.iter().for_each(|source| text += &format!("  {topic} <- {}\n", source.describe()));
    }
    let lake = binding.lake();
    for url in [lake.table(""), lake.state.clone()] {
        check_place(&url)?;
    }
    for topic in binding.shell.tables() {
        text += &format!("  {topic} -> delta {}\n", lake.table(topic));
    }
    for topic in binding.shell.archived() {
        let (url, name) = lake.archived(topic);
        text += &format!("  {topic} -> archive {url} topic {name}\n");
    }
    text += &format!("  state -> {}\n", lake.state);
    print(out, &text)
}
