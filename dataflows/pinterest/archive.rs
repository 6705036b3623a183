//! The command `archive`: the topics of Kafka into objects, as Confluent's S3 sink writes them.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, ScopedJoinHandle, scope};
use std::time::Duration;

use clap::Args;
use indicatif::HumanCount;
use watershed::connect::{Partition, Poll, Source};
use watershed::connectors::archive::{Archive, ArchiveTopic, Copier, HybridSource, Rotation};
use watershed::runtime::Stop;
use watershed::{Error, Result};

use crate::run::{self, Bar, KINDS};
use crate::{duration, print, user_id};

/// How long a reader without news waits before it looks whether it is to stop, and how often it is
/// looked for new partitions.
const WAIT: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(500);

/// What is archived.
#[derive(Args)]
pub(crate) struct ArchiveArgs {
    /// The Kafka to read, kafka://host:port
    #[arg(long, value_name = "URL")]
    from: String,
    /// Where the archive is or begins: a folder, or s3://bucket/prefix
    #[arg(long, value_name = "URL", default_value = run::ARCHIVE)]
    to: String,
    /// An object is complete with this many records; 1 is how the original archives
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    flush_size: u64,
    /// … or when a record comes that is this much later, by its timestamp, than the object's first,
    /// such as 10m
    #[arg(long, value_name = "TIME", value_parser = interval)]
    rotate_interval: Option<Duration>,
    /// Go on as records are added, until SIGINT or SIGTERM
    #[arg(long)]
    follow: bool,
    /// Topics are <ID>.pin, <ID>.geo, <ID>.user
    #[arg(long, value_name = "ID", default_value = "demo", value_parser = user_id)]
    user_id: String,
}

/// Archives what is in Kafka, or also what comes, and says how much that was.
pub(crate) fn archive(args: &ArchiveArgs, out: &mut dyn Write) -> Result<()> {
    if !args.from.starts_with("kafka://") {
        let from = run::plainly(&args.from);
        return Err(Error::usage(format!(
            "can't archive {from}: only topics of Kafka have offsets to name objects by"
        ))
        .hint("Give --from kafka://host:port."));
    }
    let (logs, archive) = (run::logs(&args.from, &args.user_id)?, Archive::open(&args.to)?);
    let mut topics = Vec::new();
    for (kind, _) in KINDS {
        let topic = archive.topic(format!("{}.{kind}", args.user_id));
        let both = HybridSource::new(topic.clone(), logs(kind)?);
        topics.push(Topic {
            name: kind,
            log: logs(kind)?,
            topic,
            both,
            read: 0.into(),
            waiting: 0.into(),
        });
    }
    let (bar, stop) =
        (Bar::new(), run::stop_at_signals("what makes no whole object stays in Kafka")?);
    let copied = copy_all(&topics, args, &stop, || {
        bar.tell(topics.iter().map(Topic::said).collect::<Vec<_>>().join("; "))
    });
    bar.clear();
    copied?;
    print(out, &topics.iter().map(|topic| topic.said() + "\n").collect::<String>())
}

/// A topic, what there is of it in the archive, and the two as one log.
struct Topic {
    name: &'static str,
    log: Box<dyn Source>,
    topic: ArchiveTopic,
    both: HybridSource,
    /// Records that were read, and those of them that make no whole object yet.
    read: AtomicU64,
    waiting: AtomicU64,
}

/// Copies every partition on a thread of its own, new ones too, to the end of what was there or
/// until it is to stop.
fn copy_all(
    topics: &[Topic],
    args: &ArchiveArgs,
    stop: &Stop,
    mut show: impl FnMut(),
) -> Result<()> {
    scope(|scope| {
        let mut known = BTreeSet::new();
        let mut threads: Vec<ScopedJoinHandle<'_, Result<()>>> = Vec::new();
        let mut look = || -> Result<bool> {
            // All are looked at before the first object is created.
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
            let mut over = look()?;
            while !stop.is_asked() && (args.follow || !over) {
                show();
                std::thread::park_timeout(LOOK);
                over = look()?;
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
    /// Opens a partition where its copy goes on, once archive and topic are found to be one log.
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

    fn said(&self) -> String {
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

fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| {
        if time.is_zero() { Err("more than none, such as 10m".into()) } else { Ok(time) }
    })
}

fn wait(reader: &mut dyn Partition) {
    if !reader.wait(WAIT) {
        std::thread::park_timeout(WAIT);
    }
}
