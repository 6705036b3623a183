//! The obvious batch program: hash maps, one thread, all answers at the end. It answers once, and
//! keeps nothing.

use std::hash::Hash;
use std::path::Path;

use hashbrown::{HashMap, HashSet};

use crate::Result;
use crate::model::{Geo, Pin, User, age_group};
use crate::support::archive::{Cleaned, cleaned, objects, read};
use crate::support::machine::{Clock, Measured};

/// The latest row of each key, with its offset and partition.
type Latest<T> = HashMap<i64, ((u64, u32), T)>;

#[derive(Default)]
struct Tables {
    pins: Latest<Pin>,
    geos: Latest<Geo>,
    users: Latest<User>,
}

/// Reads everything and computes all ten answers.
pub(crate) fn answer(archive: &Path) -> Result<Measured> {
    let clock = Clock::start()?;
    let (counts, tables) =
        read(&objects(archive)?, vec![Tables::default()], |tables, object, offset, line| {
            let order = (offset, object.partition);
            match cleaned(object.kind, line) {
                Some(Cleaned::Pin((ind, pin))) => put(&mut tables.pins, ind, order, pin),
                Some(Cleaned::Geo((ind, geo))) => put(&mut tables.geos, ind, order, geo),
                Some(Cleaned::User((ind, user))) => put(&mut tables.users, ind, order, user),
                None => {}
            }
            Ok(())
        })?;
    let answers = tables.iter().map(|tables| about_posts(tables) + about_posters(tables)).sum();
    Ok(Measured { answers, ..clock.measured(counts)? })
}

fn put<T>(table: &mut Latest<T>, ind: i64, order: (u64, u32), row: T) {
    match table.get_mut(&ind) {
        Some(there) if there.0 > order => {}
        Some(there) => *there = (order, row),
        None => {
            table.insert(ind, (order, row));
        }
    }
}

/// Computes the first five answers, and returns their number of rows.
fn about_posts(tables: &Tables) -> u64 {
    let (mut by_country, mut by_year) = (HashMap::<_, u64>::new(), HashMap::<_, u64>::new());
    let mut posters: HashMap<&str, (i64, HashSet<&str>)> = HashMap::new();
    for (ind, (_, pin)) in &tables.pins {
        let Some((_, geo)) = tables.geos.get(ind) else { continue };
        let country = geo.country.as_ref().map(|country| country.as_str());
        if let (Some(country), Some(category)) = (country, pin.category()) {
            *by_country.entry((country, category)).or_default() += 1;
        }
        if let (Some(posted), Some(category)) = (geo.timestamp, pin.category()) {
            *by_year.entry((posted.year(), category)).or_default() += 1;
        }
        if let (Some(country), Some(poster), Some(followers)) =
            (country, pin.poster_name(), pin.follower_count)
        {
            let top = posters.entry(country).or_insert((followers, HashSet::new()));
            if followers > top.0 {
                *top = (followers, HashSet::new());
            }
            if followers == top.0 {
                top.1.insert(poster);
            }
        }
    }
    let most = posters.values().map(|(followers, _)| *followers).max();
    let top = |all: bool| {
        posters
            .values()
            .filter(move |top| all || Some(top.0) == most)
            .map(|top| top.1.len() as u64)
            .sum::<u64>()
    };
    highest(&by_country) + highest(&by_year) + by_year.len() as u64 + top(true) + top(false)
}

/// Computes the other five answers, and returns their number of rows.
fn about_posters(tables: &Tables) -> u64 {
    let mut by_age = HashMap::<_, u64>::new();
    let (mut of_age, mut of_year, mut of_both) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (ind, (_, pin)) in &tables.pins {
        let Some((_, user)) = tables.users.get(ind) else { continue };
        let (age, year) = (user.age.map(age_group), user.date_joined.map(|joined| joined.year()));
        if let (Some(age), Some(category)) = (age, pin.category()) {
            *by_age.entry((age, category)).or_default() += 1;
        }
        let Some(followers) = pin.follower_count else { continue };
        age.into_iter().for_each(|age| of_age.entry(age).or_insert_with(Vec::new).push(followers));
        year.into_iter()
            .for_each(|year| of_year.entry(year).or_insert_with(Vec::new).push(followers));
        age.zip(year)
            .into_iter()
            .for_each(|both| of_both.entry(both).or_insert_with(Vec::new).push(followers));
    }
    let mut joined: HashMap<i64, HashSet<&User>> = HashMap::new();
    for (_, user) in tables.users.values() {
        if let Some(date) = user.date_joined {
            joined.entry(date.year()).or_default().insert(user);
        }
    }
    highest(&by_age) + medians(of_age) + medians(of_year) + medians(of_both) + joined.len() as u64
}

/// Returns the number of rows that share the highest count of their group.
fn highest<G: Copy + Eq + Hash>(counts: &HashMap<(G, &str), u64>) -> u64 {
    let mut top: HashMap<G, (u64, u64)> = HashMap::new();
    for ((group, _), count) in counts {
        let (highest, ties) = top.entry(*group).or_default();
        if count > highest {
            (*highest, *ties) = (*count, 0);
        }
        *ties += u64::from(count == highest);
    }
    top.values().map(|(_, ties)| ties).sum()
}

/// Computes the median of each group, and returns the number of groups.
fn medians<G>(groups: HashMap<G, Vec<i64>>) -> u64 {
    let median = |mut values: Vec<i64>| {
        let middle = (values.len() - 1) / 2;
        std::hint::black_box(*values.select_nth_unstable(middle).1);
    };
    groups.into_values().map(median).count() as u64
}
