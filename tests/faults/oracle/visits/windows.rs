//! The tables of windows, sessions, suppression until windows close, and outer joins.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::{Inputs, Late, Rows, SECOND, Visit, Visits, last_of, leave_out};

/// The tumbling windows, and their grace.
const TUMBLING: i64 = 10 * SECOND;
const TUMBLING_GRACE: i64 = 4 * SECOND;
/// The hopping windows: size, distance, grace and retention.
const HOPPING: i64 = 12 * SECOND;
const HOP: i64 = 5 * SECOND;
const HOPPING_GRACE: i64 = 3 * SECOND;
const HOPPING_KEPT: i64 = 60 * SECOND;
/// The greatest distance of records in a sliding window, the grace, and the distance of a window
/// from the record that it follows.
const SLIDING: i64 = 3 * SECOND;
const SLIDING_GRACE: i64 = 2 * SECOND;
const BEHIND: i64 = SECOND / 1_000;
/// The pause that ends a session, and the grace of sessions.
const GAP: i64 = 4 * SECOND;
const SESSION_GRACE: i64 = 5 * SECOND;
/// The reach of a view: how much earlier and later an order may be, and the grace.
const BEFORE: i64 = 2 * SECOND;
const AFTER: i64 = 5 * SECOND;
const JOIN_GRACE: i64 = 3 * SECOND;

/// Adds the rows of all tables. In a version with the bit 1, totals count windows; with 2, outer
/// joins are left joins.
pub(super) fn tables(inputs: &Inputs, version: u8, rows: &mut Rows, late: &mut Late) {
    let Inputs { views, orders, both, limits, .. } = inputs;
    tumbling(views, version & 1 > 0, rows, late);
    greatest(orders, rows, late);
    hopping(both, rows, late);
    sliding(views, rows, late);
    for session in sessions(both, "sessions", late) {
        let different: BTreeSet<i64> = session.iter().map(|visit| visit.n).collect();
        rows.add("sessions", bounded(&session, "different", different.len() as i64));
    }
    for session in sessions(orders, "closed_sessions", late) {
        let close = session[session.len() - 1].at + GAP + SESSION_GRACE + 1;
        if orders.watermark.is_some_and(|watermark| close <= watermark) {
            let greatest = session.iter().map(|visit| visit.n).max().unwrap();
            rows.add("closed_sessions", bounded(&session, "amount", greatest));
        }
    }
    outer(views, limits, version & 2 > 0, rows);
    within(views, orders, both.watermark, rows, late);
}

/// Groups values by user and window.
type Windows = BTreeMap<(i64, i64), Vec<i64>>;

fn row(user: i64, start: i64, end: i64, name: &str, value: i64) -> Json {
    json!({"user": user, "start": start, "end": end, name: value})
}

fn tumbling(views: &Visits, counts_windows: bool, rows: &mut Rows, late: &mut Late) {
    let mut windows = Windows::new();
    for visit in &views.all {
        let start = visit.at.div_euclid(TUMBLING) * TUMBLING;
        let end = start + TUMBLING;
        if end + TUMBLING_GRACE <= visit.partition_time {
            rows.add("late", row(visit.user, start, end, "page", visit.n));
            leave_out(late, "counts");
            leave_out(late, "closed");
        } else {
            windows.entry((visit.user, start)).or_default().push(visit.n);
        }
    }
    let mut totals: BTreeMap<i64, i64> = BTreeMap::new();
    for ((user, start), values) in windows {
        let (end, count) = (start + TUMBLING, values.len() as i64);
        rows.add("counts", row(user, start, end, "count", count));
        if views.watermark.is_some_and(|watermark| end + TUMBLING_GRACE <= watermark) {
            rows.add("final", row(user, start, end, "count", count));
            rows.add("closed", row(user, start, end, "sum", values.iter().sum()));
            *totals.entry(user).or_default() += if counts_windows { 1 } else { count };
        }
    }
    for (user, views) in totals {
        rows.add("totals", json!({"user": user, "views": views}));
    }
}

fn greatest(orders: &Visits, rows: &mut Rows, late: &mut Late) {
    let mut windows = Windows::new();
    for visit in &orders.all {
        let start = visit.at.div_euclid(TUMBLING) * TUMBLING;
        if start + TUMBLING + TUMBLING_GRACE <= visit.partition_time {
            leave_out(late, "greatest");
        } else {
            windows.entry((visit.user, start)).or_default().push(visit.n);
        }
    }
    for ((user, start), values) in windows {
        let score = values.iter().map(|n| n % 10).max();
        let best: BTreeSet<i64> = values.into_iter().filter(|n| Some(n % 10) == score).collect();
        for n in best {
            rows.add("greatest", row(user, start, start + TUMBLING, "amount", n));
        }
    }
}

fn hopping(both: &Visits, rows: &mut Rows, late: &mut Late) {
    let mut windows = Windows::new();
    for visit in &both.all {
        let mut start = visit.at.div_euclid(HOP) * HOP;
        while start + HOPPING > visit.at {
            if start + HOPPING + HOPPING_GRACE <= visit.partition_time {
                leave_out(late, "medians");
            } else {
                windows.entry((visit.user, start)).or_default().push(visit.n);
            }
            start -= HOP;
        }
    }
    for ((user, start), mut values) in windows {
        let end = start + HOPPING;
        if both.watermark.is_none_or(|watermark| end + HOPPING_KEPT > watermark) {
            values.sort();
            let median = values[(values.len() - 1) / 2];
            rows.add("medians", row(user, start, end, "median", median));
        }
    }
}

/// Adds up pages in sliding windows. A window has the records within its bounds that are not late
/// for it. It exists if it has one and ends at one, or if it follows one that another window knows.
fn sliding(views: &Visits, rows: &mut Rows, late: &mut Late) {
    let mut users: BTreeMap<i64, Vec<&Visit>> = BTreeMap::new();
    views.all.iter().for_each(|view| users.entry(view.user).or_default().push(view));
    let is_late = |view: &Visit, start: i64| start + SLIDING + SLIDING_GRACE < view.partition_time;
    // Records in the first seconds after 1970 share a window.
    let own = |view: &Visit| match view.at {
        0..SLIDING => 0,
        at => at - SLIDING,
    };
    for (user, views) in users {
        let within = |start: i64| {
            let span = start..=start + SLIDING;
            views.iter().filter(move |it| span.contains(&it.at) && !is_late(it, start))
        };
        let mut starts = BTreeSet::new();
        for view in &views {
            match is_late(view, own(view)) {
                true => leave_out(late, "sliding"),
                false => _ = starts.insert(own(view)),
            }
        }
        loop {
            let known = |view: &&&Visit| {
                let mut spanning = starts.range(view.at - SLIDING..=view.at);
                let has_later = |start: i64| within(start).any(|it| it.at > view.at);
                spanning.any(|start| !is_late(view, *start) || has_later(*start))
            };
            let is_open = |view: &&&Visit| !is_late(view, view.at);
            let behind = views.iter().filter(is_open).filter(known).map(|view| view.at + BEHIND);
            let new: Vec<i64> = behind
                .filter(|start| !starts.contains(start) && within(*start).next().is_some())
                .collect();
            if new.is_empty() {
                break;
            }
            starts.extend(new);
        }
        for start in starts {
            let sum = within(start).map(|view| view.n).sum();
            rows.add("sliding", row(user, start, start + SLIDING, "sum", sum));
        }
    }
}

/// Returns the sessions of each user, each in the order of time.
fn sessions(visits: &Visits, step: &str, late: &mut Late) -> Vec<Vec<Visit>> {
    let mut users: BTreeMap<i64, Vec<Visit>> = BTreeMap::new();
    for visit in &visits.all {
        // A record alone is a session, which includes its end.
        if visit.at + GAP + SESSION_GRACE < visit.partition_time {
            leave_out(late, step);
        } else {
            users.entry(visit.user).or_default().push(visit.clone());
        }
    }
    let mut sessions = Vec::new();
    for mut visits in users.into_values() {
        visits.sort_by_key(|visit| visit.at);
        sessions.extend(visits.chunk_by(|a, b| b.at - a.at <= GAP).map(<[Visit]>::to_vec));
    }
    sessions
}

fn bounded(session: &[Visit], name: &str, value: i64) -> Json {
    let (first, last) = (&session[0], &session[session.len() - 1]);
    row(first.user, first.at, last.at, name, value)
}

/// Joins the last view of each user with the limit.
fn outer(views: &Visits, limits: &BTreeMap<i64, i64>, is_left: bool, rows: &mut Rows) {
    let last = last_of(views);
    let users: BTreeSet<i64> = last.keys().chain(limits.keys()).copied().collect();
    for user in users {
        let page = last.get(&user);
        if page.is_some() || !is_left {
            rows.add("outer", json!({"user": user, "page": page, "limit": limits.get(&user)}));
        }
    }
}

/// Joins views and orders that are near to each other in time.
fn within(
    views: &Visits,
    orders: &Visits,
    watermark: Option<i64>,
    rows: &mut Rows,
    late: &mut Late,
) {
    let mut in_time = |visits: &Visits, ahead: i64| -> Vec<Visit> {
        let is_late = |it: &Visit| it.at + ahead + JOIN_GRACE < it.partition_time;
        let count = visits.all.iter().filter(|it| is_late(it)).count();
        (0..count).for_each(|_| leave_out(late, "within"));
        visits.all.iter().filter(|it| !is_late(it)).cloned().collect()
    };
    let (views, orders) = (in_time(views, AFTER), in_time(orders, BEFORE));
    let mut matched = BTreeSet::new();
    for view in &views {
        let mut is_alone = true;
        for (number, order) in orders.iter().enumerate() {
            let distance = order.at - view.at;
            if view.user == order.user && (-BEFORE..=AFTER).contains(&distance) {
                let (user, page, amount) = (view.user, view.n, order.n);
                rows.add("within", json!({"user": user, "page": page, "amount": amount}));
                matched.insert(number);
                is_alone = false;
            }
        }
        if is_alone && is_over(view, watermark) {
            rows.add("within", json!({"user": view.user, "page": view.n, "amount": null}));
        }
    }
    for (number, order) in orders.iter().enumerate() {
        if !matched.contains(&number) && is_over(order, watermark) {
            rows.add("within", json!({"user": order.user, "page": null, "amount": order.n}));
        }
    }
}

/// Returns true if no record that is in time can be a partner of a visit.
fn is_over(visit: &Visit, watermark: Option<i64>) -> bool {
    let end = visit.at + BEFORE + AFTER + JOIN_GRACE;
    watermark.is_some_and(|watermark| end < watermark)
}
