//! The tables that depend on where epochs end.
//!
//! A commit records the ends of partitions, and the epochs since the last one ended somewhere in
//! between. So the oracle knows which rows a key may have, and that what is looked up stays. A
//! change waits in a suppression for no longer than the limit, by the watermark. Then the row must
//! be the last one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::{Choice, Inputs, Late, Limit, Rows, SECOND, Visit, leave_out};

/// The windows, and their grace.
const SIZE: i64 = 10 * SECOND;
const GRACE: i64 = 4 * SECOND;
/// The time for which versions of pages are kept.
const HISTORY: i64 = 20 * SECOND;
/// The time for which changes wait, and the longer one with a limit of their number.
const WAIT: i64 = 3 * SECOND;
const LONG_WAIT: i64 = 60 * SECOND;
const WAITING: usize = 12;

/// The answers that later ones depend on.
#[derive(Default)]
pub(super) struct Past {
    /// The ends of partitions at the last commit; null before the first one.
    ends: Json,
    /// The limits that each record may have found, by topic, partition and offset; none for no
    /// limit.
    found: BTreeMap<(&'static str, u32, u64), BTreeSet<Option<i64>>>,
    /// The pages that may be the last ones, by user.
    last: BTreeMap<i64, BTreeSet<i64>>,
}

impl Past {
    fn has(&self, topic: &str, partition: u32, offset: u64) -> bool {
        offset < self.ends[topic][partition.to_string()].as_u64().unwrap_or(0)
    }
}

/// Adds the rows of all tables.
pub(super) fn tables(inputs: &Inputs, past: &mut Past, rows: &mut Rows, late: &mut Late) {
    look_ups(inputs, past, rows);
    last(inputs, past, rows);
    past.ends = inputs.ends.clone();
    grouped(inputs, rows);
    windows(inputs, rows, late);
    newest(inputs, rows, late);
    spans(inputs, rows);
}

/// Joins each record with a limit that may have stood at the end of its epoch.
fn look_ups(inputs: &Inputs, past: &mut Past, rows: &mut Rows) {
    // The change that stood at the last commit, and the later ones since.
    let mut standing: BTreeMap<i64, &Limit> = BTreeMap::new();
    let is_old = |limit: &&Limit| past.has("limit", limit.partition, limit.offset);
    for limit in inputs.changes.iter().filter(is_old) {
        let before = standing.entry(limit.user).or_insert(limit);
        *before = limit.later(before);
    }
    let mut possible: BTreeMap<i64, BTreeSet<Option<i64>>> = BTreeMap::new();
    for limit in inputs.changes.iter().filter(|limit| !is_old(limit)) {
        let before = standing.get(&limit.user);
        if before.is_none_or(|before| limit.place() > before.place()) {
            possible.entry(limit.user).or_default().insert(limit.n);
        }
    }
    let limits_of = |user: i64| {
        let mut limits = possible.get(&user).cloned().unwrap_or_default();
        limits.insert(standing.get(&user).and_then(|limit| limit.n));
        limits
    };
    let mut found = std::mem::take(&mut past.found);
    for view in &inputs.views.all {
        let limits = found.entry(("view", view.partition, view.offset));
        let limits = limits.or_insert_with(|| limits_of(view.user));
        let Visit { user, n, at, .. } = *view;
        let row = |limit: &Option<i64>| json!({"user": user, "page": n, "at": at, "limit": limit});
        rows.choose("looked", Choice::one(limits.iter().map(row)));
    }
    for order in &inputs.orders.all {
        let limits = found.entry(("order", order.partition, order.offset));
        let limits = limits.or_insert_with(|| limits_of(order.n % 40));
        let Visit { user, n, at, .. } = *order;
        let row = |limit: &i64| json!({"user": user, "amount": n, "at": at, "limit": limit});
        let row = limits.iter().flatten().map(row);
        let may_lack = limits.contains(&None);
        let choice = if may_lack { Choice::up_to_one(row) } else { Choice::one(row) };
        rows.choose("looked_global", choice);
    }
    past.found = found;
}

/// The last page of each user: of the last epoch with one, the page of the last position.
fn last(inputs: &Inputs, past: &mut Past, rows: &mut Rows) {
    let mut new: BTreeMap<i64, BTreeMap<u32, i64>> = BTreeMap::new();
    for view in &inputs.views.all {
        if !past.has("view", view.partition, view.offset) {
            new.entry(view.user).or_default().insert(view.partition, view.n);
        }
    }
    for (user, pages) in new {
        past.last.insert(user, pages.into_values().collect());
    }
    for (user, pages) in &past.last {
        let row = |page: &i64| json!({"user": user, "page": page});
        rows.choose("last", Choice::one(pages.iter().map(row)));
    }
}

/// Adds up pages and amounts.
fn grouped(inputs: &Inputs, rows: &mut Rows) {
    let mut sums: BTreeMap<i64, [i64; 2]> = BTreeMap::new();
    for (side, visits) in [&inputs.views, &inputs.orders].into_iter().enumerate() {
        visits.all.iter().for_each(|it| sums.entry(it.user).or_default()[side] += it.n);
    }
    for (user, [pages, amounts]) in sums {
        rows.add("grouped", json!({"user": user, "pages": pages, "amounts": amounts}));
    }
}

/// Returns true if no change of a row waits any more: no record of it is later than `last`.
fn is_settled(last: i64, wait: i64, watermark: Option<i64>) -> bool {
    watermark.is_some_and(|watermark| last + wait <= watermark)
}

/// The sums of both streams by window, and the counts of views with few changes.
fn windows(inputs: &Inputs, rows: &mut Rows, late: &mut Late) {
    let start = |visit: &Visit| visit.at.div_euclid(SIZE) * SIZE;
    let is_late = |visit: &Visit| start(visit) + SIZE + GRACE <= visit.partition_time;
    let mut sums: BTreeMap<(i64, i64), [i64; 2]> = BTreeMap::new();
    for (side, visits) in [&inputs.views, &inputs.orders].into_iter().enumerate() {
        for visit in &visits.all {
            match is_late(visit) {
                true => leave_out(late, "both"),
                false => sums.entry((visit.user, start(visit))).or_default()[side] += visit.n,
            }
        }
    }
    for ((user, start), [pages, amounts]) in sums {
        let end = start + SIZE;
        let row = json!({
            "user": user, "start": start, "end": end, "pages": pages, "amounts": amounts
        });
        rows.add("both", row);
    }
    let mut counts: BTreeMap<(i64, i64), (i64, i64)> = BTreeMap::new();
    for view in &inputs.views.all {
        if is_late(view) {
            leave_out(late, "counts");
            continue;
        }
        let (count, last) = counts.entry((view.user, start(view))).or_insert((0, view.at));
        (*count, *last) = (*count + 1, view.at.max(*last));
    }
    for ((user, start), (count, last)) in counts {
        let row =
            |count: i64| json!({"user": user, "start": start, "end": start + SIZE, "count": count});
        for (table, wait) in [("calm", WAIT), ("early", LONG_WAIT)] {
            let choice = match is_settled(last, wait, inputs.views.watermark) {
                true => Choice::one([row(count)]),
                false => Choice::up_to_one((1..=count).map(row)),
            };
            rows.choose(table, choice.last(row(count)));
        }
    }
    if let Some(early) = rows.choices.get_mut("early") {
        early.waiting = Some(WAITING);
    }
}

/// The newest page of each user, by time. Some pages are none.
fn newest(inputs: &Inputs, rows: &mut Rows, late: &mut Late) {
    let mut newest: BTreeMap<i64, &Visit> = BTreeMap::new();
    for view in &inputs.views.all {
        if view.at + HISTORY < view.partition_time {
            leave_out(late, "newest");
            continue;
        }
        let place = |view: &Visit| (view.at, view.offset, view.partition);
        let before = newest.entry(view.user).or_insert(view);
        if place(view) > place(before) {
            *before = view;
        }
    }
    for (user, view) in newest.into_iter().filter(|(_, view)| view.n % 8 > 0) {
        rows.add("newest", json!({"user": user, "page": view.n}));
    }
}

/// The records of one of two topics in a span of time, and in a part of the users.
struct Span {
    all: BTreeSet<i64>,
    /// That of the last record by position.
    last: i64,
    count: i64,
}

/// Returns the records by part and span.
fn by_span(visits: &[Visit]) -> BTreeMap<(i64, i64), Span> {
    let mut spans: BTreeMap<(i64, i64), Vec<Visit>> = BTreeMap::new();
    for visit in visits {
        let key = (visit.user % 6, visit.at.div_euclid(SIZE));
        spans.entry(key).or_default().push(visit.clone());
    }
    let span = |visits: Vec<Visit>| {
        let last = visits.iter().max_by_key(|visit| (visit.offset, visit.partition)).unwrap();
        Span {
            all: visits.iter().map(|visit| visit.n).collect(),
            last: last.n,
            count: visits.len() as i64,
        }
    };
    spans.into_iter().map(|(key, visits)| (key, span(visits))).collect()
}

/// Tables of spans of time, behind verbs that read the times of rows.
fn spans(inputs: &Inputs, rows: &mut Rows) {
    let (pages, amounts) = (by_span(&inputs.views.all), by_span(&inputs.orders.all));
    let mut times: BTreeMap<i64, i64> = BTreeMap::new();
    for visit in &inputs.both.all {
        let last = times.entry(visit.at.div_euclid(SIZE)).or_insert(visit.at);
        *last = visit.at.max(*last);
    }
    let is_settled = |span: &i64| is_settled(times[span], WAIT, inputs.both.watermark);
    let mut parts: BTreeMap<i64, i64> = BTreeMap::new();
    for ((part, span), views) in &pages {
        let (start, end, count) = (span * SIZE, (span + 1) * SIZE, views.count);
        let row = json!({"part": part, "span": span, "start": start, "end": end, "count": count});
        rows.add("spans", row);
        let row = |page: i64, amount: i64| {
            let (part, span) = (*part, *span);
            json!({"part": part, "span": span, "page": page, "amount": amount})
        };
        let orders = amounts.get(&(*part, *span));
        *parts.entry(*span).or_default() += i64::from(orders.is_some());
        let referred_by = |page: i64| amounts.get(&(page % 6, *span));
        if is_settled(span) {
            let amount = orders.map(|orders| row(views.last, orders.last));
            amount.into_iter().for_each(|row| rows.choose("joined", Choice::one([row])));
            let amount = referred_by(views.last).map(|orders| row(views.last, orders.last));
            amount.into_iter().for_each(|row| rows.choose("referred", Choice::one([row])));
            continue;
        }
        rows.choose("joined", pairs(views, |_| orders, row));
        rows.choose("referred", pairs(views, referred_by, row));
    }
    for (span, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
        let row = |parts: i64| json!({"span": span, "parts": parts});
        let choice = match is_settled(&span) {
            true => Choice::one([row(count)]),
            false => Choice::up_to_one((1..=count).map(row)),
        };
        rows.choose("tallied", choice);
    }
}

/// Returns the choice of any page of a span with any amount to which it refers.
fn pairs<'s>(
    views: &Span,
    orders_of: impl Fn(i64) -> Option<&'s Span>,
    row: impl Fn(i64, i64) -> Json,
) -> Choice {
    let mut pairs = Vec::new();
    for page in &views.all {
        let amounts = orders_of(*page).into_iter().flat_map(|orders| &orders.all);
        pairs.extend(amounts.map(|amount| row(*page, *amount)));
    }
    Choice::up_to_one(pairs)
}
