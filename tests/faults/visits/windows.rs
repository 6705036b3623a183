//! Windows, sessions, suppression until windows close, and outer joins. Their results depend on the
//! times and positions of records only, and so does each row in between.

use watershed::prelude::*;

use crate::version::{Version, Visits, seconds};

/// The tables of this family.
pub(crate) const TABLES: [&str; 12] = [
    "counts",
    "late",
    "closed",
    "final",
    "totals",
    "medians",
    "greatest",
    "sliding",
    "sessions",
    "closed_sessions",
    "outer",
    "within",
];

/// Builds the tables.
pub(crate) fn build<'s>(
    views: &Visits<'s>,
    orders: &Visits<'s>,
    limits: &KTable<'s, i64, i64>,
    version: Version,
) {
    fixed_windows(views, orders, version);
    sessions(views, orders);

    let both = |one: Option<&i64>, other: Option<&i64>| (one.copied(), other.copied());
    let outer = match version.is_left {
        true => views.to_table().left_join(limits, move |view, limit| both(Some(view), limit)),
        false => views.to_table().outer_join(limits, both),
    };
    outer.to("outer", Produced::columns(["user", "page", "limit"]));
    let windows = JoinWindows::of(seconds(5)).before(seconds(2)).grace(seconds(3));
    let within = views.outer_join_within(orders, windows, both).named("within");
    within.to("within", Produced::columns(["user", "page", "amount"]));
}

fn row(value: &str) -> Produced {
    Produced::columns(["user", "start", "end", value])
}

/// Tumbling windows of views, also at their close, and hopping windows of both streams.
fn fixed_windows<'s>(views: &Visits<'s>, orders: &Visits<'s>, version: Version) {
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
    let totals = match version.counts {
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

    let sliding = SlidingWindows::of_time_difference(seconds(3)).grace(seconds(2));
    let of_views = views.group_by_key().windowed_by(sliding);
    of_views.sum(|n| *n).named("sliding").to("sliding", row("sum"));
}

/// Sessions of both streams, and sessions of orders at their close.
fn sessions<'s>(views: &Visits<'s>, orders: &Visits<'s>) {
    let sessions = SessionWindows::of_inactivity_gap(seconds(4)).grace(seconds(5));
    let of_both = views.merge(orders).group_by_key().windowed_by(sessions);
    of_both.count_distinct().named("sessions").to("sessions", row("different"));
    let of_orders = orders.group_by_key().windowed_by(sessions).emit(Emit::OnClose);
    of_orders.max().named("closed_sessions").to("closed_sessions", row("amount"));
}
