//! The topology of `visits`, over three small topics.
//!
//! Users view pages and make orders, both at times out of order, and have limits, which come and
//! go. Each table keeps another kind of state. There are too many kinds for one program, so the
//! tables are divided into families.

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::record::Record;

use crate::version::{Family, Version};
use crate::{epochs, joins, windows};

/// The topics that are read: two streams with times, and a table without.
pub(crate) const TOPICS: [&str; 3] = ["view", "order", "limit"];

/// Returns the tables that a version writes.
pub(crate) fn tables(version: Version) -> impl Iterator<Item = &'static str> {
    let tables = match version.family {
        Family::Windows => &windows::TABLES[..],
        Family::Joins => &joins::TABLES,
        Family::Epochs => &epochs::TABLES,
    };
    tables.iter().copied().chain(version.has_digits.then_some("digits"))
}

/// A view of page `n`, or an order of amount `n`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Visit {
    user: i64,
    n: i64,
    at: Option<Timestamp>,
}

/// The limit of a user; null deletes it.
#[derive(Deserialize)]
struct Limit {
    user: i64,
    n: Option<i64>,
}

/// Builds the topology.
pub(crate) fn topology(builder: &StreamsBuilder<'_>, version: Version) {
    let visits = |topic| {
        let consumed = Consumed::keyed_by(Json, |it: &Visit| it.user).timestamp(|_, it| it.at);
        builder.stream(topic, consumed).map_values(|it| it.n)
    };
    let (views, orders) = (visits("view"), visits("order"));
    let limits = builder.table("limit", Consumed::from_record(limit));
    match version.family {
        Family::Windows => windows::build(&views, &orders, &limits, version),
        Family::Joins => joins::build(&views, &orders, &limits, version),
        Family::Epochs => epochs::build(&views, &orders, &limits),
    }
    if version.family != Family::Windows {
        let parts = limits.group_by(|user, limit| (user % 4, *limit));
        let totals = match version.counts {
            true => parts.count(),
            false => parts.reduce_subtracting(|all, limit| all + limit, |all, limit| all - limit),
        };
        totals.to("totals", Produced::columns(["part", "total"]));
    }
    if version.has_digits {
        let digits = limits.group_by(|_, limit| (limit % 10, ())).count();
        digits.to("digits", Produced::columns(["digit", "limits"]));
    }
}

fn limit(record: &Record<'_>) -> Result<(i64, Option<i64>), Reject> {
    let limit: Result<Limit, _> = serde_json::from_slice(record.value.unwrap_or_default());
    let Limit { user, n } = limit.map_err(|e| Reject::new("no limit", e.to_string()))?;
    Ok((user, n))
}
