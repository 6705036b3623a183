//! An aggregate of one's own: the longest streak of days in a row.
//!
//! `cargo run --example own_aggregate` keeps the longest streak of each user. The values of a group
//! come in ascending order, whatever the order of arrival, so the fold is a plain loop. A day that
//! is withdrawn breaks the streak again, without a subtractor.
//!
//! ```text
//! ada: 3 days in a row
//! a day that was missing arrives: 6 days in a row
//! it is taken back: 3 days in a row
//! ```

use watershed::prelude::*;

/// The longest streak so far, the streak that is running, and its last day.
type Streak = (i64, i64, i64);

fn extend((longest, running, last): Streak, day: &i64) -> Streak {
    let running = if running > 0 && *day == last + 1 { running + 1 } else { 1 };
    (longest.max(running), running, *day)
}

fn topology(builder: &StreamsBuilder<'_>) {
    let visits = builder.table::<(String, i64), ()>("visits", Consumed::with(Json, Json));
    visits
        .group_by(|(user, day), ()| (user.clone(), *day))
        .aggregate(|| (0, 0, 0), extend)
        .map_values(|(longest, _, _)| *longest)
        .materialize(Materialized::named("longest streak"));
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("streaks", topology))?;
    let visits = driver.input::<(String, i64), (), _, _>("visits", Json, Json);
    let streaks: ReadOnlyStore<String, i64> = driver.store("longest streak")?;
    let longest = || streaks.get("ada").unwrap_or_default();
    let visit = |day: i64| ("ada".to_string(), day);

    for day in [1, 2, 6, 3, 5] {
        visits.pipe(&mut driver, &visit(day), &());
    }
    driver.commit()?;
    println!("ada: {} days in a row", longest());

    visits.pipe(&mut driver, &visit(4), &());
    driver.commit()?;
    println!("a day that was missing arrives: {} days in a row", longest());

    visits.delete(&mut driver, &visit(4));
    driver.commit()?;
    println!("it is taken back: {} days in a row", longest());
    Ok(())
}
