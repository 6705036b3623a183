//! The clocks of the runtime. In a simulation time is virtual.

use std::thread::park_timeout;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::simulation::{Event, current};

/// The wall clock at the beginning of a simulation, since 1970.
const AGE_SINCE_1970: Duration = Duration::from_secs(1_700_000_000);

/// Returns the time of the monotone clock.
pub(crate) fn now() -> Instant {
    match current() {
        Some(task) => task.start() + task.now(),
        None => Instant::now(),
    }
}

/// Returns the time since `start`.
pub(crate) fn elapsed(start: Instant) -> Duration {
    now().saturating_duration_since(start)
}

/// Returns the time of the wall clock, since 1970.
pub(crate) fn wall_clock() -> Duration {
    match current() {
        Some(task) => AGE_SINCE_1970 + task.now(),
        #[expect(clippy::disallowed_methods, reason = "this is the clock that is injected")]
        None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

/// Pauses this thread for about `pause`, where no event can be awaited. It may end early.
pub(crate) fn pause(pause: Duration) {
    match current() {
        Some(task) => task.wait("a pause", &Event::default(), 0, Some(pause)),
        None => park_timeout(pause),
    }
}
