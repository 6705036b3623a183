//! Invents events: a pin, where it was made, and who made it, as three lines of compact JSON.

use chrono::{DateTime, Datelike, Timelike};

use super::countries::COUNTRIES;
use super::draw::{Draw, Stream};
use super::names::{DRIFTER, FIRST, LAST, SHOPS};
use super::texts::{ADJECTIVES, CATEGORIES, EXTRAS, FOREIGN, RUSSIAN, SENTENCES, TAGS, TAILS};
use super::{GEO, PIN, USER};

/// The greatest level of follower counts. A level is a hundredth of a power of ten, as an integer,
/// because integers are drawn the same on every machine. This one is 15M.
const LEVEL_MAX: u64 = 718;
/// The level of 91k, which is the first follower count of the drifting poster.
const DRIFTING_LEVEL: u64 = 496;
/// Bytes of a description before its `…`; more would not fit in 180 characters.
const DESCRIPTION_BYTES: usize = 176;

/// Posts are made from 2017-10-09 to 2022-11-01, users join from 2015-10-01 to 2017-12-01; seconds
/// since 1970.
const POSTED: [i64; 2] = [1_507_507_200, 1_667_260_800];
const JOINED: [i64; 2] = [1_443_657_600, 1_512_086_400];

/// The fields of a story pin that could not be read: its errors occur together.
const BROKEN: &str = concat!(
    r#"","title":"No Title Data Available","description":"No description available Story format","poster_name":"User Info Error","#,
    r#""follower_count":"User Info Error","tag_list":"N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e","#,
    r#""is_image_or_video":"multi-video(story page format)","image_src":"Image src error.","downloaded":0"#,
);

/// The users and posters to draw from.
pub(super) struct World {
    seed: u64,
    events: u64,
    people: u64,
    posters: u64,
}

/// A user, the same in all events of that user.
struct Person {
    first: &'static str,
    last: &'static str,
    age: u64,
    joined: i64,
}

impl World {
    /// Returns a world with about nine events a user, and three a poster.
    pub(super) fn new(seed: u64, events: u64) -> Self {
        World { seed, events, people: events / 9 + 1, posters: events / 3 + 1 }
    }

    /// Writes event number `ind` over the three `lines`.
    pub(super) fn event(&self, ind: u64, draw: &mut Draw, lines: &mut [Vec<u8>; 3]) {
        let person = self.person(draw.below(self.people));
        let rank = self.rank(person.age, draw);
        // A few senders use the other name for the number.
        let (pin, other) = if draw.one_in(16) { ("ind", "index") } else { ("index", "ind") };
        for (line, name) in lines.iter_mut().zip([pin, other, other]) {
            line.clear();
            put(line, &["{\"", name, "\":"]);
            digits(line, ind, 1);
        }
        self.pin(ind, rank, draw, &mut lines[PIN]);
        self.geo(rank, draw, &mut lines[GEO]);
        user(&person, draw, &mut lines[USER]);
    }

    fn person(&self, number: u64) -> Person {
        let mut draw = Draw::new(self.seed, Stream::People, number);
        let young = draw.below(1000);
        let (first, last) = (draw.of(&FIRST), draw.of(&LAST));
        Person {
            first,
            last,
            age: 20 + 41 * young * young / 1_000_000,
            joined: moment(JOINED, &mut draw),
        }
    }

    /// Draws a poster for a user: 0 has the most followers, and the older the user, the fewer.
    fn rank(&self, age: u64, draw: &mut Draw) -> u64 {
        let noise = draw.below(120) + draw.below(120) + draw.below(120);
        let luck = if draw.one_in(12) { draw.below(150) } else { 0 };
        match draw.below(300) {
            0..4 => self.posters - 1,
            4 | 5 => self.drifter(),
            _ => {
                let level = (60 + 6000 / age + noise + luck).min(LEVEL_MAX - 1);
                let share = self.posters / LEVEL_MAX + 1;
                ((LEVEL_MAX - 1 - level) * self.posters / LEVEL_MAX + draw.below(share))
                    .min(self.posters - 1)
            }
        }
    }

    fn drifter(&self) -> u64 {
        (LEVEL_MAX - 1 - DRIFTING_LEVEL) * self.posters / LEVEL_MAX
    }

    fn pin(&self, ind: u64, rank: u64, draw: &mut Draw, line: &mut Vec<u8>) {
        let category = &CATEGORIES[(u128::from(ind) * 13 / u128::from(self.events)) as usize];
        put(line, &[",\"unique_id\":\""]);
        uuid(line, draw);
        if draw.one_in(12) {
            put(line, &[BROKEN]);
        } else {
            let thing = draw.of(&category.things);
            put(line, &["\",\"title\":\""]);
            title(thing, draw, line);
            put(line, &["\",\"description\":\""]);
            description(thing, draw, line);
            put(line, &["\",\"poster_name\":\""]);
            self.poster(rank, line);
            put(line, &["\",\"follower_count\":\""]);
            self.followers(ind, rank, line);
            put(line, &["\",\"tag_list\":\""]);
            tags(&category.tags, draw, line);
            let kind = match draw.below(10) {
                0 => "video",
                1 => "multi-video(story page format)",
                _ => "image",
            };
            put(line, &["\",\"is_image_or_video\":\"", kind]);
            image(line, draw);
        }
        put(
            line,
            &[
                ",\"save_location\":\"Local save in /data/",
                category.name,
                "\",\"category\":\"",
                category.name,
                "\"}",
            ],
        );
    }

    /// Writes the name of a poster; names are in alphabetical order, so the most popular begin with
    /// A.
    fn poster(&self, rank: u64, line: &mut Vec<u8>) {
        if rank == self.drifter() {
            return put(line, &[DRIFTER]);
        }
        let mut draw = Draw::new(self.seed, Stream::Posters, rank);
        let first =
            FIRST[(u128::from(rank) * FIRST.len() as u128 / u128::from(self.posters)) as usize];
        let (other, last, shop) = (draw.of(&FIRST), draw.of(&LAST), draw.of(&SHOPS));
        match draw.below(8) {
            0..4 => put(line, &[first, " ", last]),
            4 => put(line, &["Of ", first, " & ", other, " | Lifestyle Blog"]),
            5 => put(line, &[first, "'s ", shop]),
            6 => put(line, &[first, " ", last, " | ", shop]),
            _ => put(line, &[first, " and ", other, " ", last, " | ", shop, ", ", draw.of(&SHOPS)]),
        }
        if draw.one_in(40) {
            put(line, &["  "]);
        }
    }

    fn followers(&self, ind: u64, rank: u64, line: &mut Vec<u8>) {
        let count = match LEVEL_MAX - 1 - rank * LEVEL_MAX / self.posters {
            _ if rank == self.drifter() => 91_000 + 4_000 * ind / self.events,
            0..5 => 0,
            level => power(level),
        };
        let (count, unit) = match count {
            0..1_000 => (count, ""),
            1_000..1_000_000 => (count / 1_000, "k"),
            _ => (count / 1_000_000, "M"),
        };
        digits(line, count, 1);
        put(line, &[unit]);
    }

    /// Writes the geo. In half of the events the country depends on the popularity of the poster:
    /// the most popular are in the first countries of the alphabet.
    fn geo(&self, rank: u64, draw: &mut Draw, line: &mut Vec<u8>) {
        let countries = COUNTRIES.len() as u64;
        let near = (u128::from(rank) * u128::from(countries) / u128::from(self.posters)) as u64
            + draw.below(10);
        let country = if draw.one_in(2) { draw.below(countries) } else { near.min(countries - 1) };
        put(line, &[",\"timestamp\":\""]);
        let posted = moment(POSTED, draw);
        date(line, posted, draw);
        put(line, &["\",\"latitude\":"]);
        degrees(line, 90, draw);
        put(line, &[",\"longitude\":"]);
        degrees(line, 180, draw);
        put(line, &[",\"country\":\"", COUNTRIES[country as usize], "\"}"]);
    }
}

fn user(person: &Person, draw: &mut Draw, line: &mut Vec<u8>) {
    put(
        line,
        &[",\"first_name\":\"", person.first, "\",\"last_name\":\"", person.last, "\",\"age\":"],
    );
    digits(line, person.age, 1);
    put(line, &[",\"date_joined\":\""]);
    date(line, person.joined, draw);
    put(line, &["\"}"]);
}

fn title(thing: &str, draw: &mut Draw, line: &mut Vec<u8>) {
    let (adjective, tail) = (draw.of(&ADJECTIVES), draw.of(&TAILS));
    match draw.below(24) {
        0 => put(line, &[draw.of(&FOREIGN)]),
        1 => put(line, &[adjective, " ", thing, "\\n", tail]),
        2 => put(line, &[adjective, "  ", thing, "  ", tail]),
        3..8 => put(line, &[adjective, " ", thing]),
        8..15 => {
            digits(line, 5 + draw.below(60), 1);
            put(line, &[" ", adjective, " ", thing, " ", tail]);
        }
        15..18 => {
            put(line, &[adjective, " ", thing, " and ", draw.of(&ADJECTIVES), " ideas ", tail])
        }
        18..22 => put(line, &[adjective, " ", thing, " ", tail, " | ", draw.of(&SENTENCES)]),
        _ => put(line, &[adjective, " ", thing, " ", tail]),
    }
    if draw.one_in(5) {
        put(line, &[" ", draw.of(&EXTRAS)]);
    }
}

/// Writes the text for no data, or some sentences. These are mostly cut after a word, and end with
/// `…` and a no-break space.
fn description(thing: &str, draw: &mut Draw, line: &mut Vec<u8>) {
    match draw.below(200) {
        0..4 => return put(line, &["No description available"]),
        4 => return put(line, &["Untitled"]),
        _ => (),
    }
    let start = line.len();
    let cut = !draw.one_in(10);
    if draw.one_in(40) {
        while line.len() < start + DESCRIPTION_BYTES {
            put(line, &[draw.of(&RUSSIAN), " "]);
        }
    } else {
        put(
            line,
            &[
                draw.of(&ADJECTIVES),
                " ",
                thing,
                if draw.one_in(20) { ".\\n" } else { ". " },
                draw.of(&SENTENCES),
            ],
        );
        while cut && line.len() < start + DESCRIPTION_BYTES {
            put(line, &[" ", draw.of(&SENTENCES)]);
        }
    }
    if line.len() > start + DESCRIPTION_BYTES {
        let word = line[start..start + DESCRIPTION_BYTES]
            .iter()
            .rposition(|&byte| byte == b' ')
            .unwrap_or(0);
        line.truncate(start + word);
        put(line, &["…\u{a0}"]);
    }
}

/// Writes 8 or 9 different tags.
fn tags(tags: &[&str; TAGS as usize], draw: &mut Draw, line: &mut Vec<u8>) {
    let (first, stride) = (draw.below(TAGS), 1 + draw.below(TAGS - 1));
    for k in 0..8 + draw.below(2) {
        put(line, &[if k == 0 { "" } else { "," }, tags[((first + k * stride) % TAGS) as usize]]);
    }
}

fn image(line: &mut Vec<u8>, draw: &mut Draw) {
    let mut name = Vec::with_capacity(32);
    hex(&mut name, draw.bits(), 16);
    hex(&mut name, draw.bits(), 16);
    put(line, &["\",\"image_src\":\"https://i.example.com/originals/"]);
    for folder in name.chunks(2).take(3) {
        line.extend_from_slice(folder);
        line.push(b'/');
    }
    line.extend_from_slice(&name);
    put(line, &[".jpg\",\"downloaded\":1"]);
}

fn uuid(line: &mut Vec<u8>, draw: &mut Draw) {
    let (high, low) = (draw.bits(), draw.bits());
    hex(line, high >> 32, 8);
    line.push(b'-');
    hex(line, high >> 16, 4);
    put(line, &["-4"]);
    hex(line, high, 3);
    line.push(b'-');
    hex(line, (low >> 62) | 8, 1);
    hex(line, low >> 48, 3);
    line.push(b'-');
    hex(line, low, 12);
}

/// Writes a date in one of the five formats, mostly in that of the original archive.
fn date(line: &mut Vec<u8>, seconds: i64, draw: &mut Draw) {
    let at = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let (year, month, day) = (at.year().unsigned_abs(), at.month(), at.day());
    let (order, before, end) = match draw.below(40) {
        0 => ([year, month, day], ["", "-", "-", " "], ""),
        1 => ([month, day, year], ["", "/", "/", ", "], ""),
        2 => ([year, month, day], ["", ":", ":", " "], ""),
        3 => ([year, month, day], ["", "-", "-", "T"], ".000Z"),
        4 => ([year, month, day], ["", "-", "-", "T"], "+00:00"),
        5 => ([year, month, day], ["", "-", "-", "T"], "+0000"),
        _ => ([year, month, day], ["", "-", "-", "T"], ""),
    };
    let [a, b, c] = order;
    let before = before.into_iter().chain([":", ":"]);
    for (before, number) in before.zip([a, b, c, at.hour(), at.minute(), at.second()]) {
        put(line, &[before]);
        digits(line, u64::from(number), 2);
    }
    put(line, &[end]);
}

/// Draws a coordinate from `-end` to `end`, with four decimals.
fn degrees(line: &mut Vec<u8>, end: u64, draw: &mut Draw) {
    let value = draw.below(end * 10_000 + 1);
    if draw.one_in(2) {
        line.push(b'-');
    }
    digits(line, value / 10_000, 1);
    line.push(b'.');
    digits(line, value % 10_000, 4);
}

fn moment([from, to]: [i64; 2], draw: &mut Draw) -> i64 {
    from + draw.below(from.abs_diff(to)) as i64
}

/// Returns 10^(level / 100), with linear interpolation between tenths of the exponent.
fn power(level: u64) -> u64 {
    const TENTHS: [u64; 11] = [100, 126, 158, 200, 251, 316, 398, 501, 631, 794, 1000];
    let (tenth, part) = ((level / 10 % 10) as usize, level % 10);
    (TENTHS[tenth] * (10 - part) + TENTHS[tenth + 1] * part) * 10_u64.pow((level / 100) as u32)
        / 1000
}

fn put(line: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        line.extend_from_slice(part.as_bytes());
    }
}

/// Writes `number` in at least `width` digits.
fn digits(line: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while number > 0 || text.len() - at < width {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    line.extend_from_slice(&text[at..]);
}

/// Writes the last `width` hexadecimal digits of `bits`.
fn hex(line: &mut Vec<u8>, bits: u64, width: u32) {
    line.extend((0..width).rev().map(|k| b"0123456789abcdef"[(bits >> (4 * k)) as usize & 15]));
}
