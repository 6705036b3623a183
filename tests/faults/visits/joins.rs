//! Joins that are maintained: with tables by key, by foreign key and by range, with copies of a
//! table, of two streams without a window, with the row that was valid at a time. Also folds of
//! tables. Their results depend on the times and positions of records only.

use watershed::prelude::*;

use crate::version::{Version, Visits, seconds};

/// The tables of this family.
pub(crate) const TABLES: [&str; 9] = [
    "maintained",
    "crossed",
    "referring",
    "ranged",
    "paired",
    "valued",
    "priced",
    "folded",
    "totals",
];

/// Builds the tables, except the totals.
pub(crate) fn build<'s>(
    views: &Visits<'s>,
    orders: &Visits<'s>,
    limits: &KTable<'s, i64, i64>,
    version: Version,
) {
    let maintained = views.left_join(limits, |page, limit| (*page, limit.copied()));
    maintained.to_table().to("maintained", Produced::columns(["user", "page", "limit"]));

    let limited = |amount: &i64| amount % 40;
    let of_limit = move |amount: &i64, limit: Option<&i64>| (limited(amount), limit.copied());
    orders
        .left_join_global(&limits.to_global(), move |_, amount| limited(amount), of_limit)
        .group_by(|_, pair| (*pair, ()))
        .count()
        .to("crossed", Produced::columns(["limited", "limit", "orders"]));

    let pages = views.to_table();
    let both = |one: Option<&i64>, other: Option<&i64>| (one.copied(), other.copied());
    let referring = pages.outer_join_on(limits, |_, page| page % 40, both);
    let referring = match version.is_left {
        true => referring.filter(|_, row: &(Option<i64>, Option<i64>)| row.0.is_some()),
        false => referring,
    };
    referring.to("referring", Produced::columns(["user", "limited", "page", "limit"]));

    pages
        .join_between(
            limits,
            |_, page| Some(*page),
            |_, limit| Some(*limit..*limit + 10),
            |page, limit| (*page, *limit),
        )
        .to("ranged", Produced::columns(["user", "limiter", "page", "limit"]));

    let rare = |visits: &Visits<'s>| visits.filter(|_, n| n % 12 == 0);
    rare(views)
        .outer_join_stream(&rare(orders), both)
        .group_by(|user, (page, amount)| ((*user, *page, *amount), ()))
        .count()
        .to("paired", Produced::columns(["user", "page", "amount", "pairs"]));

    in_time(&pages, orders);
    let parts = limits.group_by(|user, limit| (user % 4, *limit));
    let folded = parts.aggregate(|| 7, |all: i64, limit| (all * 31 + limit) % 1_000_003);
    folded.to("folded", Produced::columns(["part", "all"]));
}

/// Joins orders with the page that the user viewed last at their time. Some pages are none.
fn in_time<'s>(pages: &KTable<'s, i64, i64>, orders: &Visits<'s>) {
    let versions = pages.filter(|_, page| page % 8 > 0).versioned(seconds(20));
    let pair = |amount: &i64, page: Option<&i64>| (*amount, page.copied());
    orders
        .left_temporal_join(&versions, pair)
        .named("valued")
        .group_by(|user, (amount, page)| ((*user, *page), *amount))
        .sum(|amount| *amount)
        .to("valued", Produced::columns(["user", "page", "amount"]));

    let priced = orders.left_temporal_join(&versions.grace(seconds(4)), pair).named("priced");
    priced.to("priced", Produced::columns(["user", "amount", "page"]));
}
