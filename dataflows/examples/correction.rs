//! A join of two tables, and a correction that moves its answer.
//!
//! `cargo run --example correction` counts orders by the country of their customer. Then customer 1
//! moves from Chile to Peru: both counts change, although no order was touched.
//!
//! ```text
//! Chile has 2 orders, Peru has 1
//! customer 1 moves to Peru
//! Chile has 0 orders, Peru has 3
//! ```

use watershed::prelude::*;

fn topology(builder: &StreamsBuilder<'_>) {
    // Orders by their number, each with the number of its customer; customers with their country.
    let orders = builder.table("orders", Consumed::with(Int64, Int64));
    let countries = builder.table("customers", Consumed::with(Int64, Utf8));

    // Regroup the orders by customer, so that both sides of the join have the same key.
    let by_customer = orders.group_by(|_order, customer: &i64| (*customer, ())).count();
    by_customer
        .join(&countries, |orders, country: &String| (country.clone(), *orders))
        .group_by(|_customer, (country, orders)| (country.clone(), *orders))
        .sum(|orders| *orders)
        .materialize(Materialized::named("orders by country"));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("correction", topology))?;
    let orders = driver.input("orders", Int64, Int64);
    let customers = driver.input("customers", Int64, Utf8);
    let answers: ReadOnlyStore<String, i64> = driver.store("orders by country")?;
    let print = || {
        let count = |country: &str| answers.get(country).unwrap_or(0);
        println!("Chile has {} orders, Peru has {}", count("Chile"), count("Peru"));
    };

    for (order, customer) in [(100, 1), (101, 1), (102, 2)] {
        orders.pipe(&mut driver, &order, &customer);
    }
    customers.pipe(&mut driver, &1, &"Chile".to_string());
    customers.pipe(&mut driver, &2, &"Peru".to_string());
    driver.commit()?;
    print();

    println!("customer 1 moves to Peru");
    customers.pipe(&mut driver, &1, &"Peru".to_string());
    driver.commit()?;
    print();
    Ok(())
}
