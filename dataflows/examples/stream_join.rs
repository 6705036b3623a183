//! A join of two streams within a window of event time.
//!
//! `cargo run --example stream_join` joins orders with payments of the same number that come at
//! most 60 minutes later. `join_within` makes one record of each pair. `left_join_within` also
//! makes one of each order without a payment: once, when its window has closed.
//!
//! ```text
//! at minute 70
//! order 1 of ada: paid by card
//! at minute 200
//! order 1 of ada: paid by card
//! order 2 of bob: not paid within an hour
//! ```

use std::time::Duration;

use watershed::prelude::*;

fn topology(builder: &StreamsBuilder<'_>) {
    let orders = builder.stream("orders", Consumed::with(Int64, Utf8));
    let payments = builder.stream("payments", Consumed::with(Int64, Utf8));

    let hour = JoinWindows::of(Duration::from_secs(3_600)).before(Duration::ZERO);
    // A record without a partner is emitted when its window closes, so the window has a grace.
    let hour = hour.grace(Duration::from_secs(300));
    orders
        .join_within(&payments, hour, |user, means| format!("{user}: paid by {means}"))
        .to("paid", Produced::columns(["order", "text"]));
    orders
        .left_join_within(&payments, hour, |user, means| match means {
            Some(means) => format!("{user}: paid by {means}"),
            None => format!("{user}: not paid within an hour"),
        })
        .to("all", Produced::columns(["order", "text"]));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("payments", topology))?;
    let orders = driver.input("orders", Int64, Utf8);
    let payments = driver.input("payments", Int64, Utf8);
    let at = |minute: i64| Timestamp::from_millis(60_000 * minute);

    orders.pipe_at(&mut driver, &1, &"ada".to_string(), at(0));
    orders.pipe_at(&mut driver, &2, &"bob".to_string(), at(5));
    payments.pipe_at(&mut driver, &1, &"card".to_string(), at(10));
    // This payment is 65 minutes after its order: too far.
    payments.pipe_at(&mut driver, &2, &"cash".to_string(), at(70));
    driver.commit()?;
    println!("at minute 70");
    for (order, text) in driver.output::<i64, String>("paid").rows(&driver)? {
        println!("order {order} of {text}");
    }

    // Stream time is that of the slower topic, so both bring a record.
    orders.pipe_at(&mut driver, &3, &"eve".to_string(), at(200));
    payments.pipe_at(&mut driver, &4, &"card".to_string(), at(200));
    driver.commit()?;
    println!("at minute 200");
    for (order, text) in driver.output::<i64, String>("all").rows(&driver)? {
        println!("order {order} of {text}");
    }
    Ok(())
}
