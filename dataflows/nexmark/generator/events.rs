//! The events by number: their kinds, ids and contents.

use watershed::{Error, Result, Timestamp};

use super::Settings;
use super::draw::{Draw, Subject};
use crate::model::{Auction, Bid, Identified, Person};

/// Events of a round: a person, then three auctions, then the bids.
pub(super) const ROUND: u64 = 50;
/// Rounds within which the events of one kind are shuffled. Times are out of order by up to so many
/// rounds.
const SHUFFLED_ROUNDS: u64 = 20;
/// Step of the shuffle. It is a prime, so that steps of this width visit each place of a group of
/// another size exactly once.
const STEP: u64 = 953;
/// Ids of persons and auctions begin here.
const FIRST_ID: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// Auctions that are open, and persons who are active, besides the hot ones.
const OPEN_AUCTIONS: u64 = 100;
const ACTIVE_PERSONS: u64 = 1000;
/// Auctions and persons that may be named before their own events.
const LEAD: u64 = 10;
/// Size of a group of auctions or persons with one hot member.
const HOT_OF: u64 = 100;
/// Channels besides the hot ones.
const CHANNELS: u64 = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
/// The time of the first event: 2015-07-15T00:00:00Z.
const FIRST_TIME_MICROS: u64 = 1_436_918_400_000_000;

const PERSON_BYTES: usize = 200;
const AUCTION_BYTES: usize = 500;
const BID_BYTES: usize = 100;

const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// A kind of events, which is a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Person,
    Auction,
    Bid,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Person, Kind::Auction, Kind::Bid];

    /// Returns the topic of its records.
    pub(crate) const fn topic(self) -> &'static str {
        match self {
            Kind::Person => "person",
            Kind::Auction => "auction",
            Kind::Bid => "bid",
        }
    }

    /// Returns the place of its first event in a round.
    const fn first(self) -> u64 {
        match self {
            Kind::Person => 0,
            Kind::Auction => 1,
            Kind::Bid => 4,
        }
    }

    /// Returns the number of its events in a round.
    pub(super) const fn share(self) -> u64 {
        match self {
            Kind::Person => 1,
            Kind::Auction => 3,
            Kind::Bid => 46,
        }
    }

    /// Returns the number of its events among the first `events`.
    pub(super) fn count(self, events: u64) -> u64 {
        let begun = (events % ROUND).saturating_sub(self.first()).min(self.share());
        events / ROUND * self.share() + begun
    }

    /// Returns the event at place `index` of the topic. The order of places is shuffled, so the
    /// times of neighbours are out of order.
    fn event(self, index: u64) -> u64 {
        let group = self.share() * SHUFFLED_ROUNDS;
        let index = index / group * group + index % group * STEP % group;
        index / self.share() * ROUND + self.first() + index % self.share()
    }

    /// Returns the record at place `index` of the topic: id, time and JSON.
    ///
    /// # Errors
    /// When the event can't be encoded.
    pub(super) fn record(
        self,
        settings: &Settings,
        index: u64,
    ) -> Result<(i64, Timestamp, Vec<u8>)> {
        let event = self.event(index);
        let mut draw = Draw::new(settings.seed, Subject::Event, event);
        let time = settings.time(event);
        let (id, json) = match self {
            Kind::Person => json(event / ROUND + FIRST_ID, person(&mut draw, time)),
            Kind::Auction => {
                let number = event / ROUND * Kind::Auction.share() + event % ROUND - self.first();
                json(number + FIRST_ID, auction(settings, &mut draw, event, time))
            }
            Kind::Bid => json(event, bid(settings.seed, &mut draw, event, time)),
        };
        let failed = |e| Error::internal(format!("can't encode event {event}")).because(e);
        Ok((id, time, json.map_err(failed)?))
    }
}

impl Settings {
    /// The time of an event.
    fn time(&self, event: u64) -> Timestamp {
        Timestamp((FIRST_TIME_MICROS + event * self.spacing_us) as i64)
    }
}

fn json(id: u64, event: impl serde::Serialize) -> (i64, serde_json::Result<Vec<u8>>) {
    let id = id as i64;
    (id, serde_json::to_vec(&Identified { id, event }))
}

fn person(draw: &mut Draw, date_time: Timestamp) -> Person {
    let name = format!("{} {}", draw.of(&FIRST_NAMES), draw.of(&LAST_NAMES));
    let email_address = format!("{}@{}.com", draw.word(7), draw.word(5));
    let [a, b, c, d] = [(); 4].map(|()| draw.below(10_000));
    let credit_card = format!("{a:04} {b:04} {c:04} {d:04}");
    let (city, state) = (draw.of(&CITIES).to_string(), draw.of(&STATES).to_string());
    let bytes = [&name, &email_address, &credit_card, &city, &state].map(String::len);
    let extra = draw.extra(8 + bytes.iter().sum::<usize>(), PERSON_BYTES);
    Person { name, email_address, credit_card, city, state, date_time, extra }
}

fn auction(settings: &Settings, draw: &mut Draw, event: u64, date_time: Timestamp) -> Auction {
    let seller = match draw.below(4) {
        0 => active_person(draw, event),
        _ => event / ROUND / HOT_OF * HOT_OF,
    };
    let category = FIRST_CATEGORY + draw.below(CATEGORIES);
    let initial_bid = draw.price();
    // An auction is open on average until as many others have begun as are open at a time.
    let open_us = OPEN_AUCTIONS * ROUND / Kind::Auction.share() * settings.spacing_us;
    let expires = Timestamp(date_time.0 + 1 + draw.below(2 * open_us) as i64);
    let (item_name, description) = (draw.text(20), draw.text(100));
    let reserve = initial_bid + draw.price();
    let extra = draw.extra(48 + item_name.len() + description.len(), AUCTION_BYTES);
    let (seller, category) = ((seller + FIRST_ID) as i64, category as i64);
    Auction {
        item_name,
        description,
        initial_bid,
        reserve,
        date_time,
        expires,
        seller,
        category,
        extra,
    }
}

fn bid(seed: u64, draw: &mut Draw, event: u64, date_time: Timestamp) -> Bid {
    let last = event / ROUND * Kind::Auction.share() + Kind::Auction.share() - 1;
    let auction = match draw.below(2) {
        0 => {
            let least = last.saturating_sub(OPEN_AUCTIONS);
            least + draw.below(last - least + 1 + LEAD)
        }
        _ => last / HOT_OF * HOT_OF,
    };
    // The second of a hundred persons, so that hot bidders are not hot sellers.
    let bidder = match draw.below(4) {
        0 => active_person(draw, event),
        _ => event / ROUND / HOT_OF * HOT_OF + 1,
    };
    let price = draw.price();
    let (channel, url) = match draw.below(2) {
        0 => {
            let number = draw.below(CHANNELS);
            (format!("channel-{number}"), page(seed, number + HOT_CHANNELS.len() as u64))
        }
        _ => {
            let number = draw.below(HOT_CHANNELS.len() as u64);
            (HOT_CHANNELS[number as usize].to_string(), page(seed, number))
        }
    };
    let extra = draw.extra(32, BID_BYTES);
    let (auction, bidder) = ((auction + FIRST_ID) as i64, (bidder + FIRST_ID) as i64);
    Bid { auction, bidder, price, channel, url, date_time, extra }
}

/// Returns a person who is active at the time of an event, or one of the next persons.
fn active_person(draw: &mut Draw, event: u64) -> u64 {
    let persons = event / ROUND + 1;
    let active = persons.min(ACTIVE_PERSONS);
    persons - active + draw.below(active + LEAD)
}

/// Returns the page of a channel; the hot channels have the first numbers. Nine in ten of the
/// others have an id.
fn page(seed: u64, number: u64) -> String {
    let mut draw = Draw::new(seed, Subject::Channel, number);
    let [a, b, c] = [(); 3].map(|()| draw.word(5));
    let url = format!("https://www.nexmark.com/{a}/{b}/{c}/item.htm?query=1");
    match number.checked_sub(HOT_CHANNELS.len() as u64) {
        Some(channel) if draw.below(10) > 0 => {
            let id = (channel as u32).reverse_bits().cast_signed().unsigned_abs();
            format!("{url}&channel_id={id}")
        }
        _ => url,
    }
}
