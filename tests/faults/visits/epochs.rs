//! Tables that depend on where epochs end: look-ups, folds in the order of epochs, suppression
//! until a time limit, and all that reads the times of rows. Some of their rows do not depend on
//! it.

use watershed::prelude::*;

use crate::version::{Visits, seconds};

/// The tables of this family.
pub(crate) const TABLES: [&str; 13] = [
    "looked",
    "looked_global",
    "last",
    "grouped",
    "both",
    "newest",
    "calm",
    "early",
    "joined",
    "tallied",
    "referred",
    "spans",
    "totals",
];

/// The changes that may wait before the table `early`.
const EARLY_CHANGES: usize = 12;

/// Builds the tables, except the totals.
pub(crate) fn build<'s>(views: &Visits<'s>, orders: &Visits<'s>, limits: &KTable<'s, i64, i64>) {
    views
        .with_timestamps()
        .left_lookup_join(limits, |(page, at), limit| (*page, *at, limit.copied()))
        .to("looked", Produced::columns(["user", "page", "at", "limit"]));
    orders
        .with_timestamps()
        .lookup_join_global(
            &limits.to_global(),
            |_, (amount, _)| amount % 40,
            |(amount, at), limit| (*amount, *at, *limit),
        )
        .to("looked_global", Produced::columns(["user", "amount", "at", "limit"]));

    folds(views, orders);
    let newest = views.to_table().filter(|_, page| page % 8 > 0).versioned(seconds(20)).to_table();
    newest.named("newest").to("newest", Produced::columns(["user", "page"]));
    row_times(views, orders);
}

fn folds<'s>(views: &Visits<'s>, orders: &Visits<'s>) {
    let by_user = views.group_by_key();
    by_user.reduce(|_, new| *new).to("last", Produced::columns(["user", "page"]));

    let both = by_user
        .cogroup(|(pages, amounts): (i64, i64), page| (pages + page, amounts))
        .cogroup(&orders.group_by_key(), |(pages, amounts), amount| (pages, amounts + amount));
    let all = both.aggregate(|| (0, 0));
    all.to("grouped", Produced::columns(["user", "pages", "amounts"]));
    let tumbling = TimeWindows::of_size(seconds(10)).grace(seconds(4));
    let windowed = both.windowed_by(tumbling).aggregate(|| (0, 0)).named("both");
    windowed.to("both", Produced::columns(["user", "start", "end", "pages", "amounts"]));

    let counts = by_user.windowed_by(tumbling).count().named("counts");
    let row = || Produced::columns(["user", "start", "end", "count"]);
    counts.suppress(Suppressed::until_time_limit(seconds(3))).to("calm", row());
    let limited = Suppressed::until_time_limit(seconds(60)).max_records(EARLY_CHANGES);
    counts.suppress(limited.emit_early()).to("early", row());
}

/// Returns the number of the span of ten seconds that has a time.
fn span(at: Option<Timestamp>) -> i64 {
    at.unwrap_or_default().0.div_euclid(10_000_000)
}

/// Tables of spans of time, which change no more after a while, behind verbs that read the times of
/// joined rows and of aggregates.
fn row_times<'s>(views: &Visits<'s>, orders: &Visits<'s>) {
    let by_span = |visits: &Visits<'s>| {
        visits.with_timestamps().map(|user, (n, at)| ((user % 6, span(at)), n))
    };
    let (viewed, ordered) = (by_span(views), by_span(orders));
    let (pages, amounts) = (viewed.to_table(), ordered.to_table());
    let (calm, row) = (Suppressed::until_time_limit(seconds(3)), || {
        Produced::columns(["part", "span", "page", "amount"])
    });
    let joined = pages.join(&amounts, |page, amount| (*page, *amount));
    joined.suppress(calm).to("joined", row());
    let tallied = joined.group_by(|(_, span), _| (*span, ())).count();
    tallied.suppress(calm).to("tallied", Produced::columns(["span", "parts"]));
    let pair = |page: &i64, amount: &i64| (*page, *amount);
    let referred = pages.join_on(&amounts, |(_, span), page| (page % 6, *span), pair);
    referred.suppress(calm).to("referred", row());

    let counts = viewed.group_by_key().count().to_stream().flat_map_values(|count| count);
    let spans = counts.group_by_key().windowed_by(TimeWindows::of_size(seconds(10))).max();
    spans.to("spans", Produced::columns(["part", "span", "start", "end", "count"]));
}
