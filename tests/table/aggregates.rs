//! Aggregates of groups follow their values as these are added, changed and removed. An empty group
//! has no row.

use watershed::options::Ties;
use watershed::{KGrouped, KTable, StreamsBuilder};

use crate::support::{Trial, pair, table};

/// Groups rows by the first letter of their key.
fn letters<'s>(builder: &StreamsBuilder<'s>) -> KGrouped<'s, String, i64> {
    table(builder, "rows").group_by(|k, v| (k[..1].to_string(), *v))
}

/// Returns the rows of an aggregate of [`letters`] after each feed.
fn follow(
    aggregate: fn(KGrouped<'_, String, i64>) -> KTable<'_, String, i64>,
    feeds: &[(&str, &str)],
) {
    let mut trial = Trial::of(move |builder| aggregate(letters(builder)).to("out", pair()));
    for (feed, rows) in feeds {
        assert_eq!(trial.after("rows", feed, "out"), *rows, "after {feed}");
    }
}

#[test]
fn count_is_how_many() {
    follow(
        |g| g.count(),
        &[("a1=5 a2=5 b1=1", "a=2 b=1"), ("a1=6 b1=", "a=2"), ("a1= a2= b1=", ""), ("a1=1", "a=1")],
    );
}

#[test]
fn sum_follows_corrections_and_a_sum_of_zero_is_a_row() {
    let feeds =
        [("a1=5 a2=-5", "a=0"), ("a1=6", "a=1"), ("a1= a2=", ""), ("a1=0", "a=0"), ("a1=", "")];
    follow(|g| g.sum(|v| *v), &feeds);
}

#[test]
fn a_sum_beyond_64_bits_stays_at_the_end_and_comes_back() {
    let feeds = [
        ("a1=9223372036854775807 a2=9223372036854775807 a3=1", "a=9223372036854775807"),
        ("a1=-9223372036854775807", "a=1"),
        ("a2=-9223372036854775807 a3=-9", "a=-9223372036854775808"),
        ("a1=", "a=-9223372036854775808"),
        ("a3=9", "a=-9223372036854775798"),
    ];
    follow(|g| g.sum(|v| *v), &feeds);
}

#[test]
fn min_and_max_find_the_next_value_after_a_deletion() {
    follow(
        |g| g.min(),
        &[("a1=1 a2=2 a3=1", "a=1"), ("a1=3", "a=1"), ("a3=", "a=2"), ("a1= a2=", "")],
    );
    follow(
        |g| g.max(),
        &[("a1=9 a2=2 a3=9", "a=9"), ("a1=1", "a=9"), ("a3=", "a=2"), ("a1= a2=", "")],
    );
}

#[test]
fn count_distinct_counts_equal_values_once() {
    let feeds = [
        ("a1=1 a2=1 a3=2", "a=2"),
        ("a1=3", "a=3"),
        ("a2=3", "a=2"),
        ("a3=3", "a=1"),
        ("a1= a2= a3=", ""),
    ];
    follow(|g| g.count_distinct(), &feeds);
}

#[test]
fn the_median_of_an_even_number_is_the_lower_middle() {
    let feeds = [
        ("a1=5", "a=5"),
        ("a2=1", "a=1"),
        ("a3=9", "a=5"),
        ("a4=9 a5=9", "a=9"),
        ("a3=0 a4=0", "a=1"),
        ("a2= a5=", "a=0"),
        ("a1= a3= a4=", ""),
        ("a1=7", "a=7"),
    ];
    follow(|g| g.median(), &feeds);
}

#[test]
fn quantiles_are_elements_by_ascending_rank() {
    let feed = "a0=0 a1=10 a2=20 a3=30 a4=40 a5=50 a6=60 a7=70 a8=80 a9=90";
    follow(|g| g.quantile(0, 1), &[(feed, "a=0"), ("a0=", "a=10")]);
    follow(|g| g.quantile(1, 1), &[(feed, "a=90"), ("a9=", "a=80")]);
    follow(|g| g.quantile(9, 10), &[(feed, "a=80"), ("a10=100", "a=90")]);
    follow(|g| g.quantile(1, 4), &[(feed, "a=20"), ("a0=95", "a=30")]);
}

#[test]
#[should_panic(expected = "a quantile is a fraction of the values, not 3/2")]
fn a_quantile_beyond_one_is_refused() {
    watershed::Topology::new("wrong", |builder| letters(builder).quantile(3, 2).to("out", pair()))
        .describe();
}

#[test]
fn reduce_visits_values_in_ascending_order() {
    follow(
        |g| g.reduce(|all, v| all * 10 + v),
        &[("a1=3 a2=1 a3=3", "a=133"), ("a2=4", "a=334"), ("a1= a2= a3=", "")],
    );
}

#[test]
fn aggregate_folds_from_its_start_and_forgets_an_empty_group() {
    let feeds =
        [("a1=3 a2=1 a3=3", "a=7133"), ("a3=2", "a=7123"), ("a1= a2= a3=", ""), ("b1=1", "b=71")];
    follow(|g| g.aggregate(|| 7, |all, v| all * 10 + v), &feeds);
}

/// The two values with the highest last digit, and more with [`Ties::Keep`].
fn top(ties: Ties) -> Trial {
    Trial::of(move |builder| letters(builder).top(2, ties, |v| v % 10).to("top", pair()))
}

#[test]
fn top_keeps_all_that_tie_with_the_last() {
    let mut trial = top(Ties::Keep);
    assert_eq!(trial.after("rows", "a1=9 a2=18 a3=7", "top"), "a=9 a=18");
    assert_eq!(trial.after("rows", "a4=8 a5=28", "top"), "a=8 a=9 a=18 a=28");
    assert_eq!(trial.after("rows", "a6=19", "top"), "a=9 a=19");
    assert_eq!(trial.after("rows", "a1= a6=", "top"), "a=8 a=18 a=28");
    assert_eq!(trial.after("rows", "a2= a4= a5=", "top"), "a=7");
    assert_eq!(trial.after("rows", "a3=", "top"), "");
}

#[test]
fn top_cuts_ties_at_the_least_values() {
    let mut trial = top(Ties::Cut);
    assert_eq!(trial.after("rows", "a1=9 a2=18 a3=7", "top"), "a=9 a=18");
    assert_eq!(trial.after("rows", "a4=8 a5=28", "top"), "a=8 a=9");
    assert_eq!(trial.after("rows", "a4=", "top"), "a=9 a=18");
    assert_eq!(trial.after("rows", "a1= a2= a5=", "top"), "a=7");
}

#[test]
fn top_shows_equal_values_once_until_the_last_is_deleted() {
    let mut trial = top(Ties::Keep);
    assert_eq!(trial.after("rows", "a1=9 a2=9 a3=9 a4=7 a5=6", "top"), "a=7 a=9");
    trial.pipe("rows", "a1= a2=");
    assert_eq!(trial.changes("top"), "a=7 a=9");
    assert_eq!(trial.after("rows", "a3=", "top"), "a=6 a=7");
}

#[test]
fn a_value_that_comes_and_goes_within_a_commit_leaves_no_trace() {
    let mut trial = Trial::of(|builder| {
        let letters = letters(builder);
        letters.max().to("max", pair());
        letters.median().to("median", pair());
        letters.count_distinct().to("distinct", pair());
    });
    trial.pipe("rows", "a1=1 a2=2 a1=9 a1=1 b1=5 b1=");
    assert_eq!(trial.rows("max"), "a=2");
    assert_eq!(trial.rows("median"), "a=1");
    assert_eq!(trial.rows("distinct"), "a=2");
    trial.pipe("rows", "a2=7 a2=2 c1=5 c1=");
    assert_eq!(trial.changes("max"), "a=2");
    trial.pipe("rows", "a2=8 a2=2");
    assert_eq!(trial.changes("max"), "");
}
