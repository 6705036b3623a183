//! The naive batch program: it reads every record, keeps the latest of each `ind` in plain maps,
//! and answers by loops and sorts.
//!
//! It shares the cleaning with the dataflow, but no operator. If both have the same answers, an
//! error in an operator is unlikely.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::RangeInclusive;

use watershed::program::{Expected, Inputs, Origin};
use watershed::record::{Order, Record};
use watershed::row::Row;
use watershed::serdes::{Digest, Reject, Word};
use watershed::{Result, Timestamp};

use crate::bounds::Bounds;
use crate::clean;
use crate::model::{Geo, Pin, User, age_group};

#[cfg(test)]
mod tests;

/// Lists the rows of all tables, for the sources and the options of a run.
///
/// # Errors
/// When a source can't be read.
pub(crate) fn rows(inputs: &Inputs<'_, Bounds>, expected: &mut Expected) -> Result<()> {
    let naive = Naive {
        pins: latest("pin", clean::pin, Post::of, inputs, expected)?,
        geos: latest("geo", clean::geo, Place::of, inputs, expected)?,
        users: latest("user", clean::user, Person::of, inputs, expected)?,
    };
    naive.answer(inputs.options(), expected);
    cleaned("pin", "pin_table", naive.pins, expected);
    cleaned("geo", "geo_table", naive.geos, expected);
    cleaned("user", "user_table", naive.users, expected);
    Ok(())
}

/// The latest records of all topics, by `ind`.
struct Naive {
    pins: HashMap<i64, Latest<Post>>,
    geos: HashMap<i64, Latest<Place>>,
    users: HashMap<i64, Latest<Person>>,
}

/// The latest record of an `ind`: its position, the digest of its row, and the columns that the
/// questions need.
struct Latest<W> {
    order: Order,
    digest: Digest,
    words: W,
}

/// The columns of a pin.
struct Post {
    category: Option<Word>,
    poster: Option<Word>,
    followers: Option<i64>,
}

/// The columns of a geo.
struct Place {
    country: Option<Word>,
    year: Option<i64>,
}

/// The columns of a user.
struct Person {
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
    /// Answers the ten questions.
    fn answer(&self, bounds: &Bounds, expected: &mut Expected) {
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
        expected.rows("category_by_country", top(ranking(in_country), |row| row.0));
        expected.rows("category_by_year", top(in_year.clone(), |row| row.0));
        expected.rows("category_count_by_year", in_year);
        expected.rows("top_user_by_country", top_users.clone());
        expected.rows("top_country", top(top_users, |_| ()));
        expected.rows("category_by_age_group", top(ranking(at_age), |row| row.0));
        expected.rows("median_followers_by_age_group", of_age.into_iter().map(median));
        expected.rows(
            "users_joined_by_year",
            users.into_iter().map(|(year, users)| (year, users.len() as i64)),
        );
        expected.rows("median_followers_by_joining_year", of_year.into_iter().map(median));
        expected.rows(
            "median_followers_by_joining_year_and_age_group",
            of_both.into_iter().map(median),
        );
    }
}

/// Expects the rows of a cleaned table.
fn cleaned<W>(
    topic: &'static str,
    table: &'static str,
    rows: HashMap<i64, Latest<W>>,
    expected: &mut Expected,
) {
    for Latest { order, digest, .. } in rows.into_values() {
        expected.digest(table, digest, Origin::Record { topic, order });
    }
}

type Clean<T> = fn(Option<&[u8]>) -> Result<(i64, T), Reject>;

/// Reads a topic. The record with the greatest order is the latest of its `ind`; a record that
/// can't be cleaned is a dead letter.
fn latest<T: Row, W>(
    topic: &'static str,
    clean: Clean<T>,
    words: fn(&T) -> W,
    inputs: &Inputs<'_, Bounds>,
    expected: &mut Expected,
) -> Result<HashMap<i64, Latest<W>>> {
    let mut latest: HashMap<i64, Latest<W>> = HashMap::new();
    inputs.each(topic, |record @ Record { order, value, .. }| {
        match Reject::unless_whole(&record).and_then(|()| clean(value)) {
            Ok((ind, row)) => {
                if latest.get(&ind).is_none_or(|stands| stands.order < order) {
                    let words = words(&row);
                    let digest = expected.digest_of(&(ind, row));
                    latest.insert(ind, Latest { order, digest, words });
                }
            }
            Err(reject) => expected.dead_letter(topic, &record, reject),
        }
    })?;
    Ok(latest)
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

/// Returns the rows with the highest score in each group.
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

/// Returns the median; of two middle numbers, the lower.
fn median<G>((group, mut numbers): (G, Vec<i64>)) -> (G, i64) {
    numbers.sort_unstable();
    (group, numbers[(numbers.len() - 1) / 2])
}
