//! The program in this process: bound as its own `main` binds it, run to the end, or followed.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use watershed::connectors::archive::Archive;
use watershed::connectors::delta::Delta;
use watershed::runtime::{Config, Milestone, Stop, Streams, Summary};
use watershed::store::Store;
use watershed::{DEAD_LETTERS, StreamsBuilder, Topology};

use crate::Result;
use crate::bench::archive::KINDS;
use crate::bench::report::TOO_LONG;
use crate::bounds::Bounds;
use crate::questions::QUESTIONS;
use crate::topology::topology;

/// Binds the topics to an archive and to tables in `work`.
pub(crate) fn streams(archive: &Path, work: &Path) -> Result<Streams> {
    let build = |builder: &StreamsBuilder<'_>| topology(builder, &Bounds::default());
    let mut streams = Streams::new(Topology::new("pinterest", build));
    let archive = Archive::open(&archive.display().to_string())?;
    for kind in KINDS {
        streams = streams.source(kind, archive.topic(format!("demo.{kind}")));
    }
    let tables = KINDS.map(|kind| format!("{kind}_table"));
    for table in tables
        .iter()
        .map(String::as_str)
        .chain(QUESTIONS.map(|(view, _)| view))
        .chain([DEAD_LETTERS])
    {
        streams = streams.sink(table, Delta::table(&self::table(work, table))?);
    }
    Ok(streams)
}

/// Where a table is.
pub(crate) fn table(work: &Path, table: &str) -> String {
    work.join("lake").join(table).display().to_string()
}

/// With so many workers, state on disk, and a commit a second.
pub(crate) fn config(work: &Path, workers: usize) -> Result<Config> {
    let state = Some(Store::open(&work.join("state").display().to_string())?);
    Ok(Config { workers, state, ..Config::default() })
}

/// A run that follows its sources.
pub(crate) struct Live {
    stop: Stop,
    told: Receiver<(Instant, Milestone)>,
    run: JoinHandle<watershed::Result<Summary>>,
    /// Records that the answers know.
    pub(crate) answered: u64,
    /// Records that the tables show.
    pub(crate) committed: u64,
}

impl Live {
    /// Starts it.
    pub(crate) fn start(streams: Streams, mut config: Config) -> Result<Self> {
        let (tell, told) = channel();
        let stop = config.stop.clone();
        config.follow = true;
        config.milestone = Some(Box::new(move |milestone| {
            // Who has stopped listening needs no more.
            let _ = tell.send((Instant::now(), milestone));
        }));
        let run = std::thread::spawn(move || streams.run(config));
        Ok(Live { stop, told, run, answered: 0, committed: 0 })
    }

    /// The next milestone, within `patience`; `None` if there is none.
    pub(crate) fn next(&mut self, patience: Duration) -> Result<Option<(Instant, Milestone)>> {
        match self.told.recv_timeout(patience) {
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

    /// Waits for milestones until `reached`, and returns when that was.
    pub(crate) fn until(&mut self, reached: impl Fn(&Live) -> bool) -> Result<Instant> {
        loop {
            let (at, _) = self
                .next(TOO_LONG)?
                .ok_or_else(|| format!("nothing has happened for {TOO_LONG:?}"))?;
            if reached(self) {
                return Ok(at);
            }
        }
    }

    /// Waits until all of so many records are answered and committed.
    pub(crate) fn replayed(&mut self, records: u64) -> Result {
        self.until(|live| live.answered >= records && live.committed >= records)?;
        if self.answered > records {
            return Err(
                format!("{} records were read, and {records} were there", self.answered).into()
            );
        }
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn rest(&mut self, pause: Duration) -> Result {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.next(left)?;
        }
        Ok(())
    }

    /// Ends it in good order.
    pub(crate) fn end(self) -> Result<Summary> {
        self.stop.stop();
        Ok(self.run.join().map_err(|_| "the run panicked")??)
    }
}
