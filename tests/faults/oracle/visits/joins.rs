//! The tables of joins that are maintained, and of folds of tables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Inputs, Late, Rows, SECOND, Visit, last_of, leave_out};

/// The time for which versions of pages are kept, and the time for which orders wait for them.
const HISTORY: i64 = 20 * SECOND;
const GRACE: i64 = 4 * SECOND;

/// Adds the rows of all tables. In a version with the bit 2, outer joins are left joins.
pub(super) fn tables(inputs: &Inputs, version: u8, rows: &mut Rows, late: &mut Late) {
    let Inputs { views, orders, limits, .. } = inputs;
    let pages = last_of(views);
    for (user, page) in &pages {
        let limit = limits.get(user);
        rows.add("maintained", json!({"user": user, "page": page, "limit": limit}));
        for (limiter, limit) in limits {
            if (*limit..limit + 10).contains(page) {
                let row = json!({"user": user, "limiter": limiter, "page": page, "limit": limit});
                rows.add("ranged", row);
            }
        }
    }
    let mut crossed: BTreeMap<(i64, Option<i64>), i64> = BTreeMap::new();
    for order in &orders.all {
        let limited = order.n % 40;
        *crossed.entry((limited, limits.get(&limited).copied())).or_default() += 1;
    }
    for ((limited, limit), count) in crossed {
        rows.add("crossed", json!({"limited": limited, "limit": limit, "orders": count}));
    }
    referring(&pages, limits, version & 2 > 0, rows);
    paired(inputs, rows);
    in_time(inputs, rows, late);
    folded(limits, rows);
}

/// Joins pages with the limits to which they refer. A limit without a page has a row too.
fn referring(
    pages: &BTreeMap<i64, i64>,
    limits: &BTreeMap<i64, i64>,
    is_left: bool,
    rows: &mut Rows,
) {
    let mut referred = BTreeSet::new();
    for (user, page) in pages {
        let limited = page % 40;
        referred.insert(limited);
        let limit = limits.get(&limited);
        let row = json!({"user": user, "limited": null, "page": page, "limit": limit});
        rows.add("referring", row);
    }
    for (limited, limit) in limits.iter().filter(|(user, _)| !referred.contains(user)) {
        if !is_left {
            let row = json!({"user": null, "limited": limited, "page": null, "limit": limit});
            rows.add("referring", row);
        }
    }
}

/// Counts the pairs of some views and orders of a user, and those that are alone.
fn paired(inputs: &Inputs, rows: &mut Rows) {
    let rare = |visits: &[Visit]| {
        let mut users: BTreeMap<i64, Vec<Option<i64>>> = BTreeMap::new();
        for visit in visits.iter().filter(|visit| visit.n % 12 == 0) {
            users.entry(visit.user).or_default().push(Some(visit.n));
        }
        users
    };
    let (views, orders) = (rare(&inputs.views.all), rare(&inputs.orders.all));
    let mut pairs: BTreeMap<(i64, Option<i64>, Option<i64>), i64> = BTreeMap::new();
    let users: BTreeSet<i64> = views.keys().chain(orders.keys()).copied().collect();
    for user in users {
        let nothing = vec![None];
        for page in views.get(&user).unwrap_or(&nothing) {
            for amount in orders.get(&user).unwrap_or(&nothing) {
                *pairs.entry((user, *page, *amount)).or_default() += 1;
            }
        }
    }
    for ((user, page, amount), count) in pairs {
        let row = json!({"user": user, "page": page, "amount": amount, "pairs": count});
        rows.add("paired", row);
    }
}

/// Joins each order with the view of its user that was the last one at its time. Some pages are
/// none.
fn in_time(inputs: &Inputs, rows: &mut Rows, late: &mut Late) {
    let is_late = |visit: &Visit| visit.at + HISTORY < visit.partition_time;
    let mut versions: BTreeMap<i64, Vec<&Visit>> = BTreeMap::new();
    for visit in &inputs.views.all {
        if is_late(visit) {
            leave_out(late, "valued");
            leave_out(late, "priced");
        } else {
            versions.entry(visit.user).or_default().push(visit);
        }
    }
    let page_at = |user: i64, at: i64, known_before: i64| {
        let versions = versions.get(&user).into_iter().flatten();
        let valid = versions.filter(|view| view.at <= at && view.partition_time < known_before);
        let last = valid.max_by_key(|view| (view.at, view.offset, view.partition))?;
        Some(last.n).filter(|page| page % 8 > 0)
    };
    let mut valued: BTreeMap<(i64, Option<i64>), i64> = BTreeMap::new();
    for order in &inputs.orders.all {
        let Visit { user, n, at, .. } = *order;
        let due = at + GRACE;
        let (now, then) = match is_late(order) {
            true => {
                leave_out(late, "valued");
                leave_out(late, "priced");
                (None, Some(None))
            }
            false => {
                let is_due = inputs.both.watermark.is_some_and(|watermark| due <= watermark);
                (page_at(user, at, i64::MAX), is_due.then(|| page_at(user, at, due)))
            }
        };
        *valued.entry((user, now)).or_default() += n;
        if let Some(page) = then {
            rows.add("priced", json!({"user": user, "amount": n, "page": page}));
        }
    }
    for ((user, page), amount) in valued {
        rows.add("valued", json!({"user": user, "page": page, "amount": amount}));
    }
}

/// Folds the limits of each part of the users, in ascending order.
fn folded(limits: &BTreeMap<i64, i64>, rows: &mut Rows) {
    let mut parts: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (user, limit) in limits {
        parts.entry(user % 4).or_default().push(*limit);
    }
    for (part, mut limits) in parts {
        limits.sort();
        let all = limits.into_iter().fold(7, |all, limit| (all * 31 + limit) % 1_000_003);
        rows.add("folded", json!({"part": part, "all": all}));
    }
}
