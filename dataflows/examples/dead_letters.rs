//! Dead letters: a record that can't be used changes no answer, and is never lost.
//!
//! `cargo run --example dead_letters` sums three amounts. One line is no JSON, and one has a field
//! of the wrong type. Each of them becomes a row of the topic `dead_letters`, with its reason, its
//! position and its bytes. The summary proves that every record is accounted for.
//!
//! ```text
//! sum of shop 7: 12
//! dead letter at orders/0, position 1: invalid json: ...
//! dead letter at orders/0, position 3: invalid json: ...
//! 4 records read, 2 applied, 2 dead letters: balanced
//! ```

use serde::{Deserialize, Serialize};
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Order {
    shop: i64,
    amount: i64,
}

fn topology(builder: &StreamsBuilder<'_>) {
    builder
        .stream("orders", Consumed::keyed_by(Json, |order: &Order| order.shop))
        .group_by_key()
        .sum(|order| order.amount)
        .to("sums", Produced::columns(["shop", "sum"]));
}

fn main() -> Result<()> {
    let log = MemoryLog::default();
    let lines = [
        r#"{"shop": 7, "amount": 5}"#,
        r#"{"shop": 7, "amount": "#,
        r#"{"shop": 7, "amount": 7}"#,
        r#"{"shop": 7, "amount": "seven"}"#,
    ];
    for line in lines {
        log.append(0, None, Some(line.as_bytes()));
    }

    let (sums, dead) = (MemoryTable::default(), MemoryTable::default());
    let summary = Streams::new(Topology::new("dead letters", topology))
        .source("orders", log)
        .sink("sums", sums.clone())
        .sink(DEAD_LETTERS, dead.clone())
        .run(Config::default())?;

    for row in sums.rows() {
        if let [Value::Long(shop), Value::Long(sum)] = row.as_slice() {
            println!("sum of shop {shop}: {sum}");
        }
    }
    for row in dead.rows() {
        use Value::{Long, Text};
        if let [Text(topic), Long(partition), Text(position), Text(reason), Text(detail), _bytes] =
            row.as_slice()
        {
            println!("dead letter at {topic}/{partition}, position {position}: {reason}: {detail}");
        }
    }
    let orders = &summary.topics["orders"];
    let balance = if orders.balances() { "balanced" } else { "NOT balanced" };
    println!(
        "{} records read, {} applied, {} dead letters: {balance}",
        orders.read, orders.applied, orders.dead
    );
    Ok(())
}
