//! The few columns of each row that the questions need, and the types of their joins.

use serde::{Deserialize, Serialize};
use watershed::KTable;
use watershed::serdes::Word;

use crate::model::{Geo, Pin, User, age_group};

/// Posts with their place and time, keyed by `ind`.
pub(crate) type Posts<'s> = KTable<'s, i64, (Post, Place)>;
/// Posts with their poster, keyed by `ind`.
pub(crate) type Posters<'s> = KTable<'s, i64, (Fame, Person)>;

/// The columns of a pin for questions about places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) category: Option<Word>,
    pub(crate) poster_name: Option<Word>,
    pub(crate) follower_count: Option<i64>,
}

/// The columns of a pin for questions about people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Fame {
    pub(crate) category: Option<Word>,
    pub(crate) follower_count: Option<i64>,
}

/// Place and time of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) country: Option<Word>,
    pub(crate) year: Option<i32>,
}

/// The columns of the poster of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) age_group: Option<Word>,
    pub(crate) year_joined: Option<i32>,
}

impl Post {
    pub(crate) fn of(pin: &Pin) -> Self {
        let (category, poster_name) =
            (pin.category().map(Word::from), pin.poster_name().map(Word::from));
        Post { category, poster_name, follower_count: pin.follower_count }
    }
}

impl Fame {
    pub(crate) fn of(post: &Post) -> Self {
        Fame { category: post.category, follower_count: post.follower_count }
    }
}

impl Place {
    pub(crate) fn of(geo: &Geo) -> Self {
        Place { country: geo.country, year: geo.timestamp.map(|t| t.year() as i32) }
    }
}

impl Person {
    pub(crate) fn of(user: &User) -> Self {
        Person {
            age_group: user.age.map(|age| Word::from(age_group(age))),
            year_joined: user.date_joined.map(|t| t.year() as i32),
        }
    }
}
