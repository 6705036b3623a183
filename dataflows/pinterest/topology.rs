//! The whole pipeline: three streams in, three cleaned tables and ten standing answers out.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use watershed::options::{Consumed, Produced};
use watershed::serdes::Word;
use watershed::{KTable, StreamsBuilder, Topology};

use crate::model::{GEO_COLUMNS, Geo, PIN_COLUMNS, Pin, USER_COLUMNS, User, age_group};
use crate::{clean, questions};

/// Years outside of which rows are dropped before anything is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// Years of posts that `category_by_year` and `category_count_by_year` look at.
    pub(crate) post_years: Option<RangeInclusive<i64>>,
    /// Years of joining that the three questions about joining look at.
    pub(crate) join_years: Option<RangeInclusive<i64>>,
}

/// The program, named for its state and tables.
pub(crate) fn topology(bounds: &Bounds) -> Topology {
    let bounds = bounds.clone();
    Topology::new("pinterest", move |builder| pipeline(builder, &bounds))
}

fn pipeline(builder: &StreamsBuilder<'_>, bounds: &Bounds) {
    // Each stream is a table keyed by `ind`: a later record of an event replaces the earlier one.
    let pins = builder.table("pin", Consumed::from_value(clean::pin));
    let geos = builder.table("geo", Consumed::from_value(clean::geo));
    let users = builder.table("user", Consumed::from_value(clean::user));

    // Cleaned once, written as they are.
    pins.to("pin_table", Produced::columns(PIN_COLUMNS));
    geos.to("geo_table", Produced::columns(GEO_COLUMNS));
    users.to("user_table", Produced::columns(USER_COLUMNS));

    // The questions need a few words of each row: only these are kept.
    let facts = pins.map_values(Post::of);
    let posts = facts.join(&geos.map_values(Place::of), |post, place| (*post, *place));
    let posters = facts
        .map_values(Fame::of)
        .join(&users.map_values(Person::of), |fame, person| (*fame, *person));
    // Who says no age is in no age group, and is counted here.
    posters.gauge("posters of no age group", |_, (_, person)| person.age_group.is_none());

    // Every answer is maintained: a late or corrected record moves it.
    questions::about_posts(builder, &posts, bounds);
    questions::about_posters(builder, &posters, &users, bounds);
}

/// Posts with where and when they were posted, by `ind`.
pub(crate) type Posts<'s> = KTable<'s, i64, (Post, Place)>;
/// Posts with who posted them, by `ind`.
pub(crate) type Posters<'s> = KTable<'s, i64, (Fame, Person)>;

/// What questions about places ask of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) category: Option<Word>,
    pub(crate) poster_name: Option<Word>,
    pub(crate) follower_count: Option<i64>,
}

/// What questions about people ask of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Fame {
    pub(crate) category: Option<Word>,
    pub(crate) follower_count: Option<i64>,
}

/// Where and when a pin was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) country: Option<Word>,
    pub(crate) year: Option<i32>,
}

/// Who posted a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) age_group: Option<Word>,
    pub(crate) year_joined: Option<i32>,
}

impl Post {
    fn of(pin: &Pin) -> Self {
        let (category, poster_name) =
            (pin.category().map(Word::from), pin.poster_name().map(Word::from));
        Post { category, poster_name, follower_count: pin.follower_count }
    }
}

impl Fame {
    fn of(post: &Post) -> Self {
        Fame { category: post.category, follower_count: post.follower_count }
    }
}

impl Place {
    fn of(geo: &Geo) -> Self {
        Place { country: geo.country, year: geo.timestamp.map(|t| t.year() as i32) }
    }
}

impl Person {
    fn of(user: &User) -> Self {
        Person {
            age_group: user.age.map(|age| Word::from(age_group(age))),
            year_joined: user.date_joined.map(|t| t.year() as i32),
        }
    }
}
