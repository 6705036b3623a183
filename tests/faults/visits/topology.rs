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

/// The tables that are written.
pub(crate) const TABLES: [&str; 11] = [
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
pub(crate) fn topology(builder: &StreamsBuilder<'_>) {
    let visits = |topic| {
        let consumed = Consumed::keyed_by(Json, |it: &Visit| it.user).timestamp(|_, it| it.at);
        builder.stream(topic, consumed).map_values(|it| it.n)
    };
    let (views, orders) = (visits("view"), visits("order"));
    let limits = builder.table("limit", Consumed::from_record(limit));
    fixed_windows(&views, &orders);
    sessions(&views, &orders);

    let both = |one: Option<&i64>, other: Option<&i64>| (one.copied(), other.copied());
    let outer = views.to_table().outer_join(&limits, both);
    outer.to("outer", Produced::columns(["user", "page", "limit"]));
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
fn fixed_windows<'s>(views: &KStream<'s, i64, i64>, orders: &KStream<'s, i64, i64>) {
    let tumbling = TimeWindows::of_size(seconds(10)).grace(seconds(4));
    let of_views = views.group_by_key().windowed_by(tumbling);
    of_views.late().to("late", row("page"));
    let counts = of_views.count().named("counts");
    counts.to("counts", row("count"));
    let sums = of_views.emit(Emit::OnClose).sum(|n| *n).named("closed");
    sums.to_stream().to("closed", row("sum"));

    let last = counts.suppress(Suppressed::until_window_closes());
    last.to("final", row("count"));
    let totals = last.group_by(|window, count| (window.key, *count)).sum(|count| *count);
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
