//! A count by window of event time: the time of a record decides, and not the time of its arrival.
//!
//! `cargo run --example windowed_count` counts the readings of sensors by minute. A reading of the
//! first minute that arrives in the third corrects the count of its own minute. No other window is
//! written again.
//!
//! ```text
//! minute 0, sensor 7: count 2
//! minute 1, sensor 7: count 1
//! minute 2, sensor 8: count 1
//! a reading of the first minute arrives
//! minute 0, sensor 7: count 3
//! ```

use std::time::Duration;

use watershed::prelude::*;
use watershed::testing::OutputTopic;

const WINDOW_DURATION: Duration = Duration::from_secs(60);

fn topology(builder: &StreamsBuilder<'_>) {
    // Without a grace no window ever closes, so no reading is too late.
    builder
        .stream("readings", Consumed::with(Int64, Int64))
        .group_by_key()
        .windowed_by(TimeWindows::of_size(WINDOW_DURATION))
        .count()
        .to("counts", Produced::columns(["sensor", "from", "to", "readings"]));
}

/// Prints the windows that have changed since the last call.
fn print(driver: &mut TopologyTestDriver, counts: &OutputTopic<Windowed<i64>, i64>) -> Result<()> {
    let mut changes = counts.changes(driver)?;
    changes.sort_by_key(|(window, _)| window.start);
    for (Windowed { key: sensor, start, .. }, count) in changes {
        let (minute, count) =
            (start.0 / WINDOW_DURATION.as_micros() as i64, count.unwrap_or_default());
        println!("minute {minute}, sensor {sensor}: count {count}");
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("readings", topology))?;
    let readings = driver.input("readings", Int64, Int64);
    let counts = driver.output::<Windowed<i64>, i64>("counts");
    let at = |second: i64| Timestamp::from_millis(1_000 * second);

    // A window includes its start and not its end: second 60 belongs to minute 1.
    for (sensor, second, celsius) in [(7, 0, 20), (7, 59, 21), (7, 60, 21), (8, 130, 18)] {
        readings.pipe_at(&mut driver, &sensor, &celsius, at(second));
    }
    driver.commit()?;
    print(&mut driver, &counts)?;

    println!("a reading of the first minute arrives");
    readings.pipe_at(&mut driver, &7, &20, at(30));
    driver.commit()?;
    print(&mut driver, &counts)
}
