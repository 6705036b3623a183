//! The other processes of a run, as process 0 addresses them, and the deal of batches among all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::network::{Leader, Outbox, Sharing};
use super::protocol::Down;
use super::topics::Topics;
use crate::error::Error;
use crate::error::Result;
use crate::ports::{ClockEvent, Credit, Decoded};
use crate::record::{Batch, PartitionId};
use crate::time::Epoch;

/// The owner of the connections of process 0.
pub(super) struct Agents {
    leader: Option<Arc<dyn Leader>>,
    /// The processes from number 1 on.
    all: Vec<Agent>,
    sharing: Sharing,
    /// Bytes of batches that the workers of process 0 have not decoded.
    own_bytes: Arc<AtomicUsize>,
    /// The first error of a message that could not be sent.
    failure: Option<Error>,
}

struct Agent {
    outbox: Box<dyn Outbox<Down>>,
    /// Bytes of batches that its workers have not decoded.
    bytes: usize,
    is_done: bool,
}

impl Agents {
    /// Returns the other ones of `processes`.
    ///
    /// # Errors
    /// When the leader has no connection to one of them.
    pub(super) fn new(
        leader: Option<Arc<dyn Leader>>,
        processes: usize,
        sharing: Sharing,
    ) -> Result<Self> {
        let agent = |process| {
            let leader = leader.as_ref().ok_or_else(|| Error::internal("no leader"))?;
            Ok(Agent { outbox: leader.outbox(process)?, bytes: 0, is_done: false })
        };
        let all = (1..processes).map(agent).collect::<Result<_>>()?;
        Ok(Agents { leader, all, sharing, own_bytes: Arc::default(), failure: None })
    }

    /// Returns the number of all processes.
    pub(super) fn processes(&self) -> usize {
        self.all.len() + 1
    }

    /// Returns a function that takes the cost of each batch that is decoded in process 0.
    pub(super) fn decoded_here(&self, credit: Arc<Credit>) -> Decoded {
        if self.all.is_empty() {
            return Arc::new(move |cost| credit.release(cost));
        }
        let own_bytes = self.own_bytes.clone();
        Arc::new(move |cost| {
            own_bytes.fetch_sub(cost, Ordering::Relaxed);
            credit.release(cost);
        })
    }

    /// Notes that another process has decoded a batch.
    pub(super) fn decoded(&mut self, process: usize, cost: usize) {
        if let Some(agent) = self.agent(process) {
            agent.bytes = agent.bytes.saturating_sub(cost);
        }
    }

    /// Returns the sending end of another connection to each process.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn outboxes(&self) -> Result<Vec<Box<dyn Outbox<Down>>>> {
        let leader = self.leader.iter();
        leader.flat_map(|it| (1..self.processes()).map(|process| it.outbox(process))).collect()
    }

    /// Gives a batch to the process of its partition, if the topic is timed. Otherwise it gives it
    /// to the process with the fewest bytes to decode; among equals to process 0, where it need not
    /// be sent.
    pub(super) fn deal(&mut self, topics: &Topics, id: PartitionId, batch: Batch) {
        let (topic, source, cost) = (id.topic, id.source, batch.cost());
        let process = self.process_of(topics, id).unwrap_or_else(|| self.least_busy());
        let Some(agent) = self.agent(process) else {
            if !self.all.is_empty() {
                self.own_bytes.fetch_add(cost, Ordering::Relaxed);
            }
            topics.of(id).queue.push(source, cost, batch);
            return;
        };
        agent.bytes += cost;
        let sent = agent.outbox.send(&Down::Push { topic, source, cost: cost as u64, batch });
        if let Err(error) = sent {
            self.failure.get_or_insert(error);
        }
    }

    /// Gives an event of the clock of a partition in a timed topic to the worker that decodes the
    /// partition.
    pub(super) fn clock(&mut self, topics: &Topics, id: PartitionId, event: ClockEvent) {
        let PartitionId { topic, source, partition } = id;
        let process = self.process_of(topics, id).unwrap_or(0);
        let Some(agent) = self.agent(process) else {
            topics.of(id).queue.push_clock(source, partition, event);
            return;
        };
        if let Err(error) = agent.outbox.send(&Down::Clock { topic, source, partition, event }) {
            self.failure.get_or_insert(error);
        }
    }

    /// Returns the process that decodes all batches of a partition; none if any may.
    fn process_of(&self, topics: &Topics, id: PartitionId) -> Option<usize> {
        let first = usize::from(self.sharing == Sharing::Others && !self.all.is_empty());
        let deal = topics.of(id).queue.deal();
        Some(first + deal.process(id.source, id.partition, self.processes() - first)?)
    }

    /// Returns the process with the fewest bytes to decode.
    fn least_busy(&self) -> usize {
        let mut least = match self.sharing {
            Sharing::All => self.own_bytes.load(Ordering::Relaxed),
            Sharing::Others => usize::MAX,
        };
        let mut chosen = 0;
        for (process, agent) in (1..).zip(&self.all) {
            if agent.bytes < least {
                (least, chosen) = (agent.bytes, process);
            }
        }
        chosen
    }

    /// Sends a commit barrier. It must be sent before the next epoch is opened.
    pub(super) fn barrier(&mut self, epoch: Epoch) {
        self.send_to_all(|| Down::Barrier(epoch));
    }

    /// Closes every epoch before `epoch`. The earliest positions of its records are published.
    pub(super) fn open(&mut self, topics: &Topics, epoch: Epoch) {
        let earliest = || topics.iter().map(|topic| topic.queue.earliest().at(epoch)).collect();
        self.send_to_all(|| Down::Open { epoch, earliest: earliest() });
    }

    /// Ends the recovery.
    pub(super) fn go_live(&mut self) {
        self.send_to_all(|| Down::Live);
    }

    /// Ends every topic after the batches that were sent.
    pub(super) fn finish(&mut self) {
        self.send_to_all(|| Down::Finish);
    }

    fn send_to_all(&mut self, message: impl Fn() -> Down) {
        for agent in &self.all {
            if let Err(error) = agent.outbox.send(&message()) {
                self.failure.get_or_insert(error);
            }
        }
    }

    /// Returns the error of a message that could not be sent.
    pub(super) fn check(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Notes that the workers of a process have ended.
    pub(super) fn done(&mut self, process: usize) {
        if let Some(agent) = self.agent(process) {
            agent.is_done = true;
        }
    }

    /// Returns true if the workers of all other processes have ended.
    pub(super) fn are_done(&self) -> bool {
        self.all.iter().all(|agent| agent.is_done)
    }

    /// Sends an error to all processes. Returns the first cause.
    pub(super) fn fail(&self, error: Error) -> Error {
        match &self.leader {
            Some(leader) => leader.fail(error),
            None => error,
        }
    }

    /// Ends the connections in good order.
    ///
    /// # Errors
    /// When a process has failed.
    pub(super) fn close(&self) -> Result<()> {
        self.leader.as_ref().map_or(Ok(()), |leader| leader.finish())
    }

    fn agent(&mut self, process: usize) -> Option<&mut Agent> {
        self.all.get_mut(process.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::network::Mesh;
    use super::super::protocol::Welcome;
    use super::super::topics;
    use super::*;
    use crate::metrics::Metrics;
    use crate::plan::Plan;
    use crate::sync::lock;

    /// The numbers of processes that got a batch.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<usize>>>);

    struct ToProcess(usize, Log);

    impl Outbox<Down> for ToProcess {
        fn send(&self, message: &Down) -> Result<()> {
            if let Down::Push { .. } = message {
                lock(&self.1.0).push(self.0);
            }
            Ok(())
        }
    }

    impl Leader for Log {
        fn outbox(&self, process: usize) -> Result<Box<dyn Outbox<Down>>> {
            Ok(Box::new(ToProcess(process, self.clone())))
        }
        fn welcome(&self, _: u64, _: &Welcome) -> Result<Mesh> {
            Mesh::of_one_process(1)
        }
        fn fail(&self, error: Error) -> Error {
            error
        }
        fn finish(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_batch_goes_to_the_process_with_the_least_to_decode() {
        let log = Log::default();
        let mut agents = Agents::new(Some(Arc::new(log.clone())), 3, Sharing::All).unwrap();
        let plan = Plan { sources: vec!["rows".into()], ..Plan::default() };
        let decoded = agents.decoded_here(Arc::new(Credit::new(1 << 20)));
        let metrics = Metrics::default();
        let bound = topics::bound(&plan, Vec::new(), 1, &decoded, &metrics);
        let topics = Topics::new(bound, &plan, &metrics);
        let deal = |agents: &mut Agents, bytes: usize| {
            let batch = Batch { bytes: vec![7; bytes], ..Batch::default() };
            let cost = batch.cost();
            agents.deal(&topics, PartitionId::default(), batch);
            cost
        };
        let own = deal(&mut agents, 100);
        let first = deal(&mut agents, 1000);
        (0..3).for_each(|_| _ = deal(&mut agents, 200));
        assert_eq!(*lock(&log.0), [1, 2, 2], "process 0 has the first and the last but one");
        agents.decoded(1, first);
        deal(&mut agents, 10);
        decoded(own);
        deal(&mut agents, 10);
        assert_eq!(*lock(&log.0), [1, 2, 2, 1, 1]);
    }
}
