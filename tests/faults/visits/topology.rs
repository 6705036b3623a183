//! Windows, sessions, outer joins and suppression over three small topics.
//!
//! Users view pages and make orders, both at times out of order, and have limits, which come and
//! go. Each table keeps another kind of state.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::record::Record;

/// The topics that are read: two streams with times, and a table without.
pub(crate) const TOPICS: [&str; 3] = ["view", "order", "limit"];

/// The tables that every version writes.
const TABLES: [&str; 11] = [
    "counts",
    "late",
    "closed",
    "final",
    "totals",
    "medians",
    "greatest",
    "sessions",
    "closed_sessions",
    "outer",
    "within",
];

/// The versions of the program, which adopt the state of one another.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    /// The table `totals` counts windows instead of views.
    counts_windows: bool,
    /// The table `outer` has users with a view only.
    is_left: bool,
    /// There is a table `digits`.
    has_digits: bool,
}

impl Version {
    /// Returns the version that these bits select.
    pub(crate) fn of(bits: u8) -> Self {
        let [counts_windows, is_left, has_digits] = [1, 2, 4].map(|bit| bits & bit > 0);
        Version { counts_windows, is_left, has_digits }
    }

    /// Returns the tables that it writes.
    pub(crate) fn tables(self) -> impl Iterator<Item = &'static str> {
        TABLES.into_iter().chain(self.has_digits.then_some("digits"))
    }
}

/// A view of page `n`, or an order of amount `n`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Visit {
    user: i64,
    n: i64,
    at: Option<Timestamp>,
}

/// The limit of a user; null deletes it.
#[derive(Deserialize)]
struct Limit {
    user: i64,
    n: Option<i64>,
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Builds the topology.
pub(crate) fn topology(builder: &StreamsBuilder<'_>, version: Version) {
    let visits = |topic| {
        let consumed = Consumed::keyed_by(Json, |it: &Visit| it.user).timestamp(|_, it| it.at);
        builder.stream(topic, consumed).map_values(|it| it.n)
    };
    let (views, orders) = (visits("view"), visits("order"));
    let limits = builder.table("limit", Consumed::from_record(limit));
    fixed_windows(&views, &orders, version);
    sessions(&views, &orders);

    let both = |one: Option<&i64>, other: Option<&i64>| (one.copied(), other.copied());
    let outer = match version.is_left {
        true => views.to_table().left_join(&limits, move |view, limit| both(Some(view), limit)),
        false => views.to_table().outer_join(&limits, both),
    };
    outer.to("outer", Produced::columns(["user", "page", "limit"]));
    if version.has_digits {
        let digits = limits.group_by(|_, limit| (limit % 10, ())).count();
        digits.to("digits", Produced::columns(["digit", "limits"]));
    }
    let windows = JoinWindows::of(seconds(5)).before(seconds(2)).grace(seconds(3));
    let within = views.outer_join_within(&orders, windows, both).named("within");
    within.to("within", Produced::columns(["user", "page", "amount"]));
}

fn limit(record: &Record<'_>) -> Result<(i64, Option<i64>), Reject> {
    let limit: Result<Limit, _> = serde_json::from_slice(record.value.unwrap_or_default());
    let Limit { user, n } = limit.map_err(|e| Reject::new("no limit", e.to_string()))?;
    Ok((user, n))
}

fn row(value: &str) -> Produced {
    Produced::columns(["user", "start", "end", value])
}

/// Tumbling windows of views, also at their close, and hopping windows of both streams.
fn fixed_windows<'s>(
    views: &KStream<'s, i64, i64>,
    orders: &KStream<'s, i64, i64>,
    version: Version,
) {
    let tumbling = TimeWindows::of_size(seconds(10)).grace(seconds(4));
    let of_views = views.group_by_key().windowed_by(tumbling);
    of_views.late().to("late", row("page"));
    let counts = of_views.count().named("counts");
    counts.to("counts", row("count"));
    let sums = of_views.emit(Emit::OnClose).sum(|n| *n).named("closed");
    sums.to_stream().to("closed", row("sum"));

    let last = counts.suppress(Suppressed::until_window_closes());
    last.to("final", row("count"));
    let by_user = last.group_by(|window, count| (window.key, *count));
    let totals = match version.counts_windows {
        true => by_user.count(),
        false => by_user.sum(|count| *count),
    };
    totals.to("totals", Produced::columns(["user", "views"]));

    let hopping = TimeWindows::of_size(seconds(12)).advance_by(seconds(5));
    let hopping = hopping.grace(seconds(3)).retain(seconds(60));
    let of_both = views.merge(orders).group_by_key().windowed_by(hopping);
    of_both.median().named("medians").to("medians", row("median"));
    let of_orders = orders.group_by_key().windowed_by(tumbling);
    of_orders.top(1, Ties::Keep, |n| n % 10).named("greatest").to("greatest", row("amount"));
}

/// Sessions of both streams, and sessions of orders at their close.
fn sessions<'s>(views: &KStream<'s, i64, i64>, orders: &KStream<'s, i64, i64>) {
    let sessions = SessionWindows::of_inactivity_gap(seconds(4)).grace(seconds(5));
    let of_both = views.merge(orders).group_by_key().windowed_by(sessions);
    of_both.count_distinct().named("sessions").to("sessions", row("different"));
    let of_orders = orders.group_by_key().windowed_by(sessions).emit(Emit::OnClose);
    of_orders.max().named("closed_sessions").to("closed_sessions", row("amount"));
}
