//! The command `archive`: copies topics of Kafka into objects, as Confluent's S3 sink does.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, ScopedJoinHandle, scope};
use std::time::Duration;

use clap::Args;
use indicatif::HumanCount;

use super::bar::Bar;
use super::bind::{self, ARCHIVE};
use super::process::{print, stop_at_signals};
use super::shell::{Names, Shell};
use super::values;
use crate::connect::{Partition, Poll, Source};
use crate::connectors::archive::{Archive, ArchiveTopic, Copier, HybridSource, Rotation};
use crate::error::{Error, Result};
use crate::runtime::Stop;

/// Longest time that a reader waits for records before it checks if it must stop.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Time between two requests for the list of partitions.
const LISTING_INTERVAL: Duration = Duration::from_millis(500);

/// The topics to archive, and the place of the archive.
#[derive(Args)]
pub(super) struct ArchiveArgs {
    /// Kafka to read, as kafka://host:port
    #[arg(long, value_name = "URL")]
    from: String,
    /// Place of the archive, which may exist already: a folder, or s3://bucket/prefix
    #[arg(long, value_name = "URL", default_value = ARCHIVE)]
    to: String,
    /// Records of a complete object
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    flush_size: u64,
    /// Also complete an object at the first record whose timestamp is later than the timestamp of
    /// the object's first record by this time, such as 10m
    #[arg(long, value_name = "TIME", value_parser = values::interval)]
    rotate_interval: Option<Duration>,
    /// Go on as records are added, until SIGINT or SIGTERM
    #[arg(long)]
    follow: bool,
}

/// Copies the records of Kafka into an archive, and prints their numbers.
pub(super) fn archive(
    args: &ArchiveArgs,
    shell: &Shell,
    names: &Names,
    out: &mut dyn Write,
) -> Result<()> {
    if !args.from.starts_with("kafka://") {
        let from = bind::plainly(&args.from);
        return Err(Error::usage(format!(
            "can't archive {from}: only topics of Kafka have offsets to name objects by"
        ))
        .hint("Give --from kafka://host:port."));
    }
    let (logs, archive) = (bind::logs(shell, names, &args.from)?, Archive::open(&args.to)?);
    let mut topics = Vec::new();
    for name in &shell.reads {
        let topic = archive.topic(names.topic(name));
        let both = HybridSource::new(topic.clone(), logs(name)?);
        let log = logs(name)?;
        topics.push(Topic { name, log, topic, both, read: 0.into(), waiting: 0.into() });
    }
    let stop = stop_at_signals(shell.name, "records of incomplete objects stay in Kafka")?;
    let bar = Bar::new();
    let copied = copy_all(&topics, args, &stop, || {
        bar.show(topics.iter().map(Topic::report).collect::<Vec<_>>().join("; "))
    });
    bar.clear();
    copied?;
    print(out, &topics.iter().map(|topic| topic.report() + "\n").collect::<String>())
}

/// A topic of Kafka, its copy in the archive, and the two as one log.
struct Topic {
    name: &'static str,
    log: Box<dyn Source>,
    topic: ArchiveTopic,
    both: HybridSource,
    /// Records that were read, and those of them whose object is not complete yet.
    read: AtomicU64,
    waiting: AtomicU64,
}

/// Copies every partition on a thread of its own, also new ones: to the end that it had at the
/// start, or until `stop` is pulled.
fn copy_all(
    topics: &[Topic],
    args: &ArchiveArgs,
    stop: &Stop,
    mut show: impl FnMut(),
) -> Result<()> {
    scope(|scope| {
        let mut known = BTreeSet::new();
        let mut threads: Vec<ScopedJoinHandle<'_, Result<()>>> = Vec::new();
        let mut discover = || -> Result<bool> {
            // Check all new partitions before the first object is created.
            let mut opened = Vec::new();
            for (number, topic) in topics.iter().enumerate() {
                for partition in topic.log.partitions()? {
                    if known.insert((number, partition)) {
                        opened.push((topic, topic.open(partition, args)?));
                    }
                }
            }
            for (topic, copy) in opened {
                let work = move || topic.copy(copy, stop).inspect_err(|_| stop.stop());
                let thread = Builder::new().spawn_scoped(scope, work);
                threads.push(
                    thread
                        .map_err(|e| Error::no_thread("a thread that archives a partition", e))?,
                );
            }
            Ok(threads.iter().all(ScopedJoinHandle::is_finished))
        };
        let mut watch = || -> Result<()> {
            let mut over = discover()?;
            while !stop.is_asked() && (args.follow || !over) {
                show();
                std::thread::park_timeout(LISTING_INTERVAL);
                over = discover()?;
            }
            Ok(())
        };
        let watched = watch().inspect_err(|_| stop.stop());
        let died = |_| Err(Error::internal("a thread that archives a partition is gone"));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(died))
            .fold(watched, Result::and)
    })
}

impl Topic {
    /// Opens a partition at the position where its copy continues. Before that it checks that
    /// archive and topic are one log.
    fn open(&self, partition: u32, args: &ArchiveArgs) -> Result<(Copier, Box<dyn Partition>)> {
        let rotation =
            Rotation { flush_size: args.flush_size, rotate_interval: args.rotate_interval };
        let copier = self.topic.copy(partition, rotation)?;
        if let Some(next) = copier.next() {
            let mut reader = self.both.open(partition, Some(next), false)?;
            while let Poll::Idle = reader.poll()? {
                wait(&mut *reader);
            }
        }
        let reader = self.log.open(partition, copier.next(), args.follow)?;
        Ok((copier, reader))
    }

    fn copy(
        &self,
        (mut copier, mut reader): (Copier, Box<dyn Partition>),
        stop: &Stop,
    ) -> Result<()> {
        while !stop.is_asked() {
            match reader.poll()? {
                Poll::Batch(batch) => {
                    let waited = copier.waiting();
                    copier.push(&batch)?;
                    self.read.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
                    self.waiting
                        .fetch_add(copier.waiting().wrapping_sub(waited), Ordering::Relaxed);
                }
                Poll::Idle => wait(&mut *reader),
                Poll::End => break,
            }
        }
        Ok(())
    }

    fn report(&self) -> String {
        let (read, waiting) =
            (self.read.load(Ordering::Relaxed), self.waiting.load(Ordering::Relaxed));
        let archived = HumanCount(read.saturating_sub(waiting));
        format!(
            "{}: {archived} records archived, {} wait for a whole object",
            self.name,
            HumanCount(waiting)
        )
    }
}

fn wait(reader: &mut dyn Partition) {
    if !reader.wait(POLL_WAIT) {
        std::thread::park_timeout(POLL_WAIT);
    }
}
