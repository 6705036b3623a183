//! The busy time of the operators of a run: a profile of its workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

use crate::sync::lock;

/// The time that the workers of a process spend in each operator of the dataflow.
///
/// A run [with](super::Config::profile) a profile reads the clock twice for each turn of an
/// operator. Without one nothing is measured, and nothing is slower. The times are elapsed times: a
/// worker that shares its core counts the time of others too.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::prelude::*;
/// use watershed::runtime::Profile;
///
/// let topology = Topology::new("count", |builder: &StreamsBuilder<'_>| {
///     let words = builder.stream("words", Consumed::with(Nullable(Utf8), Utf8));
///     words.group_by(|_, word| (word.clone(), ())).count().materialize(Materialized::named("n"));
/// });
/// let words = MemoryLog::default();
/// words.append(0, None, Some(b"tea"));
/// let profile = Profile::default();
/// let config = Config { profile: Some(profile.clone()), ..Config::default() };
/// Streams::new(topology).source("words", words).run(config)?;
/// let busy: std::time::Duration = profile.operators().values().sum();
/// assert!(!busy.is_zero());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Profile(Arc<Mutex<BTreeMap<String, Duration>>>);

impl Profile {
    /// Returns the time of all workers by the name of the operator, without the operators in it.
    pub fn operators(&self) -> BTreeMap<String, Duration> {
        lock(&self.0).clone()
    }

    /// Measures the dataflows that `worker` builds from now on.
    pub(super) fn attach(&self, worker: &Worker) {
        let Some(mut loggers) = worker.log_register() else { return };
        let (total, mut turns) = (self.0.clone(), Turns::default());
        loggers.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            let mut total = lock(&total);
            for (time, event) in events.iter_mut().flatten() {
                if let Some((name, busy)) = turns.take(*time, event) {
                    match total.get_mut(name) {
                        Some(time) => *time += busy,
                        None => _ = total.insert(name.into(), busy),
                    }
                }
            }
        });
    }
}

/// The turns of operators on one worker.
#[derive(Default)]
struct Turns {
    names: HashMap<usize, String>,
    /// Turns that have begun: the operator, the time, and the time of turns within.
    open: Vec<(usize, Duration, Duration)>,
}

impl Turns {
    /// Returns the operator of a turn that has ended, and its time without those within.
    fn take(&mut self, time: Duration, event: &TimelyEvent) -> Option<(&str, Duration)> {
        match event {
            TimelyEvent::Operates(operator) => {
                self.names.insert(operator.id, operator.name.clone());
                None
            }
            TimelyEvent::Schedule(turn) if turn.start_stop == StartStop::Start => {
                self.open.push((turn.id, time, Duration::ZERO));
                None
            }
            TimelyEvent::Schedule(_) => {
                let (id, began, within) = self.open.pop()?;
                let took = time.saturating_sub(began);
                if let Some((_, _, within)) = self.open.last_mut() {
                    *within += took;
                }
                Some((self.names.get(&id)?, took.saturating_sub(within)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use timely::logging::{OperatesEvent, ScheduleEvent};

    use super::*;

    #[test]
    fn the_time_of_an_operator_excludes_those_within() {
        let mut turns = Turns::default();
        let mut take = |at: u64, event| {
            let took = turns.take(Duration::from_secs(at), &event);
            took.map(|(name, took)| (name.to_string(), took.as_secs()))
        };
        for (id, name) in [(0, "dataflow"), (1, "map")] {
            let operator = OperatesEvent { id, addr: vec![id], name: name.into() };
            assert_eq!(take(0, TimelyEvent::Operates(operator)), None);
        }
        let [start, stop] = [ScheduleEvent::start, ScheduleEvent::stop];
        assert_eq!(take(10, TimelyEvent::Schedule(start(0))), None);
        assert_eq!(take(11, TimelyEvent::Schedule(start(1))), None);
        assert_eq!(take(14, TimelyEvent::Schedule(stop(1))), Some(("map".into(), 3)));
        assert_eq!(take(15, TimelyEvent::Schedule(stop(0))), Some(("dataflow".into(), 2)));
        assert_eq!(take(16, TimelyEvent::Schedule(stop(0))), None, "it has not begun");
    }
}
