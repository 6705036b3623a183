//! Random records of the three topics of the laws. Few keys and values make collisions frequent.

use watershed::testing::TopologyTestDriver;

use crate::support::Dice;

/// The value of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Payload {
    Number(i64),
    Null,
    Garbage,
}

/// A record and its position in the topic.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) topic: &'static str,
    pub(crate) offset: u64,
    pub(crate) partition: u32,
    pub(crate) key: String,
    pub(crate) payload: Payload,
}

impl Entry {
    pub(crate) fn pipe(&self, driver: &mut TopologyTestDriver) {
        let value = match self.payload {
            Payload::Number(n) => Some(n.to_string()),
            Payload::Null => None,
            Payload::Garbage => Some("garbage".to_string()),
        };
        let value = value.as_deref().map(str::as_bytes);
        driver.pipe_at(self.topic, self.partition, self.offset, Some(self.key.as_bytes()), value);
    }
}

/// Draws records of `left`, `right` and `events`. Each position occurs once; there are gaps, and
/// most records are nearly in order.
pub(crate) fn draw(records: usize, dice: &mut Dice) -> Vec<Entry> {
    let (keys, values, late) = (2 + dice.below(6), 3 + dice.below(20), 1 + dice.below(60));
    let mut ends = [[0_u64; 3]; 3];
    let mut feed: Vec<(u64, Entry)> = Vec::new();
    for turn in 0..records as u64 {
        let (topic, partition) = (dice.below(3) as usize, dice.below(3) as usize);
        let offset = ends[topic][partition] + dice.below(10) / 9;
        ends[topic][partition] = offset + 1;
        let payload = match dice.below(20) {
            0..=14 => Payload::Number(dice.below(values) as i64 - 2),
            15..=18 => Payload::Null,
            _ => Payload::Garbage,
        };
        let key = format!("k{}", dice.below(keys));
        let entry = Entry {
            topic: ["left", "right", "events"][topic],
            offset,
            partition: partition as u32,
            key,
            payload,
        };
        feed.push((turn + dice.below(late), entry));
    }
    feed.sort_by_key(|(turn, _)| *turn);
    feed.into_iter().map(|(_, entry)| entry).collect()
}
