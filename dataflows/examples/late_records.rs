//! Late records: a window with a grace closes, and a record that has missed it is not lost.
//!
//! `cargo run --example late_records` sums payments by minute, with a grace of 30 seconds. Stream
//! time is the greatest timestamp so far. One payment comes within the grace of its minute and
//! counts. Another comes after it: the sum of a closed minute stands, and the payment is passed on
//! with the window that it has missed.
//!
//! ```text
//! minute 0: 30 cents
//! minute 1: 40 cents
//! too late for minute 0: 80 cents of shop 7
//! ```

use std::time::Duration;

use watershed::prelude::*;

const WINDOW_DURATION: Duration = Duration::from_secs(60);

fn topology(builder: &StreamsBuilder<'_>) {
    let minutes = TimeWindows::of_size(WINDOW_DURATION).grace(WINDOW_DURATION / 2);
    let payments = builder.stream("payments", Consumed::with(Int64, Int64));
    let by_minute = payments.group_by_key().windowed_by(minutes);
    by_minute.sum(|cents| *cents).to("sums", Produced::columns(["shop", "from", "to", "cents"]));
    by_minute.late().to("late", Produced::columns(["shop", "from", "to", "cents"]));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("payments", topology))?;
    let payments = driver.input("payments", Int64, Int64);
    let sums = driver.output::<Windowed<i64>, i64>("sums");
    let late = driver.output::<Windowed<i64>, i64>("late");

    // At second 89 the first minute is still open, and at second 90 it closes.
    for (second, cents) in [(10, 10), (89, 40), (20, 20), (90, 0), (30, 80)] {
        let at = Timestamp::from_millis(1_000 * second);
        payments.pipe_at(&mut driver, &7, &cents, at);
    }
    driver.commit()?;

    let minute = |time: Timestamp| time.0 / WINDOW_DURATION.as_micros() as i64;
    for (window, cents) in sums.rows(&driver)? {
        println!("minute {}: {cents} cents", minute(window.start));
    }
    for (Windowed { key: shop, start, .. }, cents) in late.rows(&driver)? {
        println!("too late for minute {}: {cents} cents of shop {shop}", minute(start));
    }
    Ok(())
}
