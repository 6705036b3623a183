//! Suppression: fewer changes of a table, down to one final result of each window.
//!
//! `cargo run --example suppression` counts calls by minute, in ten commits. The table of counts
//! changes with every commit. With `until_window_closes` each minute is written once, when no call
//! can change it any more. With `until_time_limit` the running total is written at most once in two
//! minutes of stream time.
//!
//! ```text
//! counts: 10 changes
//! final: 4 changes, minute 0 with 2 calls first
//! total: 2 changes, 5 calls first
//! ```

use std::time::Duration;

use watershed::prelude::*;

const WINDOW_DURATION: Duration = Duration::from_secs(60);

fn topology(builder: &StreamsBuilder<'_>) {
    let calls = builder.stream("calls", Consumed::with(Int64, Int64)).group_by_key();
    let columns = || Produced::columns(["line", "from", "to", "calls"]);

    let counts =
        calls.windowed_by(TimeWindows::of_size(WINDOW_DURATION).grace(Duration::ZERO)).count();
    counts.to("counts", columns());
    counts.suppress(Suppressed::until_window_closes()).to("final", columns());

    let limit = Suppressed::until_time_limit(2 * WINDOW_DURATION).max_records(1_000).emit_early();
    calls.count().suppress(limit).to("total", Produced::columns(["line", "calls"]));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("calls", topology))?;
    let calls = driver.input("calls", Int64, Int64);
    // A call each half a minute.
    let calls = calls.with_time(Timestamp(0), WINDOW_DURATION / 2);
    for call in 0..10 {
        calls.pipe(&mut driver, &7, &call);
        driver.commit()?;
    }

    let counts = driver.output::<Windowed<i64>, i64>("counts").changes(&mut driver)?;
    println!("counts: {} changes", counts.len());
    let last = driver.output::<Windowed<i64>, i64>("final").changes(&mut driver)?;
    if let Some((window, Some(calls))) = last.first() {
        let minute = window.start.0 / WINDOW_DURATION.as_micros() as i64;
        println!("final: {} changes, minute {minute} with {calls} calls first", last.len());
    }
    let total = driver.output::<i64, i64>("total").changes(&mut driver)?;
    if let Some((_line, Some(calls))) = total.first() {
        println!("total: {} changes, {calls} calls first", total.len());
    }
    Ok(())
}
