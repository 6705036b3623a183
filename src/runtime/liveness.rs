//! [`Liveness`]: signs of life of the threads on which a run depends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::sync::{elapsed, lock, now};

/// Signs of life of a run, of its threads in this process: the one that coordinates it, and the
/// workers.
///
/// Each of them goes round a loop at least ten times a second, unless it hangs or a step takes
/// longer. A process that hangs doesn't end by itself, so a supervisor needs these signs.
///
/// ```
/// use std::time::Duration;
///
/// use watershed::connect::memory::MemoryLog;
/// use watershed::prelude::*;
/// use watershed::runtime::Liveness;
///
/// let topology = Topology::new("print", |builder: &StreamsBuilder<'_>| {
///     builder.stream("words", Consumed::with(Utf8, Utf8)).print("words");
/// });
/// let liveness = Liveness::default();
/// let config = Config { liveness: Some(liveness.clone()), ..Config::default() };
/// // Another thread may call `silence` meanwhile, again and again.
/// Streams::new(topology).source("words", MemoryLog::default()).run(config)?;
/// assert_eq!(liveness.silence(), Duration::ZERO);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Liveness {
    started: Instant,
    signs: Arc<Mutex<Vec<Weak<AtomicU64>>>>,
}

impl Default for Liveness {
    fn default() -> Self {
        Liveness { started: now(), signs: Arc::default() }
    }
}

impl Liveness {
    /// Returns the longest time since any of the threads has gone round its loop. It is zero before
    /// the run has started and after its end.
    pub fn silence(&self) -> Duration {
        let mut signs = lock(&self.signs);
        signs.retain(|sign| sign.strong_count() > 0);
        let last = signs.iter().filter_map(Weak::upgrade);
        let first = last.map(|last| last.load(Ordering::Relaxed)).min();
        first.map_or(Duration::ZERO, |first| {
            elapsed(self.started).saturating_sub(Duration::from_millis(first))
        })
    }

    /// Adds a thread that enters its loop.
    pub(super) fn enter(&self) -> Sign {
        let sign = Sign { started: self.started, last: Arc::default() };
        sign.renew();
        lock(&self.signs).push(Arc::downgrade(&sign.last));
        sign
    }
}

/// The sign of life of one thread. It ends when it is dropped.
pub(super) struct Sign {
    started: Instant,
    /// The time of the last sign, in milliseconds since the start.
    last: Arc<AtomicU64>,
}

impl Sign {
    /// Gives a sign of life.
    pub(super) fn renew(&self) {
        self.last.store(elapsed(self.started).as_millis() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets this much time pass, at least.
    fn pass(time: Duration) {
        let start = now();
        while elapsed(start) < time {
            std::thread::park_timeout(time);
        }
    }

    #[test]
    fn the_thread_that_is_silent_for_longest_counts() {
        let liveness = Liveness::default();
        assert_eq!(liveness.silence(), Duration::ZERO);
        let (one, two) = (liveness.enter(), liveness.enter());
        pass(Duration::from_millis(60));
        one.renew();
        assert!(liveness.silence() >= Duration::from_millis(50));
        drop(two);
        pass(Duration::from_millis(5));
        one.renew();
        assert!(liveness.silence() < Duration::from_millis(50));
        drop(one);
        assert_eq!(liveness.silence(), Duration::ZERO);
    }
}
