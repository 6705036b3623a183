//! Windows: the spans of event time by which records are grouped.

use std::rc::Rc;
use std::time::Duration;

use crate::time::{Timestamp, micros};

/// A kind of windows of fixed bounds: each timestamp belongs to windows that depend on it alone.
///
/// Implement it for windows of your own.
///
/// ```
/// use std::time::Duration;
/// use watershed::prelude::*;
///
/// /// Weeks that begin on Monday, in UTC.
/// struct Weeks;
///
/// impl Windows for Weeks {
///     fn assign(&self, at: Timestamp, each: &mut dyn FnMut(Timestamp, Timestamp)) {
///         const DAY: i64 = 86_400_000_000;
///         let start = (at.0 - 4 * DAY).div_euclid(7 * DAY) * 7 * DAY + 4 * DAY; // 1970-01-05
///         each(Timestamp(start), Timestamp(start + 7 * DAY));
///     }
///     fn describe(&self) -> String {
///         "weeks".into()
///     }
/// }
///
/// let topology = Topology::new("weeks", |builder: &StreamsBuilder<'_>| {
///     let orders = builder.stream("orders", Consumed::with(Utf8, Int64));
///     let sums = orders.group_by_key().windowed_by(Weeks).sum(|amount| *amount);
///     sums.to("sums", Produced::columns(["customer", "from", "to", "sum"]));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let orders = driver.input("orders", Utf8, Int64);
/// for (day, amount) in [(3, 10), (4, 20), (10, 30), (11, 40)] {
///     driver.set_time(Timestamp(day * 86_400_000_000));
///     orders.pipe(&mut driver, &"ann".to_string(), &amount);
/// }
/// driver.commit()?;
/// let sums = driver.rows("sums").into_iter().map(|row| row[3].clone()).collect::<Vec<_>>();
/// assert_eq!(sums, [Value::Long(10), Value::Long(50), Value::Long(40)]);
/// # Ok::<(), Error>(())
/// ```
pub trait Windows: 'static {
    /// Calls `each` with start and end of every window that contains `at`. A window includes its
    /// start and not its end. It must make the same calls for the same timestamp at each call, in
    /// the order of starts.
    fn assign(&self, at: Timestamp, each: &mut dyn FnMut(Timestamp, Timestamp));

    /// Returns a description, with all settings. A state that was made with another one is refused.
    fn describe(&self) -> String;

    /// Returns the time after the end of a window for which it takes records; `None` for ever.
    fn grace(&self) -> Option<Duration> {
        None
    }

    /// Returns the time after the end of a window for which its row stays in tables; `None` for
    /// ever.
    fn retention(&self) -> Option<Duration> {
        None
    }
}

/// Windows of one size, whose starts are multiples of a distance from 1970: tumbling, or hopping
/// with [`advance_by`](Self::advance_by). A window includes its start and not its end.
///
/// Unlike Kafka's, a window without a stated [`grace`](Self::grace) never closes: late records
/// correct it for ever.
///
/// ```
/// use std::time::Duration;
/// use watershed::prelude::*;
///
/// let minute = Duration::from_secs(60);
/// let tumbling = TimeWindows::of_size(minute);
/// let hopping = TimeWindows::of_size(minute).advance_by(minute / 2).grace(minute);
/// assert_eq!(tumbling.describe(), "time windows of 60s");
/// assert_eq!(hopping.describe(), "time windows of 60s every 30s, grace 60s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    size: Duration,
    advance: Duration,
    grace: Option<Duration>,
    retention: Option<Duration>,
}

impl TimeWindows {
    /// Returns windows of this size, one after the other.
    ///
    /// # Panics
    ///
    /// When the size is less than a microsecond.
    pub fn of_size(size: Duration) -> Self {
        assert!(micros(size) > 0, "a window has a size, and {size:?} is none");
        TimeWindows { size, advance: size, grace: None, retention: None }
    }

    /// Sets the distance between the starts of two windows.
    ///
    /// # Panics
    ///
    /// When it is less than a microsecond, or greater than the size: then records between windows
    /// would be lost.
    #[must_use]
    pub fn advance_by(self, advance: Duration) -> Self {
        let fits = micros(advance) > 0 && advance <= self.size;
        assert!(fits, "windows advance by up to their size {:?}, not by {advance:?}", self.size);
        TimeWindows { advance, ..self }
    }

    /// Closes a window when stream time has reached its end and `grace` more.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        TimeWindows { grace: Some(grace), ..self }
    }

    /// Deletes the row of a window when stream time has reached its end and `retention` more, but
    /// not before it closes. Without a stated grace it is the grace too.
    #[must_use]
    pub fn retain(self, retention: Duration) -> Self {
        TimeWindows { retention: Some(retention), ..self }
    }
}

impl Windows for TimeWindows {
    fn assign(&self, at: Timestamp, each: &mut dyn FnMut(Timestamp, Timestamp)) {
        let (size, advance) = (micros(self.size), micros(self.advance));
        let last = at.0.div_euclid(advance).saturating_mul(advance);
        let mut start = at.0.saturating_sub(size).div_euclid(advance).saturating_add(1);
        start = start.saturating_mul(advance).min(last);
        while start <= last {
            each(Timestamp(start), Timestamp(start.saturating_add(size)));
            match start.checked_add(advance) {
                Some(next) => start = next,
                None => break,
            }
        }
    }

    fn describe(&self) -> String {
        let every = match self.advance == self.size {
            true => String::new(),
            false => format!(" every {:?}", self.advance),
        };
        let end = describe_end(self.grace, self.retention);
        format!("time windows of {:?}{every}{end}", self.size)
    }

    fn grace(&self) -> Option<Duration> {
        self.grace
    }

    fn retention(&self) -> Option<Duration> {
        self.retention
    }
}

/// One window that begins at a timestamp and has no end. Records before it belong to no window.
///
/// ```
/// use watershed::prelude::*;
///
/// let since = UnlimitedWindows::starting_at(Timestamp(0));
/// assert_eq!(since.describe(), "a window without end from 0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnlimitedWindows {
    start: Timestamp,
}

impl UnlimitedWindows {
    /// Returns the window from `start` on.
    pub fn starting_at(start: Timestamp) -> Self {
        UnlimitedWindows { start }
    }
}

impl Windows for UnlimitedWindows {
    fn assign(&self, at: Timestamp, each: &mut dyn FnMut(Timestamp, Timestamp)) {
        if at >= self.start {
            each(self.start, Timestamp::MAX);
        }
    }

    fn describe(&self) -> String {
        format!("a window without end from {}", self.start.0)
    }
}

/// Windows around records: one for each different set of records that are at most a time apart.
/// Both ends are inclusive, and bounds have a resolution of 1 ms, as in Kafka (KIP-450).
///
/// ```
/// use std::time::Duration;
/// use watershed::prelude::*;
///
/// let windows = SlidingWindows::of_time_difference(Duration::from_secs(10));
/// assert_eq!(windows.describe(), "sliding windows of 10s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindows {
    pub(crate) difference: Duration,
    pub(crate) grace: Option<Duration>,
    pub(crate) retention: Option<Duration>,
}

impl SlidingWindows {
    /// Returns windows of records that are at most `difference` apart.
    pub fn of_time_difference(difference: Duration) -> Self {
        SlidingWindows { difference, grace: None, retention: None }
    }

    /// Closes a window when stream time has reached its end and `grace` more.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        SlidingWindows { grace: Some(grace), ..self }
    }

    /// Deletes the row of a window when stream time has passed its end by more than `retention`,
    /// but not before it closes. Without a stated grace it is the grace too.
    #[must_use]
    pub fn retain(self, retention: Duration) -> Self {
        SlidingWindows { retention: Some(retention), ..self }
    }

    /// Returns a description, with all settings.
    pub fn describe(&self) -> String {
        let end = describe_end(self.grace, self.retention);
        format!("sliding windows of {:?}{end}", self.difference)
    }
}

/// Sessions: windows that end when there is no record for longer than a gap. Both ends are
/// inclusive. A record that bridges two sessions merges them.
///
/// ```
/// use std::time::Duration;
/// use watershed::prelude::*;
///
/// let sessions = SessionWindows::of_inactivity_gap(Duration::from_secs(300));
/// assert_eq!(sessions.describe(), "sessions with a gap of 300s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWindows {
    pub(crate) gap: Duration,
    pub(crate) grace: Option<Duration>,
    pub(crate) retention: Option<Duration>,
}

impl SessionWindows {
    /// Returns sessions whose records are at most `gap` apart.
    pub fn of_inactivity_gap(gap: Duration) -> Self {
        SessionWindows { gap, grace: None, retention: None }
    }

    /// Closes a session when stream time has passed its end by more than the gap and `grace`.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        SessionWindows { grace: Some(grace), ..self }
    }

    /// Deletes the row of a session when stream time has passed its end by more than `retention`,
    /// but not before it closes. Without a stated grace it is the grace too, beside the gap.
    #[must_use]
    pub fn retain(self, retention: Duration) -> Self {
        SessionWindows { retention: Some(retention), ..self }
    }

    /// Returns a description, with all settings.
    pub fn describe(&self) -> String {
        let end = describe_end(self.grace, self.retention);
        format!("sessions with a gap of {:?}{end}", self.gap)
    }
}

fn describe_end(grace: Option<Duration>, retention: Option<Duration>) -> String {
    let grace = grace.map(|grace| format!(", grace {grace:?}")).unwrap_or_default();
    let retention = retention.map(|kept| format!(", kept for {kept:?}")).unwrap_or_default();
    grace + &retention
}

/// Windows of any kind, for [`windowed_by`](crate::KGrouped::windowed_by).
#[derive(Clone)]
pub struct Windowing(pub(crate) WindowKind);

#[derive(Clone)]
pub(crate) enum WindowKind {
    Fixed(Rc<dyn Windows>),
    Sliding(SlidingWindows),
    Sessions(SessionWindows),
}

impl<W: Windows> From<W> for Windowing {
    fn from(windows: W) -> Self {
        Windowing(WindowKind::Fixed(Rc::new(windows)))
    }
}

impl From<SlidingWindows> for Windowing {
    fn from(windows: SlidingWindows) -> Self {
        Windowing(WindowKind::Sliding(windows))
    }
}

impl From<SessionWindows> for Windowing {
    fn from(windows: SessionWindows) -> Self {
        Windowing(WindowKind::Sessions(windows))
    }
}

impl Windowing {
    /// Returns a description, with all settings.
    pub(crate) fn describe(&self) -> String {
        match &self.0 {
            WindowKind::Fixed(windows) => windows.describe(),
            WindowKind::Sliding(windows) => windows.describe(),
            WindowKind::Sessions(windows) => windows.describe(),
        }
    }
}

/// The time at which the result of a window is emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// At the close of each epoch in which it has changed.
    #[default]
    OnUpdate,
    /// Once, when the window closes.
    OnClose,
}
