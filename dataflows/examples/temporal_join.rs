//! Temporal join: each order is valued at the exchange rate of its own time.
//!
//! `cargo run --example temporal_join` reads rates and orders with timestamps. A rate is valid from
//! its timestamp until that of the next one, whichever arrived first. So the first order gets the
//! rate of second 0, although a newer one has arrived before it. A rate that arrives late corrects
//! the orders in the time for which it is valid, and no others.
//!
//! ```text
//! order 1 of second 10 is worth 200, order 2 of second 35 is worth 500
//! a rate of second 5 arrives late
//! order 1 of second 10 is worth 300, order 2 of second 35 is worth 500
//! ```

use std::time::Duration;

use watershed::prelude::*;

/// Rates and orders may be so late.
const HISTORY_DURATION: Duration = Duration::from_secs(3_600);

/// The number of an order, and its amount.
type Order = (i64, i64);

fn topology(builder: &StreamsBuilder<'_>) {
    let rates = builder.table("rates", Consumed::with(Utf8, Int64));
    let orders = builder.stream::<String, Order>("orders", Consumed::with(Utf8, Json));
    let worth = |(order, amount): &Order, rate: &i64| (*order, amount * rate);
    orders
        .temporal_join(&rates.versioned(HISTORY_DURATION), worth)
        .map(|_currency, (order, worth)| (order, worth))
        .to_table()
        .materialize(Materialized::named("worth"));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("orders", topology))?;
    let rates = driver.input("rates", Utf8, Int64);
    let orders = driver.input("orders", Utf8, Json);
    let worth: ReadOnlyStore<i64, i64> = driver.store("worth")?;
    let (euro, second) = ("EUR".to_string(), |n: i64| Timestamp::from_millis(n * 1_000));
    let print = || {
        let of = |order| worth.get(&order).unwrap_or_default();
        let (first, other) = (of(1), of(2));
        println!("order 1 of second 10 is worth {first}, order 2 of second 35 is worth {other}");
    };

    rates.pipe_at(&mut driver, &euro, &2, second(0));
    rates.pipe_at(&mut driver, &euro, &5, second(30));
    orders.pipe_at(&mut driver, &euro, &(1, 100), second(10));
    orders.pipe_at(&mut driver, &euro, &(2, 100), second(35));
    driver.commit()?;
    print();

    println!("a rate of second 5 arrives late");
    rates.pipe_at(&mut driver, &euro, &3, second(5));
    driver.commit()?;
    print();
    Ok(())
}
