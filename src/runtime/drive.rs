//! The coordinator's loop: what each message changes, and what may be done next.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::alarm::spawn;
use super::begin::Found;
use super::commit::{Commits, Job};
use super::coordinator::{Coordinator, Gathered, Marked, Message, Phase};
use super::ingest::{Place, Reader, SoFar, scout};
use super::progress::TELL;
use super::{Milestone, Summary};
use crate::connect::Partition;
use crate::durable::{Bound, SourceState};
use crate::error::{Error, Result};
use crate::ports::Report;
use crate::time::Epoch;

/// Under load an epoch is closed after this time: long epochs are cheaper, and commits need some to
/// mark.
const LONG_EPOCH: Duration = Duration::from_millis(100);
/// The cost after which it is closed before that: what workers decode on and on keeps the answers
/// waiting.
const FULL: usize = 16 << 20;
/// Of these, what is handed out before the epoch before is through. Workers decode it then, to let
/// it lie and grow cold.
const AHEAD: usize = 2 << 20;
/// Bytes still to read before which nobody waits for answers: until then epochs are four times as
/// long.
const FAR: u64 = 128 << 20;

impl Coordinator {
    /// Goes on to the end.
    pub(crate) fn run(mut self) -> Result<Summary> {
        let result = self.drive();
        self.end_reading();
        self.topics.iter().for_each(|topic| topic.feed.finish());
        self.jobs = None;
        // A commit on its way is made or fails, but does not go on behind the back of whoever is
        // told the result.
        if self.committer.take().is_some_and(|thread| thread.join().is_err()) {
            return Err(Error::internal("the committer panicked"));
        }
        if let Some(guards) = self.guards.take() {
            match &result {
                // Workers may wait for one that is gone: they end with the process.
                Err(_) => std::mem::forget(guards),
                Ok(()) => drop(guards),
            }
        }
        if result.is_ok() {
            // The workers are through with all that was closed; their word of it is no longer
            // heard.
            self.through = self.open;
            self.show();
            let scouts = self.threads.drain(..).all(|thread| thread.join().is_ok());
            if !scouts || !self.readers.join() {
                return Err(Error::internal("a thread of the run panicked"));
            }
        }
        result.map(|()| self.summary())
    }

    fn drive(&mut self) -> Result<()> {
        loop {
            let message = match self.inbox.recv_timeout(self.patience()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("the coordinator is alone"));
                }
            };
            // All that waits is taken before an epoch is closed, but not for ever.
            let (mut waiting, mut quiet) = (message, true);
            while let Some(message) = waiting.take() {
                self.handle(message)?;
                if self.full() {
                    quiet = false;
                    break;
                }
                waiting = self.inbox.try_recv().ok();
            }
            if self.advance(quiet)? {
                return Ok(());
            }
            self.readers.relieve()?;
            self.tell();
        }
    }

    /// How long nothing needs to be done without a message. An epoch that waits for the one before
    /// is woken by its message.
    fn patience(&self) -> Duration {
        let ready = self.through >= self.open;
        let commit = (ready && self.unmarked && self.marked.is_none()).then(|| self.until_commit());
        let epoch =
            (ready && self.dirty).then(|| self.long().0.saturating_sub(self.opened.elapsed()));
        [commit, epoch]
            .into_iter()
            .flatten()
            .fold(TELL, Duration::min)
            .max(Duration::from_micros(100))
    }

    /// After how long and what cost an epoch is closed, however much there is still to come.
    fn long(&self) -> (Duration, usize) {
        let times = if self.remaining.load(Ordering::Relaxed) > FAR { 4 } else { 1 };
        (LONG_EPOCH * times, FULL * times as usize)
    }

    fn full(&self) -> bool {
        let (time, bytes) = self.long();
        self.dirty && (self.ahead >= bytes || self.opened.elapsed() >= time)
    }

    fn until_commit(&self) -> Duration {
        self.last_mark
            .map_or(Duration::ZERO, |last| self.config.commit_every.saturating_sub(last.elapsed()))
    }

    fn handle(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Batch(place, batch, digest) => {
                self.waiting.push_back((place, batch, digest));
                self.hand_out();
            }
            Message::Recovered(place) => {
                self.recovering.remove(&place);
            }
            Message::End(place) => {
                self.reading.remove(&place);
                self.recovering.remove(&place);
            }
            Message::Partitions(topic, rank, partitions) => {
                for partition in partitions {
                    let place = (topic, rank, partition);
                    if !self.bounds.contains_key(&place) && !self.reading.contains_key(&place) {
                        self.read(place, None, None)?;
                    }
                }
            }
            Message::Through(epoch) => {
                self.through = epoch;
                self.marks.through(epoch);
                self.show();
                while let Some((_, records)) = self.ends.pop_front_if(|(end, _)| *end < epoch) {
                    self.reach(Milestone::Answered(records));
                }
                self.hand_out();
            }
            Message::Report(sink, report) => self.report(sink, report)?,
            Message::Settled => {
                self.phase = Phase::Live;
                self.show();
                // The first commit comes in its time too: a short replay is one commit.
                self.last_mark = Some(Instant::now());
                self.readers.go_live();
            }
            Message::Committed(n) => {
                self.committed = n;
                if let Some(marked) = self.marked.take() {
                    self.tell_sources(&marked.sources);
                    self.reach(Milestone::Committed(marked.records));
                }
                if !self.unmarked && self.waiting.is_empty() {
                    self.answer();
                }
            }
            Message::Failed(error) => return Err(error),
            Message::Stop => {
                self.stopping = true;
                self.end_reading();
            }
            Message::Close(answer) => self.asked.push(answer),
        }
        Ok(())
    }

    /// Hands out the batches that wait: not too many, or the answers would fall behind.
    fn hand_out(&mut self) {
        let most = match (self.phase, self.through >= self.open) {
            (Phase::Live, true) => self.long().1,
            (Phase::Live, false) => AHEAD,
            _ => usize::MAX,
        };
        while self.ahead < most
            && let Some((place, batch, digest)) = self.waiting.pop_front()
        {
            if !self.dirty {
                self.opened = Instant::now();
            }
            (self.dirty, self.unmarked) = (true, true);
            let fresh = Bound { from: batch.first, to: batch.first, digest: 0 };
            let bound = self.bounds.entry(place).or_insert(fresh);
            bound.to = batch.next;
            bound.digest = bound.digest.wrapping_add(digest);
            self.ahead += batch.cost();
            self.records += batch.records.len() as u64;
            self.topics[place.0].feed.push(place.1, batch);
        }
    }

    fn report(&mut self, sink: usize, report: Report) -> Result<()> {
        let Gathered { missing, sinks, found } = &mut self.gathered;
        let (rows, digest) = match report {
            Report::Failed(error) => {
                // A row that is not found again may be one that the source no longer says: then
                // that is the news.
                if self.phase == Phase::Settling {
                    self.compare()?;
                }
                return Err(error);
            }
            Report::Staged { part, rows, digest } => {
                sinks[sink].0.extend(part);
                (rows, digest)
            }
            Report::Recovered { found: again, rows, digest } => {
                found[sink] += again;
                (rows, digest)
            }
        };
        sinks[sink].1 += rows;
        sinks[sink].2 = sinks[sink].2.wrapping_add(digest);
        *missing -= 1;
        Ok(())
    }

    /// Begins to wait for a report of each sink's part on each worker.
    pub(super) fn gather(&mut self) {
        let sinks = self.sinks.iter().map(|_| Default::default()).collect();
        self.gathered = Gathered {
            missing: self.sinks.len() * self.workers,
            sinks,
            found: vec![0; self.sinks.len()],
        };
    }

    /// Does what may be done now; true when all is done.
    fn advance(&mut self, quiet: bool) -> Result<bool> {
        match self.phase {
            // What is not rebuilt can't be continued: nothing has been changed yet.
            Phase::Recovering | Phase::Settling | Phase::Checking if self.stopping => {
                return Ok(true);
            }
            Phase::Recovering if self.recovering.is_empty() => {
                (self.dirty, self.unmarked) = (false, false);
                self.open_epoch(1);
                self.phase = Phase::Settling;
            }
            Phase::Settling if self.gathered.missing == 0 && self.through >= 1 => {
                self.recovered =
                    self.topics.iter().map(|t| t.counters.read.load(Ordering::Relaxed)).sum();
                self.compare()?;
                let found = std::mem::take(&mut self.gathered.found);
                self.hand(Job::Settle(found))?;
                self.phase = Phase::Checking;
            }
            Phase::Live => return self.advance_live(quiet),
            _ => {}
        }
        Ok(false)
    }

    fn advance_live(&mut self, quiet: bool) -> Result<bool> {
        if let Some(marked) = &mut self.marked
            && !marked.handed
            && self.gathered.missing == 0
        {
            marked.handed = true;
            let (sources, sinks) =
                (marked.sources.clone(), std::mem::take(&mut self.gathered.sinks));
            self.hand(Job::Commit(sources, sinks))?;
        }
        let ending =
            self.stopping || (self.reading.is_empty() && !self.config.follow && !self.manual);
        let over = ending && quiet && self.waiting.is_empty();
        let asked = !self.asked.is_empty() && self.waiting.is_empty();
        let through = self.through >= self.open;
        let due = self.marked.is_none()
            && (over || asked || (!self.manual && self.until_commit().is_zero()));
        let full = quiet || self.full();
        let close = self.dirty && through && !self.manual && full;
        if self.unmarked && due && (close || over || asked || !self.dirty) {
            self.mark();
        } else if close {
            self.dirty = false;
            self.open_epoch(self.open + 1);
        }
        if !self.unmarked && self.marked.is_none() && self.waiting.is_empty() {
            self.answer();
        }
        Ok(over && !self.dirty && !self.unmarked && self.marked.is_none())
    }

    /// Answers those who asked for a commit, once the stores show it too.
    fn answer(&mut self) {
        if self.through < self.open {
            return;
        }
        for answer in self.asked.drain(..) {
            // Who no longer listens needs no answer.
            let _ = answer.send(());
        }
    }

    /// Closes the open epoch with a mark: a commit is made of all up to it.
    fn mark(&mut self) {
        let mut sources: BTreeMap<String, Vec<SourceState>> = BTreeMap::new();
        for (number, topic) in self.topics.iter().enumerate() {
            let state = |(rank, source): (u16, &std::sync::Arc<dyn crate::connect::Source>)| {
                let all = (number, rank, 0)..=(number, rank, u32::MAX);
                let partitions: BTreeMap<_, _> =
                    self.bounds.range(all).map(|(place, bound)| (place.2, *bound)).collect();
                let memory =
                    source.remember(&partitions.iter().map(|(p, bound)| (*p, bound.to)).collect());
                let identities =
                    topic.identities.get(usize::from(rank)).cloned().unwrap_or_default();
                SourceState { source: source.describe(), identities, partitions, memory }
            };
            sources.insert(topic.name.clone(), topic.ranked().map(state).collect());
        }
        self.marked = Some(Marked { sources, handed: false, records: self.records });
        self.gather();
        self.marks.set(self.open);
        self.last_mark = Some(Instant::now());
        (self.dirty, self.unmarked) = (false, false);
        self.open_epoch(self.open + 1);
    }

    fn reach(&mut self, milestone: Milestone) {
        if let Some(told) = &mut self.config.milestone {
            told(milestone);
        }
    }

    fn open_epoch(&mut self, epoch: Epoch) {
        self.ends.push_back((self.open, self.records));
        self.open = epoch;
        self.ahead = 0;
        self.opening.store(epoch, Ordering::Release);
        self.topics.iter().for_each(|topic| topic.feed.open(epoch));
        self.hand_out();
    }

    /// Whether what was read again is what was committed.
    fn compare(&self) -> Result<()> {
        let Some(last) = &self.last else { return Ok(()) };
        for (place, bound) in &self.bounds {
            let topic = &self.topics[place.0];
            let state =
                last.sources.get(&topic.name).and_then(|sources| sources.get(usize::from(place.1)));
            if let Some(recorded) = state.and_then(|state| state.partitions.get(&place.2))
                && recorded != bound
            {
                let (name, from, to) = (self.name(*place), bound.from, bound.to);
                return Err(Error::data(format!("records {from}..{to} of {name} are not those that were read before"))
                    .hint("Restore them, or begin anew with another --state and --lake; what Kafka compacts has no way back."));
            }
        }
        for (topic, (_, rows, digest)) in self.sinks.iter().zip(&self.gathered.sinks) {
            if self.gathered.missing == 0
                && let Some(state) = last.sinks.get(topic)
                && (state.rows, state.digest) != (*rows, *digest)
            {
                let (topic, before) = (format!("other rows of {topic}"), state.rows);
                return Err(Error::data(format!("what was read makes {topic} than it made: {rows} now, {before} before"))
                    .hint("Run the version of the program that made them, or begin anew with another --state and --lake."));
            }
        }
        Ok(())
    }

    fn hand(&self, job: Job) -> Result<()> {
        let gone = || Error::internal("the committer is gone");
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())
    }

    pub(super) fn start_committer(&mut self, commits: Commits) -> Result<()> {
        let (jobs, inbox) = channel();
        let coordinator = self.outbox.clone();
        let work = move || commits.run(&inbox, &coordinator);
        self.committer = Some(spawn("committer", "commit".into(), &self.outbox, work)?);
        self.jobs = Some(jobs);
        Ok(())
    }

    fn name(&self, (topic, rank, partition): Place) -> String {
        let topic = &self.topics[topic];
        format!("{}, partition {partition}", topic.sources[usize::from(rank)].describe())
    }

    /// Starts reading every partition, and looking for new ones.
    pub(super) fn read_all(&mut self, places: Vec<Found>) -> Result<()> {
        if self.manual {
            return Ok(());
        }
        for (number, topic) in self.topics.iter().enumerate().filter(|_| self.config.follow) {
            for (rank, source) in topic.ranked() {
                let (control, coordinator) = (self.control.clone(), self.outbox.clone());
                self.threads.push(scout(number, rank, source.clone(), control, coordinator)?);
            }
        }
        places
            .into_iter()
            .try_for_each(|(place, bound, opened)| self.read(place, bound, Some(opened)))
    }

    fn read(
        &mut self,
        place: Place,
        bound: Option<Bound>,
        opened: Option<Box<dyn Partition>>,
    ) -> Result<()> {
        let reader = Reader {
            place,
            name: self.name(place),
            source: self.topics[place.0].sources[usize::from(place.1)].clone(),
            bound,
            partition: opened,
            follow: self.config.follow,
            credit: self.credit.clone(),
            left: self.reading.entry(place).or_default().clone(),
            remaining: self.remaining.clone(),
            coordinator: self.outbox.clone(),
            secret: self.secret,
            so_far: SoFar::default(),
        };
        if self.phase == Phase::Recovering {
            self.recovering.insert(place);
        }
        self.readers.add(reader)
    }
}
