//! Sends events, some of them with the dirt seen in real topics.

mod lines;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use watershed::Result;

use super::archive::Archive;
use super::draw::{Draw, Stream};
use super::{GEO, PIN, USER};
use lines::{edited, huge};

/// One kind of dirt.
#[derive(Clone, Copy)]
enum Dirt {
    /// The same record again, later.
    Duplicate,
    /// Another record of the same number, later.
    Correction,
    /// A correction, and later the first record again.
    Reversal,
    /// The record is in another kind's topic.
    Misdirected,
    /// The record never arrives.
    Lost,
    /// The record has another value in one field.
    Field(usize, &'static str, &'static str),
    /// The record is another line altogether.
    Line(fn(&[u8]) -> Vec<u8>),
}

use Dirt::{Correction, Duplicate, Field, Line, Lost, Misdirected, Reversal};

/// Dirty events take these in turn, so that even a small archive has each of them.
const DIRT: [Dirt; 72] = [
    Duplicate,
    Correction,
    Line(lines::nulls),
    Line(lines::in_array),
    Line(lines::text_of_base64),
    Misdirected,
    Lost,
    Field(PIN, "follower_count", "1234"),
    Line(lines::no_json),
    Reversal,
    Line(lines::nulls_but_number),
    Line(lines::base64),
    Field(GEO, "timestamp", r#""2020-02-30T10:00:00""#),
    Field(USER, "age", "17"),
    Line(lines::empty),
    Duplicate,
    Correction,
    Line(lines::truncated),
    Field(PIN, "follower_count", r#""1.5""#),
    Field(GEO, "country", "null"),
    Field(USER, "age", "null"),
    Line(lines::trailing),
    Line(lines::number_in_text),
    Field(GEO, "latitude", "null"),
    Field(USER, "date_joined", r#""2016-11-03T08:15:00+02:00""#),
    Line(lines::number_with_fraction),
    Line(lines::tombstone),
    Field(PIN, "follower_count", r#""12kk""#),
    Line(lines::field_twice),
    Line(lines::deep),
    Line(lines::no_utf8),
    Duplicate,
    Correction,
    Line(lines::byte_order_mark),
    Field(USER, "age", r#""34""#),
    Field(GEO, "timestamp", r#""""#),
    Line(lines::base64_of_array),
    Line(lines::base64_twice),
    Line(lines::both_names),
    Field(PIN, "follower_count", r#""99999999999999B""#),
    Line(lines::no_number),
    Field(USER, "age", "-3"),
    Line(lines::empty_array),
    Line(lines::array_of_two),
    Field(PIN, "follower_count", r#""1.2345k""#),
    Field(PIN, "follower_count", r#""1.5k""#),
    Field(PIN, "follower_count", r#""51 k""#),
    Duplicate,
    Correction,
    Field(PIN, "follower_count", r#"" 51k""#),
    Field(PIN, "follower_count", "null"),
    Field(PIN, "title", "17"),
    Field(PIN, "title", r#""""#),
    Field(PIN, "poster_name", "\" \u{a0} \""),
    Field(PIN, "category", "null"),
    Field(PIN, "image_src", r#""Image src error""#),
    Field(PIN, "tag_list", r#"["Art","Ideas"]"#),
    Field(GEO, "latitude", r#""51.5""#),
    Field(GEO, "latitude", "91.5"),
    Field(GEO, "longitude", "null"),
    Field(GEO, "country", r#""  ""#),
    Field(GEO, "timestamp", "null"),
    Field(GEO, "timestamp", "1598586767"),
    Field(GEO, "timestamp", r#""2019-04-23T17:50:27.123456Z""#),
    Field(GEO, "timestamp", r#""23/04/2021 17:50""#),
    Field(USER, "first_name", "null"),
    Field(USER, "last_name", "null"),
    Field(USER, "last_name", "7"),
    Field(USER, "age", "44.0"),
    Field(USER, "date_joined", "null"),
    Field(USER, "date_joined", r#""2016-1-3 08:15:00""#),
    Line(lines::no_kind),
];

/// Dirty events from one line of more than 1 MiB to the next, and before the first one. More such
/// lines would make the archive too large.
const HUGE_EVERY_EVENTS: u64 = 5_000;
const HUGE_FIRST: u64 = 100;

/// Most events between a record and its repetition.
const DELAY_MAX_EVENTS: u64 = 5_000;

/// Sends events to the archive and holds back the records that come later.
pub(super) struct Sender {
    dirt: f64,
    draw: Draw,
    dirty: u64,
    /// Keyed by the event they come after, and by the number of records that were held back before.
    late: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    held: u64,
}

impl Sender {
    /// Returns a sender that makes the fraction `dirt` of the events dirty.
    pub(super) fn new(seed: u64, dirt: f64) -> Self {
        Sender {
            dirt,
            draw: Draw::new(seed, Stream::Dirt, 0),
            dirty: 0,
            late: BTreeMap::new(),
            held: 0,
        }
    }

    /// Sends event number `ind`, then the held records that are due after it.
    pub(super) fn send(
        &mut self,
        ind: u64,
        lines: &[Vec<u8>; 3],
        archive: &mut Archive,
    ) -> Result<()> {
        if self.draw.share() < self.dirt {
            self.spoil(ind, lines, archive)?;
        } else {
            for (kind, line) in lines.iter().enumerate() {
                archive.append(kind, line)?;
            }
        }
        self.deliver(ind, archive)
    }

    /// Sends all held records, and returns the number of dirty events.
    pub(super) fn finish(mut self, archive: &mut Archive) -> Result<u64> {
        self.deliver(u64::MAX, archive)?;
        Ok(self.dirty)
    }

    fn spoil(&mut self, ind: u64, lines: &[Vec<u8>; 3], archive: &mut Archive) -> Result<()> {
        let dirt = match self.dirty % HUGE_EVERY_EVENTS {
            HUGE_FIRST => Line(huge),
            _ => DIRT[(self.dirty % DIRT.len() as u64) as usize],
        };
        self.dirty += 1;
        let kind = if let Field(kind, ..) = dirt { kind } else { self.draw.below(3) as usize };
        let line = &lines[kind];
        for (other, line) in lines.iter().enumerate().filter(|&(other, _)| other != kind) {
            archive.append(other, line)?;
        }
        let spoilt = match dirt {
            Lost => return Ok(()),
            Misdirected => {
                return archive.append((kind + 1 + self.draw.below(2) as usize) % 3, line);
            }
            Duplicate => line.clone(),
            Correction | Reversal => self.corrected(kind, line),
            Field(_, name, value) => edited(line, name, value),
            Line(spoil) => spoil(line),
        };
        let repeats = matches!(dirt, Duplicate | Correction | Reversal);
        if !repeats && self.draw.one_in(2) {
            // No good record precedes it: the event has no other record of this kind.
            return archive.append(kind, &spoilt);
        }
        archive.append(kind, line)?;
        let due = self.hold(ind, kind, spoilt);
        if let Reversal = dirt {
            self.hold(due, kind, line.clone());
        }
        Ok(())
    }

    fn corrected(&mut self, kind: usize, line: &[u8]) -> Vec<u8> {
        let number = self.draw.below(900);
        match kind {
            PIN => edited(
                &edited(line, "title", r#""Corrected""#),
                "follower_count",
                &format!(r#""{number}k""#),
            ),
            GEO => edited(
                &edited(line, "country", r#""Norway""#),
                "latitude",
                &format!("{}.5", number / 10),
            ),
            _ => edited(
                &edited(line, "last_name", r#""Corrected""#),
                "age",
                &format!("{}", 20 + number / 22),
            ),
        }
    }

    /// Holds a record back, half of them for a short while, and returns the event it comes after.
    fn hold(&mut self, ind: u64, kind: usize, line: Vec<u8>) -> u64 {
        let longest = if self.draw.one_in(2) { 20 } else { DELAY_MAX_EVENTS };
        let due = ind + self.draw.below(longest);
        self.late.insert((due, self.held), (kind, line));
        self.held += 1;
        due
    }

    fn deliver(&mut self, ind: u64, archive: &mut Archive) -> Result<()> {
        while let Some(entry) = self.late.first_entry().filter(|entry| entry.key().0 <= ind) {
            let (kind, line) = entry.remove();
            archive.append(kind, &line)?;
        }
        Ok(())
    }
}
