//! The archive of the program `visits`: users view pages and make orders, at times out of order.

use std::fs;
use std::path::Path;

use crate::support::Dice;

/// The topics, each with its number of partitions.
const PARTITIONS: [(&str, u32); 3] = [("view", 3), ("order", 2), ("limit", 2)];
/// The number of records of an object.
const OBJECT_RECORDS: u64 = 4;
/// The time of the first records, before 1970: windows begin before it too.
const START: i64 = -60_000_000;
/// The mean time between two records of a partition.
const STEP_MICROS: i64 = 400_000;
/// Most records are up to so much out of order.
const JITTER_MICROS: u64 = 6_000_000;
/// One record of so many is late by another while.
const LATE: u64 = 20;
const LATE_MICROS: u64 = 40_000_000;
/// One record of so many can't be used.
const DIRT: u64 = 40;
const USERS: u64 = 30;

/// Writes an archive of at least so many objects, which a seed decides.
pub(crate) fn generate(folder: &Path, objects: usize, seed: u64) {
    let mut dice = Dice::new(seed);
    let partitions: u32 = PARTITIONS.iter().map(|(_, count)| count).sum();
    let each = objects.div_ceil(partitions as usize) as u64;
    for (topic, count) in PARTITIONS {
        for partition in 0..count {
            let folder = folder.join(format!("topics/{topic}/partition={partition}"));
            fs::create_dir_all(&folder).unwrap();
            for object in 0..each {
                let first = object * OBJECT_RECORDS;
                let lines = (first..first + OBJECT_RECORDS).map(|n| line(topic, n, &mut dice));
                let name = format!("{topic}+{partition}+{first:010}.json");
                fs::write(folder.join(name), lines.collect::<String>()).unwrap();
            }
        }
    }
}

/// Returns a record with its line end.
fn line(topic: &str, number: u64, dice: &mut Dice) -> String {
    let (user, n) = (dice.below(USERS), dice.below(100));
    if topic == "limit" {
        return match dice.below(DIRT) {
            0 => "no limit\n".into(),
            1..12 => format!("{{\"user\":{user},\"n\":null}}\n"),
            _ => format!("{{\"user\":{user},\"n\":{n}}}\n"),
        };
    }
    let late = if dice.below(LATE) == 0 { dice.below(LATE_MICROS) } else { 0 };
    let early = late + dice.below(JITTER_MICROS);
    let at = START + STEP_MICROS * number as i64 - early as i64;
    match dice.below(DIRT * 2) {
        0 => format!("{{\"user\":{user},\"n\":{n},\"at\":\n"),
        1 => format!("{{\"user\":{user},\"n\":{n}}}\n"),
        _ => format!("{{\"user\":{user},\"n\":{n},\"at\":{at}}}\n"),
    }
}
