//! The program in this process: bound like its own `main`, run to the end, or followed.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use watershed::connect::Sink;
use watershed::connectors::archive::Archive;
use watershed::connectors::delta::Delta;
use watershed::runtime::{Config, Milestone, Stop, Streams, Summary};
use watershed::store::Store;
use watershed::{DEAD_LETTERS, StreamsBuilder, Topology};

use crate::Result;
use crate::bounds::Bounds;
use crate::questions::QUESTIONS;
use crate::support::archive::KINDS;
use crate::support::report::HANG_TIMEOUT;
use crate::topology::topology;

/// Binds the topics to an archive and to tables in `work`.
pub(crate) fn streams(archive: &Path, work: &Path) -> Result<Streams> {
    streams_into(archive, |table| Ok(Delta::table(&self::table(work, table))?))
}

/// Binds the topics to an archive and to the sinks that `sink` makes from the names of tables.
pub(crate) fn streams_into<S: Sink + 'static>(
    archive: &Path,
    sink: impl Fn(&str) -> Result<S>,
) -> Result<Streams> {
    let build = |builder: &StreamsBuilder<'_>| topology(builder, &Bounds::default());
    let mut streams = Streams::new(Topology::new("pinterest", build));
    let archive = Archive::open(&archive.display().to_string())?;
    for kind in KINDS {
        streams = streams.source(kind, archive.topic(format!("demo.{kind}")));
    }
    for table in tables() {
        streams = streams.sink(&table, sink(&table)?);
    }
    Ok(streams)
}

/// The names of all tables.
pub(crate) fn tables() -> impl Iterator<Item = String> {
    let answers = QUESTIONS.map(|(view, _)| view.to_string());
    let dead_letters = DEAD_LETTERS.to_string();
    KINDS.map(|kind| format!("{kind}_table")).into_iter().chain(answers).chain([dead_letters])
}

/// The URL of a table.
pub(crate) fn table(work: &Path, table: &str) -> String {
    work.join("lake").join(table).display().to_string()
}

/// A configuration with `workers` workers, state on disk, and a commit a second.
pub(crate) fn config(work: &Path, workers: usize) -> Result<Config> {
    let state = Some(Store::open(&work.join("state").display().to_string())?);
    Ok(Config { workers, state, ..Config::default() })
}

/// A run that follows its sources.
pub(crate) struct Live {
    stop: Stop,
    milestones: Receiver<(Instant, Milestone)>,
    run: JoinHandle<watershed::Result<Summary>>,
    /// The number of records in the answers.
    pub(crate) answered: u64,
    /// The number of committed records.
    pub(crate) committed: u64,
}

impl Live {
    /// Starts the run.
    pub(crate) fn start(streams: Streams, mut config: Config) -> Result<Self> {
        let (sender, milestones) = channel();
        let stop = config.stop.clone();
        config.follow = true;
        config.milestone = Some(Box::new(move |milestone| {
            // The receiver may be gone.
            let _ = sender.send((Instant::now(), milestone));
        }));
        let run = std::thread::spawn(move || streams.run(config));
        Ok(Live { stop, milestones, run, answered: 0, committed: 0 })
    }

    /// Returns the next milestone, or `None` after `timeout`.
    pub(crate) fn next(&mut self, timeout: Duration) -> Result<Option<(Instant, Milestone)>> {
        match self.milestones.recv_timeout(timeout) {
            Ok((at, milestone)) => {
                match milestone {
                    Milestone::Answered(records) => self.answered = self.answered.max(records),
                    Milestone::Committed(records) => self.committed = self.committed.max(records),
                }
                Ok(Some((at, milestone)))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("the run has ended by itself".into()),
        }
    }

    /// Waits for milestones until `reached`, and returns the time of the last one.
    pub(crate) fn until(&mut self, reached: impl Fn(&Live) -> bool) -> Result<Instant> {
        loop {
            let (at, _) = self
                .next(HANG_TIMEOUT)?
                .ok_or_else(|| format!("nothing has happened for {HANG_TIMEOUT:?}"))?;
            if reached(self) {
                return Ok(at);
            }
        }
    }

    /// Waits until `records` records are answered and committed.
    pub(crate) fn replayed(&mut self, records: u64) -> Result {
        self.until(|live| live.answered >= records && live.committed >= records)?;
        if self.answered > records {
            return Err(
                format!("{} records were read, and {records} were there", self.answered).into()
            );
        }
        Ok(())
    }

    /// Receives milestones for the length of `pause`.
    pub(crate) fn rest(&mut self, pause: Duration) -> Result {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.next(left)?;
        }
        Ok(())
    }

    /// Stops the run.
    pub(crate) fn end(self) -> Result<Summary> {
        self.stop.stop();
        Ok(self.run.join().map_err(|_| "the run panicked")??)
    }
}
