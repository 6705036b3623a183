//! Sessions: windows that last as long as their user is active.
//!
//! `cargo run --example sessions` groups the visits of a user. Visits that are at most 30 minutes
//! apart are one session. A visit that arrives late bridges two sessions: both rows are deleted,
//! and one row of all visits takes their place.
//!
//! ```text
//! ada, minute 0 to 20: pages 2
//! ada, minute 70 to 70: pages 1
//! a visit of minute 45 arrives
//! ada, minute 0 to 70: pages 4
//! ```

use std::time::Duration;

use watershed::prelude::*;
use watershed::testing::OutputTopic;

const WINDOW_DURATION: Duration = Duration::from_secs(60);

fn topology(builder: &StreamsBuilder<'_>) {
    builder
        .stream("visits", Consumed::with(Utf8, Utf8))
        .group_by_key()
        .windowed_by(SessionWindows::of_inactivity_gap(30 * WINDOW_DURATION))
        .count()
        .to("sessions", Produced::columns(["user", "from", "to", "pages"]));
}

fn print(driver: &TopologyTestDriver, sessions: &OutputTopic<Windowed<String>, i64>) -> Result<()> {
    for (Windowed { key: user, start, end }, pages) in sessions.rows(driver)? {
        // Unlike that of other windows, the end of a session is inclusive: it is the last visit.
        let [from, to] = [start, end].map(|time| time.0 / WINDOW_DURATION.as_micros() as i64);
        println!("{user}, minute {from} to {to}: pages {pages}");
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("sessions", topology))?;
    let visits = driver.input("visits", Utf8, Utf8);
    let sessions = driver.output("sessions");
    let visit = |driver: &mut TopologyTestDriver, minute: i64, page: &str| {
        let at = Timestamp::from_millis(60_000 * minute);
        visits.pipe_at(driver, &"ada".to_string(), &page.to_string(), at);
    };

    visit(&mut driver, 0, "/home");
    visit(&mut driver, 20, "/search");
    visit(&mut driver, 70, "/cart");
    driver.commit()?;
    print(&driver, &sessions)?;

    println!("a visit of minute 45 arrives");
    visit(&mut driver, 45, "/help");
    driver.commit()?;
    print(&driver, &sessions)
}
