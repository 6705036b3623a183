//! A median that is maintained: an answer that no running total can give.
//!
//! `cargo run --example median` keeps the median price of each product. A wrong price is corrected
//! and another is withdrawn; each change costs logarithmic time in the size of the group.
//!
//! ```text
//! lamp: 30
//! lamp: 30 -> 25 after a correction
//! lamp: 25 -> 20 after a withdrawal
//! ```

use watershed::prelude::*;

fn topology(builder: &StreamsBuilder<'_>) {
    // Offers by their number: the product, and the price in cents.
    let offers = builder.table::<i64, (String, i64)>("offers", Consumed::with(Int64, Json));
    offers
        .group_by(|_offer, (product, price)| (product.clone(), *price))
        .median()
        .materialize(Materialized::named("median price"));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("median", topology))?;
    let offers = driver.input("offers", Int64, Json);
    let medians: ReadOnlyStore<String, i64> = driver.store("median price")?;
    let median = || medians.get("lamp").unwrap_or_default();

    for (offer, price) in [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)] {
        offers.pipe(&mut driver, &offer, &("lamp".to_string(), price));
    }
    driver.commit()?;
    println!("lamp: {}", median());

    let before = median();
    offers.pipe(&mut driver, &5, &("lamp".to_string(), 25));
    driver.commit()?;
    println!("lamp: {before} -> {} after a correction", median());

    // Of an even number of values the median is the lower one in the middle.
    let before = median();
    offers.delete(&mut driver, &4);
    driver.commit()?;
    println!("lamp: {before} -> {} after a withdrawal", median());
    Ok(())
}
