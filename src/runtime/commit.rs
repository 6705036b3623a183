//! The committer's thread: stage, decide, show; one commit after the other.
//!
//! Housekeeping is fenced as commits are. It moves what a commit names, so there is none after a
//! failed commit, which a later run may still show, and none once a newer run has begun, which
//! knows the tables as they were then.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, ScopedJoinHandle};

use super::coordinator::Message;
use crate::connect::{Chore, Committer, Identity};
use crate::durable::{Ledger, Manifest, SinkState, SourceState};
use crate::error::{Error, Result};

/// What all workers together say of a sink: what its writers handed over, its rows, their digest.
pub(super) type Parts = (Vec<Box<dyn Any + Send>>, u64, u64);

/// What the committer is asked to do.
pub(super) enum Job {
    /// Compare the rows that were found again, by sink, with all that there are.
    Settle(Vec<u64>),
    /// Commit what was read and what changed, by sink.
    Commit(BTreeMap<String, Vec<SourceState>>, Vec<Parts>),
}

/// A sink as the committer sees it.
pub(super) struct Target {
    pub(super) topic: String,
    pub(super) name: String,
    pub(super) identity: Identity,
    pub(super) committer: Box<dyn Committer>,
}

/// Waits for the thread of a sink, and gives its result.
fn joined<T>(thread: std::io::Result<ScopedJoinHandle<'_, Result<T>>>) -> Result<T> {
    let thread = thread.map_err(|e| Error::no_thread("a thread for a sink", e))?;
    thread.join().unwrap_or_else(|_| Err(Error::internal("a sink panicked")))
}

fn complain(target: &Target, error: &Error) {
    tracing::warn!(topic = target.topic, %error, "housekeeping failed, it will be tried again");
}

/// Returns true if no newer run has begun, as far as the ledger can be asked.
fn newest(ledger: &Option<Ledger>) -> bool {
    ledger.as_ref().map_or(Ok(true), Ledger::newest).unwrap_or_else(|error| {
        tracing::warn!(%error, "can't tell whether another run has begun, so there is no housekeeping");
        false
    })
}

/// All sinks of a run and the ledger that decides for them.
pub(super) struct Commits {
    pub(super) targets: Vec<Target>,
    pub(super) ledger: Option<Ledger>,
    /// The number of the last commit.
    pub(super) last: u64,
}

impl Commits {
    /// Brings every sink to the last manifest: a run may have died between deciding and showing.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        let Some(last) = self.ledger.as_ref().and_then(|ledger| ledger.last.clone()) else {
            return Ok(());
        };
        self.last = last.n;
        for target in &mut self.targets {
            if let Some(SinkState { content: Some(content), .. }) = last.sinks.get(&target.topic) {
                target.committer.commit(last.n, content)?;
            }
        }
        Ok(())
    }

    /// Makes commits until there are no more to make. Beside them, on another thread, one chore at
    /// a time is done.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, coordinator: &Sender<Message>) {
        let (give, chores) = channel::<(usize, Chore)>();
        let (tell, done) = channel();
        std::thread::scope(|scope| {
            let keep_house =
                move || chores.into_iter().all(|(sink, chore)| tell.send((sink, chore())).is_ok());
            if let Err(error) = Builder::new().spawn_scoped(scope, keep_house) {
                let error = Error::no_thread("a thread for housekeeping", error);
                // A coordinator that is gone needs no telling.
                let _ = coordinator.send(Message::Failed(error));
                return;
            }
            let mut busy = false;
            while let Ok(job) = jobs.recv() {
                let result = match job {
                    Job::Settle(found) => self.settle(&found).map(|()| Message::Settled),
                    Job::Commit(sources, sinks) => {
                        self.commit(sources, sinks).map(|()| Message::Committed(self.last))
                    }
                };
                let failed = result.is_err();
                if coordinator.send(result.unwrap_or_else(Message::Failed)).is_err() || failed {
                    return;
                }
                if let Ok((sink, result)) = done.try_recv() {
                    self.maintained(sink, result);
                    busy = false;
                }
                busy = busy || self.maintain(&give);
            }
            drop(give);
            done.into_iter().for_each(|(sink, result)| self.maintained(sink, result));
        });
    }

    /// Starts the chore of the first sink that has one; false if none has. Each sink is the first
    /// to be asked in its turn.
    fn maintain(&mut self, chores: &Sender<(usize, Chore)>) -> bool {
        let sinks = self.targets.len();
        (0..sinks).map(|i| (self.last as usize + i) % sinks).any(|sink| {
            let target = &mut self.targets[sink];
            match target.committer.maintain() {
                Ok(chore) => chore.is_some_and(|chore| {
                    newest(&self.ledger) && chores.send((sink, chore)).is_ok()
                }),
                Err(error) => {
                    complain(target, &error);
                    false
                }
            }
        })
    }

    fn maintained(&mut self, sink: usize, result: Result<Box<dyn Any + Send>>) {
        if !newest(&self.ledger) {
            return;
        }
        let target = &mut self.targets[sink];
        if let Err(error) = result.and_then(|done| target.committer.maintained(done)) {
            complain(target, &error);
        }
    }

    fn settle(&mut self, found: &[u64]) -> Result<()> {
        self.targets
            .iter_mut()
            .zip(found)
            .try_for_each(|(target, found)| target.committer.recovered(*found))
    }

    fn commit(
        &mut self,
        sources: BTreeMap<String, Vec<SourceState>>,
        sinks: Vec<Parts>,
    ) -> Result<()> {
        let n = self.last + 1;
        // Staging and showing are mostly waiting for disks: all sinks at once.
        let staged: Vec<Result<SinkState>> = std::thread::scope(|scope| {
            let stage = |(target, (parts, rows, digest)): (_, Parts)| {
                let target: &mut Target = target;
                Builder::new().spawn_scoped(scope, move || {
                    let content =
                        if parts.is_empty() { None } else { target.committer.stage(n, parts)? };
                    let (sink, identity) = (target.name.clone(), target.identity.clone());
                    Ok(SinkState { sink, identity, rows, digest, content })
                })
            };
            let threads: Vec<_> = self.targets.iter_mut().zip(sinks).map(stage).collect();
            threads.into_iter().map(joined).collect()
        });
        let staged = staged.into_iter().collect::<Result<Vec<SinkState>>>()?;
        if let Some(ledger) = &mut self.ledger {
            let mut manifest = Manifest::after(ledger);
            manifest.sources = sources;
            manifest.sinks =
                self.targets.iter().map(|t| t.topic.clone()).zip(staged.iter().cloned()).collect();
            ledger.commit(manifest)?;
        }
        self.last = n;
        let shown: Vec<Result<()>> = std::thread::scope(|scope| {
            let changed = self
                .targets
                .iter_mut()
                .zip(&staged)
                .filter_map(|(target, state)| Some((target, state.content.as_ref()?)));
            let show = |(target, content): (_, _)| {
                let target: &mut Target = target;
                Builder::new().spawn_scoped(scope, move || target.committer.commit(n, content))
            };
            let threads: Vec<_> = changed.map(show).collect();
            threads.into_iter().map(joined).collect()
        });
        shown.into_iter().collect()
    }
}
