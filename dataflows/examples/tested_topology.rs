//! A topology and its test: the driver runs the real engine, with any number of workers.
//!
//! `cargo run --example tested_topology` makes the checks of a test: one late record,
//! one correction, one tombstone, with one, two and four workers. The rows are the same each time.
//!
//! ```text
//! 1 worker: 3 promises kept
//! 2 workers: 3 promises kept
//! 4 workers: 3 promises kept
//! ```

use watershed::prelude::*;

/// The number of parcels in each city.
fn topology(builder: &StreamsBuilder<'_>) {
    let parcels = builder.table("parcels", Consumed::with(Int64, Utf8));
    parcels
        .group_by(|_parcel, city| (city.clone(), ()))
        .count()
        .to("by_city", Produced::columns(["city", "parcels"]));
}

fn check(workers: usize) -> Result<usize> {
    let mut driver = TopologyTestDriver::with_workers(Topology::new("parcels", topology), workers)?;
    let parcels = driver.input("parcels", Int64, Utf8);
    let by_city = driver.output::<String, i64>("by_city");
    let row = |city: &str, n: i64| (city.to_string(), n);
    let mut kept = 0;

    parcels.pipe(&mut driver, &1, &"Lima".to_string());
    parcels.pipe(&mut driver, &2, &"Lima".to_string());
    driver.commit()?;
    assert_eq!(by_city.rows(&driver)?, [row("Lima", 2)], "records are counted");
    kept += 1;

    parcels.pipe(&mut driver, &2, &"Quito".to_string());
    driver.commit()?;
    assert_eq!(by_city.rows(&driver)?, [row("Lima", 1), row("Quito", 1)], "a correction moves");
    kept += 1;

    parcels.delete(&mut driver, &1);
    driver.commit()?;
    assert_eq!(by_city.changes(&mut driver)?.last(), Some(&("Lima".to_string(), None)));
    assert_eq!(by_city.rows(&driver)?, [row("Quito", 1)], "a tombstone deletes");
    kept += 1;

    // Every record is accounted for.
    assert!(driver.finish()?.topics["parcels"].balances());
    Ok(kept)
}

fn main() -> Result<()> {
    for workers in [1, 2, 4] {
        let kept = check(workers)?;
        let s = if workers == 1 { "" } else { "s" };
        println!("{workers} worker{s}: {kept} promises kept");
    }
    Ok(())
}
