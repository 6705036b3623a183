//! The ten best scores, and the choice between ties that are kept and ties that are cut.
//!
//! `cargo run --example top_ten` ranks twelve players. Ranks 10 and 11 have the same score: with
//! `Ties::Keep` both are in the list, with `Ties::Cut` it has exactly ten rows. When the leader is
//! disqualified, the next player moves up: the ranking is maintained, never computed again.
//!
//! ```text
//! ties kept: 11 players, ties cut: 10 players
//! 110 player-11
//! ...
//! player-11 is disqualified
//! ties kept: 10 players, ties cut: 10 players
//! ```

use watershed::prelude::*;

fn topology(builder: &StreamsBuilder<'_>) {
    let scores = builder.table("scores", Consumed::with(Utf8, Int64));
    // One group holds everybody; its values are pairs that order by score.
    let everybody = scores.group_by(|player, score| ((), (*score, player.clone())));
    for (topic, ties) in [("kept", Ties::Keep), ("cut", Ties::Cut)] {
        everybody
            .top(10, ties, |(score, _player)| *score)
            .to(topic, Produced::columns(["score", "player"]));
    }
}

fn print(driver: &TopologyTestDriver) {
    let (kept, cut) = (driver.rows("kept"), driver.rows("cut"));
    println!("ties kept: {} players, ties cut: {} players", kept.len(), cut.len());
    for row in kept.iter().rev() {
        if let [Value::Long(score), Value::Text(player)] = row.as_slice() {
            println!("{score} {player}");
        }
    }
}

fn main() -> Result<()> {
    let mut driver = TopologyTestDriver::new(Topology::new("top ten", topology))?;
    let scores = driver.input("scores", Utf8, Int64);
    for player in 0..12_i64 {
        // Players 1 and 2 both have 20 points, and player 0 has none.
        let score = if player == 1 { 20 } else { player * 10 };
        scores.pipe(&mut driver, &format!("player-{player}"), &score);
    }
    driver.commit()?;
    print(&driver);

    println!("player-11 is disqualified");
    scores.delete(&mut driver, &"player-11".to_string());
    driver.commit()?;
    print(&driver);
    Ok(())
}
