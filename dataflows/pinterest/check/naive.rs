//! The naive batch program: it reads every record, keeps the latest of each `ind` in plain maps,
//! and answers by loops and sorts.
//!
//! It shares cleaning with the dataflow and no operator, so that the two can only agree by both
//! being right.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use watershed::connect::{Poll, Source};

use watershed::record::{Order, Record};
use watershed::row::{Row, Value};
use watershed::serdes::{Digest, Reject, Word};
use watershed::{Result, Secret, Timestamp};

use super::{Origin, row_digest};
use crate::clean;
use crate::model::{Geo, Pin, User, age_group};
use crate::topology::Bounds;

/// What all records together say.
pub(crate) struct Naive {
    pub(super) pins: HashMap<i64, Latest<Post>>,
    pub(super) geos: HashMap<i64, Latest<Place>>,
    pub(super) users: HashMap<i64, Latest<Person>>,
    pub(super) letters: Vec<(Digest, Origin)>,
}

/// The latest record of an `ind`: where it stands, the digest of its row, and the words that the
/// questions ask for.
pub(super) struct Latest<W> {
    order: Order,
    digest: Digest,
    words: W,
}

/// Words of a pin.
pub(super) struct Post {
    category: Option<Word>,
    poster: Option<Word>,
    followers: Option<i64>,
}

/// Words of a geo.
pub(super) struct Place {
    country: Option<Word>,
    year: Option<i64>,
}

/// Words of a user.
pub(super) struct Person {
    name: Option<Word>,
    age: Option<i64>,
    joined: Option<Timestamp>,
}

impl Post {
    fn of(pin: &Pin) -> Self {
        Post {
            category: pin.category().map(Word::from),
            poster: pin.poster_name().map(Word::from),
            followers: pin.follower_count,
        }
    }
}

impl Place {
    fn of(geo: &Geo) -> Self {
        Place { country: geo.country, year: geo.timestamp.map(Timestamp::year) }
    }
}

impl Person {
    fn of(user: &User) -> Self {
        Person {
            name: user.user_name.as_deref().map(Word::from),
            age: user.age,
            joined: user.date_joined,
        }
    }
}

impl Naive {
    /// Reads the sources of `[pin, geo, user]` to the end of what is there; digests are made with
    /// `secret`.
    ///
    /// # Errors
    /// When one can't be read.
    pub(crate) fn read(
        [pins, geos, users]: &[Vec<Box<dyn Source>>; 3],
        secret: Secret,
    ) -> Result<Self> {
        let mut letters = Vec::new();
        Ok(Naive {
            pins: latest("pin", pins, clean::pin, Post::of, secret, &mut letters)?,
            geos: latest("geo", geos, clean::geo, Place::of, secret, &mut letters)?,
            users: latest("user", users, clean::user, Person::of, secret, &mut letters)?,
            letters,
        })
    }

    /// The rows of the ten views, in the order of [`VIEWS`](crate::questions::VIEWS).
    pub(crate) fn views(&self, bounds: &Bounds) -> [Vec<Vec<Value>>; 10] {
        let (mut in_country, mut in_year, mut at_age) =
            (HashMap::new(), HashMap::new(), HashMap::new());
        let mut posters = HashSet::new();
        let (mut of_age, mut of_year, mut of_both) =
            (HashMap::new(), HashMap::new(), HashMap::new());
        for (ind, pin) in &self.pins {
            let Post { category, poster, followers } = pin.words;
            if let Some(Latest { words: Place { country, year }, .. }) = self.geos.get(ind) {
                count(&mut in_country, *country, category);
                count(&mut in_year, within(&bounds.post_years, *year), category);
                posters.extend(
                    country
                        .zip(poster)
                        .zip(followers)
                        .map(|((country, poster), n)| (country, poster, n)),
                );
            }
            if let Some(Latest { words: Person { age, joined, .. }, .. }) = self.users.get(ind) {
                let group = age.map(|age| Word::from(age_group(age)));
                let year = within(&bounds.join_years, joined.map(Timestamp::year));
                count(&mut at_age, group, category);
                note(&mut of_age, group, followers);
                note(&mut of_year, year, followers);
                note(&mut of_both, year.zip(group), followers);
            }
        }
        let mut users: HashMap<i64, HashSet<_>> = HashMap::new();
        for Latest { words: Person { name, age, joined }, .. } in self.users.values() {
            if let Some(year) = within(&bounds.join_years, joined.map(Timestamp::year)) {
                users.entry(year).or_default().insert((*name, *age, *joined));
            }
        }
        let in_year = ranking(in_year);
        let top_users = top(posters.into_iter().collect(), |row| row.0);
        [
            listed(top(ranking(in_country), |row| row.0)),
            listed(top(in_year.clone(), |row| row.0)),
            listed(in_year),
            listed(top_users.clone()),
            listed(top(top_users, |_| ())),
            listed(top(ranking(at_age), |row| row.0)),
            listed(of_age.into_iter().map(median)),
            listed(users.into_iter().map(|(year, users)| (year, users.len() as i64))),
            listed(of_year.into_iter().map(median)),
            listed(of_both.into_iter().map(median)),
        ]
    }
}

/// Digest and origin of each row of a cleaned table.
pub(super) fn rows<W>(table: HashMap<i64, Latest<W>>) -> impl Iterator<Item = (Digest, Origin)> {
    table
        .into_iter()
        .map(|(ind, latest)| (latest.digest, Origin::Table { ind, order: latest.order }))
}

type Clean<T> = fn(Option<&[u8]>) -> Result<(i64, T), Reject>;

/// Reads a topic: the greatest order of each `ind` stands, and what can't be cleaned is a letter.
fn latest<T: Row, W>(
    topic: &'static str,
    sources: &[Box<dyn Source>],
    clean: Clean<T>,
    words: fn(&T) -> W,
    secret: Secret,
    letters: &mut Vec<(Digest, Origin)>,
) -> Result<HashMap<i64, Latest<W>>> {
    let mut latest: HashMap<i64, Latest<W>> = HashMap::new();
    each(sources, |record @ Record { order, value, .. }| {
        match Reject::unless_whole(&record).and_then(|()| clean(value)) {
            Ok((ind, row)) => {
                if latest.get(&ind).is_none_or(|stands| stands.order < order) {
                    let words = words(&row);
                    latest.insert(
                        ind,
                        Latest { order, digest: row_digest(secret, &held(&(ind, row))), words },
                    );
                }
            }
            Err(Reject { reason, detail }) => {
                let (partition, position) = (i64::from(order.partition), order.offset.to_string());
                let payload = value.unwrap_or_default().to_vec();
                let row = held(&(
                    topic.to_string(),
                    partition,
                    position,
                    reason.into_owned(),
                    detail,
                    payload,
                ));
                letters.push((row_digest(secret, &row), Origin::Letter { topic, order }));
            }
        }
    })?;
    Ok(latest)
}

/// Passes every record of `sources` to `f`.
fn each(sources: &[Box<dyn Source>], mut f: impl FnMut(Record<'_>)) -> Result<()> {
    for (rank, source) in (0..).zip(sources) {
        for partition in source.partitions()? {
            let mut reader = source.open(partition, None, false)?;
            loop {
                match reader.poll()? {
                    Poll::Batch(batch) => batch.iter(rank).for_each(&mut f),
                    Poll::Idle => std::thread::park_timeout(Duration::from_millis(1)),
                    Poll::End => break,
                }
            }
        }
    }
    Ok(())
}

fn within(years: &Option<RangeInclusive<i64>>, year: Option<i64>) -> Option<i64> {
    year.filter(|year| years.as_ref().is_none_or(|years| years.contains(year)))
}

fn count<G: Eq + Hash>(
    counts: &mut HashMap<(G, Word), i64>,
    group: Option<G>,
    category: Option<Word>,
) {
    if let Some(key) = group.zip(category) {
        *counts.entry(key).or_default() += 1;
    }
}

fn note<G: Eq + Hash>(numbers: &mut HashMap<G, Vec<i64>>, group: Option<G>, number: Option<i64>) {
    if let (Some(group), Some(number)) = (group, number) {
        numbers.entry(group).or_default().push(number);
    }
}

fn ranking<G>(counts: HashMap<(G, Word), i64>) -> Vec<(G, Word, i64)> {
    counts.into_iter().map(|((group, name), score)| (group, name, score)).collect()
}

/// The rows of the highest score in each group.
fn top<G, H: Eq + Hash>(
    mut rows: Vec<(G, Word, i64)>,
    group: impl Fn(&(G, Word, i64)) -> H,
) -> Vec<(G, Word, i64)> {
    let mut highest = HashMap::new();
    for row in &rows {
        let score = highest.entry(group(row)).or_insert(row.2);
        *score = row.2.max(*score);
    }
    rows.retain(|row| highest.get(&group(row)) == Some(&row.2));
    rows
}

/// The middle number, the lower of two.
fn median<G>((group, mut numbers): (G, Vec<i64>)) -> (G, i64) {
    numbers.sort_unstable();
    (group, numbers[(numbers.len() - 1) / 2])
}

fn listed(rows: impl IntoIterator<Item = impl Row>) -> Vec<Vec<Value>> {
    rows.into_iter().map(|row| held(&row)).collect()
}

fn held(row: &impl Row) -> Vec<Value> {
    let mut values = Vec::new();
    row.put(&mut values);
    values
}
