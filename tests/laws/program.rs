//! The topology of the laws: every verb whose result is independent of the commits, and most
//! combinations of two verbs.

use watershed::options::{Produced, Ties};
use watershed::{Diffs, KGrouped, KTable, OuterKey, StreamsBuilder};

use crate::support::{pair, stream, table};

/// Topics that append every row.
pub(crate) const APPENDED: [&str; 4] = ["all", "all_pairs", "flat", "both"];
/// Tables and the topics that receive their streams of changes.
pub(crate) const CHANGES: [(&str, &str); 3] = [
    ("joined", "joined_changes"),
    ("median", "median_changes"),
    ("enriched_sum", "enriched_changes"),
];

pub(crate) fn build(builder: &StreamsBuilder<'_>) {
    let (left, right) = (table(builder, "left"), table(builder, "right"));
    tables(builder, &left, &right);
    references(&left, &right);
    groups(&left);
    streams(builder, &left);
}

fn tables<'s>(
    builder: &StreamsBuilder<'s>,
    left: &KTable<'s, String, i64>,
    right: &KTable<'s, String, i64>,
) {
    left.to("left", pair());
    right.to("right", pair());
    left.filter(|_, v| v % 3 != 0).map_values(|v| v / 2).to("filtered", pair());
    let joined: KTable<'_, String, i64> =
        left.join(right, |l, r| ((l + r) % 5 != 0).then_some(l * 100 + r));
    joined.to("joined", pair());
    // Leaves the DSL for an operator of differential, and returns.
    let values: Diffs<'_, (String, i64)> = (&joined).into();
    let counts = values.map(|(_, v)| format!("v{}", v % 7)).count();
    let counts = counts.map(|(v, n)| (v, n as i64));
    KTable::from_collection(builder, "imported", counts).to("imported", pair());
    joined.to_stream().to("joined_changes", Produced::columns(["key", "value"]));
    left.left_join(right, |l, r| l * 100 + r.copied().unwrap_or(50)).to("left_joined", pair());
    left.filter(|_, v| v % 2 == 0)
        .join(&joined.map_values(|v| v % 7), |l, j| l * 10 + j)
        .to("rejoined", pair());
}

/// Returns the key to which a value refers, if any.
pub(crate) fn reference(value: i64) -> Option<String> {
    (value % 3 != 0).then(|| format!("k{}", value.rem_euclid(5)))
}

fn references<'s>(left: &KTable<'s, String, i64>, right: &KTable<'s, String, i64>) {
    left.outer_join(right, |l, r| l.unwrap_or(&50) * 100 + r.unwrap_or(&60))
        .to("outer_joined", pair());
    left.left_join_on(right, |_, v| reference(*v), |l, r| l * 100 + r.unwrap_or(&50))
        .to("referring", pair());
    let outer: KTable<'_, OuterKey<String, String>, i64> = left.outer_join_on(
        right,
        |_, v| reference(*v),
        |l, r| l.unwrap_or(&50) * 100 + r.unwrap_or(&60),
    );
    let name = |key: &OuterKey<String, String>| match key {
        OuterKey::Left(key) => format!("left {key}"),
        OuterKey::Right(key) => format!("right {key}"),
    };
    outer.group_by(move |key, v| (name(key), *v)).sum(|v| *v).to("outer_referring", pair());
    let near: KTable<'_, (String, String), i64> = left.join_between(
        right,
        |_, v| (v % 4 != 1).then_some(*v),
        |_, w| (w % 3 != 1).then_some(w - 3..*w),
        |l, r| l * 100 + r,
    );
    near.group_by(|(left, _), v| (left.clone(), *v)).sum(|v| *v).to("near", pair());
}

fn groups(left: &KTable<'_, String, i64>) {
    let groups: KGrouped<'_, String, i64> =
        left.group_by(|_, v| (v % 4 != 3).then(|| (format!("g{}", v % 4), v / 4)));
    let count = groups.count();
    count.to("count", pair());
    groups.sum(|v| *v).to("sum", pair());
    groups.min().to("min", pair());
    groups.max().to("max", pair());
    let median = groups.median();
    median.to("median", pair());
    median.to_stream().to("median_changes", Produced::columns(["key", "value"]));
    groups.quantile(9, 10).to("quantile", pair());
    groups.count_distinct().to("distinct", pair());
    groups.top(2, Ties::Keep, |v| v % 3).to("top", pair());
    groups.top(2, Ties::Cut, |v| v % 3).to("cut", pair());
    groups.reduce(|all, v| all * 3 + v).to("reduce", pair());
    groups.aggregate(|| 1, |all, v| all * 3 + v).to("aggregate", pair());
    count.group_by(|_, n| (format!("n{n}"), *n)).count().to("counts", pair());
    median.join(&count, |m, n| m * 100 + n).to("pairs", pair());
}

fn streams<'s>(builder: &StreamsBuilder<'s>, left: &KTable<'s, String, i64>) {
    let events = stream(builder, "events");
    let flat = events
        .filter_not(|_, v| *v < 0)
        .flat_map_values(|v| 0..v % 4)
        .map(|k, v| (format!("{k}{v}"), v));
    let both = flat.merge(&events.select_key(|_, v| v.to_string()));
    events.to("all", pair());
    flat.to("flat", pair());
    both.to("both", pair());
    events.to_table().to("latest", pair());
    let several = events.flat_map_values(|v| [v + 9, v, v + v % 3]);
    several.merge(&events.filter(|_, v| v % 2 == 0)).to_table().to("last", pair());
    several
        .left_join(left, |e, l| e * 100 + l.copied().unwrap_or(50))
        .to_table()
        .to("last_joined", pair());
    both.group_by_key().count().to("both_count", pair());
    let fifths: KGrouped<'_, String, i64> =
        events.group_by(|_, v| (v % 5 != 0).then(|| ((v % 5).to_string(), *v)));
    fifths.sum(|v| *v).to("fifths", pair());
    let enriched = events.join(left, |e, l| e * 100 + l);
    let sum = enriched.group_by_key().sum(|v| *v);
    sum.to("enriched_sum", pair());
    sum.to_stream().to("enriched_changes", Produced::columns(["key", "value"]));
    enriched.filter(|_, v| v % 2 == 0).to_table().to("enriched_latest", pair());
    let optional = events.left_join(left, |e, l| e * 100 + l.copied().unwrap_or(50));
    optional.to_table().to("optional_latest", pair());
    optional
        .group_by(|_, v| ((v % 100).to_string(), *v))
        .count_distinct()
        .to("optional_distinct", pair());
    let even = events.filter(|_, v| v % 2 == 0);
    let pairs = events.join_stream(&even, |v, w| v * 100 + w);
    pairs.to("all_pairs", pair());
    let outer = even.outer_join_stream(&enriched, |v, w| v.unwrap_or(&50) * 100 + w.unwrap_or(&60));
    outer.group_by_key().sum(|v| *v).to("outer_pairs", pair());
    enriched
        .left_join_global(
            &left.to_global(),
            |_, v| reference(*v),
            |v, l| v * 100 + l.unwrap_or(&50),
        )
        .group_by_key()
        .sum(|v| *v)
        .to("global_sum", pair());
}
