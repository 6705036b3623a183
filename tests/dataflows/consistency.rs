//! The public test of streaming consistency: its invariants hold at every version of its tables.

use std::collections::{BTreeMap, BTreeSet};

use watershed::connectors::delta::Table;
use watershed::row::Value;

use super::examples::{assert_shown, run};

type Rows = BTreeSet<Vec<Value>>;

fn rows(table: &Table) -> Rows {
    let mut rows = Rows::new();
    table
        .for_each(&mut |row| {
            assert!(rows.insert(row.to_vec()), "a row occurs twice: {row:?}");
            Ok(())
        })
        .unwrap();
    rows
}

/// The tables of a lake at a commit.
struct Lake<'a> {
    url: &'a str,
    commit: u64,
}

impl Lake<'_> {
    fn rows(&self, table: &str) -> Rows {
        let table = Table::as_of(&format!("{}/{table}", self.url), self.commit).unwrap();
        table.map(|table| rows(&table)).unwrap_or_default()
    }

    /// Returns the accepted transactions as numbers: id, sender, receiver, amount, time.
    fn accepted(&self) -> Vec<[i64; 5]> {
        let number = |value: &Value| match value {
            Value::Long(n) | Value::Timestamp(n) => *n,
            other => panic!("{other:?} is no number"),
        };
        let rows = self.rows("accepted");
        rows.iter().map(|row| [0, 1, 2, 3, 4].map(|at| number(&row[at]))).collect()
    }

    /// Asserts that the rows of a table are those of a map of sums.
    fn assert_sums<K: Ord>(&self, table: &str, sums: Sums<K>, key: impl Fn(K) -> Vec<Value>) {
        let row = |(account, sum)| [key(account), vec![Value::Long(sum)]].concat();
        let expected: Rows = sums.into_iter().map(row).collect();
        assert_eq!(self.rows(table), expected, "{table} at commit {}", self.commit);
    }
}

type Sums<K> = BTreeMap<K, i64>;

/// Adds amounts by key.
fn sums<K: Ord>(amounts: impl Iterator<Item = (K, i64)>) -> Sums<K> {
    let mut sums = Sums::new();
    amounts.for_each(|(key, amount)| *sums.entry(key).or_default() += amount);
    sums
}

/// Asserts the invariants of each version of each table by itself. Returns the number of versions.
fn assert_each_version(url: &str) -> u64 {
    let versions = |table: &str| {
        let url = format!("{url}/{table}");
        let last = Table::open(&url).unwrap().version();
        (0..=last).map(move |version| rows(&Table::at_version(&url, version).unwrap()))
    };
    let zero = Rows::from([vec![Value::Long(0)]]);
    for total in versions("total") {
        assert!(total.is_empty() || total == zero, "the total is {total:?}");
    }
    for totals in versions("window_total") {
        let lost = totals.iter().find(|row| row[2] != Value::Long(0));
        assert_eq!(lost, None, "the total of a window");
    }
    for table in ["outer_join", "outer_join_within"] {
        for halves in versions(table) {
            let lone = halves.iter().find(|row| row.contains(&Value::Null));
            assert_eq!(lone, None, "a half of {table}");
        }
    }
    versions("balance").count() as u64
}

/// Asserts that all tables of a commit are about the same transactions.
fn assert_commit(lake: &Lake<'_>, is_ordered: bool) {
    let accepted = lake.accepted();
    let credits = || accepted.iter().map(|[_, _, to, amount, _]| (*to, *amount));
    let debits = || accepted.iter().map(|[_, from, _, amount, _]| (*from, -amount));
    let account = |account: i64| vec![Value::Long(account)];
    lake.assert_sums("credits", sums(credits()), account);
    lake.assert_sums("debits", sums(debits().map(|(from, amount)| (from, -amount))), account);
    lake.assert_sums("balance", sums(credits().chain(debits())), account);

    let halves: Rows = accepted
        .iter()
        .map(|[id, from, to, ..]| [id, from, to].map(|n| Value::Long(*n)).to_vec())
        .collect();
    assert_eq!(lake.rows("outer_join"), halves);
    let within = lake.rows("outer_join_within");
    assert!(within.is_subset(&halves));
    if !is_ordered {
        return;
    }
    // Nothing is late.
    assert_eq!(within, halves);
    let window = |ts: &i64| ts.div_euclid(10_000_000) * 10_000_000;
    let both = accepted.iter().flat_map(|[_, from, to, amount, ts]| {
        [((*from, window(ts)), -amount), ((*to, window(ts)), *amount)]
    });
    lake.assert_sums("window_balance", sums(both), |(account, start)| {
        let [start, end] = [start, start + 10_000_000].map(Value::Timestamp);
        vec![Value::Long(account), start, end]
    });
}

#[test]
fn every_version_of_every_table_is_consistent() {
    for (order, processes) in
        [("ordered", "1"), ("ordered", "2"), ("shuffled", "1"), ("shuffled", "2")]
    {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().to_str().unwrap();
        assert_shown("consistency", &run("consistency", &[url, order, processes]));
        assert!(assert_each_version(url) >= 20, "a version for each step of transactions");
        let last = Table::open(&format!("{url}/accepted")).unwrap().manifest().unwrap();
        for commit in 1..=last {
            assert_commit(&Lake { url, commit }, order == "ordered");
        }
        let lake = Lake { url, commit: last };
        assert_eq!(lake.accepted().len(), 1_000);
        let late = lake.rows("outer_join").len() - lake.rows("outer_join_within").len();
        assert_eq!(late > 0, order == "shuffled", "{late} are late");
    }
}
