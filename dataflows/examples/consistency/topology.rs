//! Credits, debits, balances and their total, of all time and of windows; and outer joins.

use std::time::Duration;

use watershed::Datum;
use watershed::prelude::*;

use crate::transactions::Transaction;

/// The tables that the topology writes.
pub(crate) const TABLES: [&str; 9] = [
    "accepted",
    "outer_join",
    "outer_join_within",
    "credits",
    "debits",
    "balance",
    "total",
    "window_balance",
    "window_total",
];

/// Builds the topology of the test.
pub(crate) fn topology(builder: &StreamsBuilder<'_>) {
    let consumed = Consumed::keyed_by(Json, |it: &Transaction| it.id).timestamp(|_, it| it.ts);
    let transactions = builder.stream("transactions", consumed);
    transactions.map(|_, it| ((), it)).to("accepted", Produced::columns(Transaction::COLUMNS));

    let ids = || Produced::columns(["id", "sender", "receiver"]);
    let sent = transactions.map_values(|it| it.from_account);
    let received = transactions.map_values(|it| it.to_account);
    let both = |a: Option<&i64>, b: Option<&i64>| (a.copied(), b.copied());
    sent.to_table().outer_join(&received.to_table(), both).to("outer_join", ids());
    let grace = Duration::from_secs(5);
    let at_once = JoinWindows::of(Duration::ZERO).grace(grace);
    sent.outer_join_within(&received, at_once, both).to("outer_join_within", ids());

    let credits = transactions.group_by(|_, it| (it.to_account, it.amount));
    let debits = transactions.group_by(|_, it| (it.from_account, it.amount));
    let sums = [&credits, &debits].map(|amounts| amounts.sum(|amount| *amount));
    sums[0].to("credits", Produced::columns(["account", "credits"]));
    sums[1].to("debits", Produced::columns(["account", "debits"]));
    let balances = balance(sums);
    balances.to("balance", Produced::columns(["account", "balance"]));
    let total = balances.group_by(|_, balance| ((), *balance)).sum(|balance| *balance);
    total.to("total", Produced::columns(["total"]));

    let windows = TimeWindows::of_size(Duration::from_secs(10)).grace(grace);
    let sums = [credits, debits].map(|it| it.windowed_by(windows).sum(|amount| *amount));
    let balances = balance(sums);
    balances.to("window_balance", Produced::columns(["account", "start", "end", "balance"]));
    let totals = balances.group_by(|it, balance| ((it.start, it.end), *balance)).sum(|n| *n);
    totals.to("window_total", Produced::columns(["start", "end", "total"]));
}

/// Returns credits less debits, also of a key that has only one of them.
fn balance<'s, K: Datum>(sums: [KTable<'s, K, i64>; 2]) -> KTable<'s, K, i64> {
    let [credits, debits] = sums.map(|sums| sums.group_by(|key, sum| (key.clone(), *sum)));
    let all = credits.cogroup(|balance: i64, sum| balance + sum);
    all.cogroup(&debits, |balance, sum| balance - sum).aggregate(|| 0)
}
