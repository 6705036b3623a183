//! The standing questions: each a function whose doc comment is the question, and the rows of its
//! answer.

use std::ops::RangeInclusive;

use watershed::options::{Produced, Ties};
use watershed::serdes::Word;
use watershed::{Datum, KTable, StreamsBuilder};

use crate::model::User;
use crate::topology::{Bounds, Posters, Posts};

/// The views and their columns, in the order in which they are answered.
pub(crate) const VIEWS: [(&str, &[&str]); 10] = [
    ("category_by_country", &["country", "category", "category_count"]),
    ("category_by_year", &["post_year", "category", "category_count"]),
    ("category_count_by_year", &["post_year", "category", "category_count"]),
    ("top_user_by_country", &["country", "poster_name", "follower_count"]),
    ("top_country", &["country", "poster_name", "follower_count"]),
    ("category_by_age_group", &["age_group", "category", "category_count"]),
    ("median_followers_by_age_group", &["age_group", "median_follower_count"]),
    ("users_joined_by_year", &["year_joined", "number_users_joined"]),
    ("median_followers_by_joining_year", &["year_joined", "median_follower_count"]),
    (
        "median_followers_by_joining_year_and_age_group",
        &["year_joined", "age_group", "median_follower_count"],
    ),
];

/// Rows that rank within a group: the group, what ranks, and its score.
type Ranking<'s, G> = KTable<'s, (G, (Word, i64)), ()>;

/// Answers the questions about posts and places.
pub(crate) fn about_posts(builder: &StreamsBuilder<'_>, posts: &Posts<'_>, bounds: &Bounds) {
    let post_years = within(builder, "post years", &bounds.post_years);
    let by_year = category_count_by_year(posts, post_years);
    let top_users = top_user_by_country(posts);
    category_by_country(posts).to(VIEWS[0].0, columns(0));
    category_by_year(&by_year).to(VIEWS[1].0, columns(1));
    by_year.to(VIEWS[2].0, columns(2));
    top_users.to(VIEWS[3].0, columns(3));
    top_country(&top_users).to(VIEWS[4].0, columns(4));
}

/// Answers the questions about posters and when they joined.
pub(crate) fn about_posters<'s>(
    builder: &StreamsBuilder<'s>,
    posters: &Posters<'s>,
    users: &KTable<'s, i64, User>,
    bounds: &Bounds,
) {
    let join_years = within(builder, "join years", &bounds.join_years);
    category_by_age_group(posters).to(VIEWS[5].0, columns(5));
    median_followers_by_age_group(posters).to(VIEWS[6].0, columns(6));
    users_joined_by_year(builder, users, join_years.clone()).to(VIEWS[7].0, columns(7));
    median_followers_by_joining_year(posters, join_years.clone()).to(VIEWS[8].0, columns(8));
    median_followers_by_joining_year_and_age_group(posters, join_years).to(VIEWS[9].0, columns(9));
}

/// Which category is posted most in each country?
fn category_by_country<'s>(posts: &Posts<'s>) -> Ranking<'s, Word> {
    let counts =
        posts.group_by(|_, (post, place)| Some(((place.country?, post.category?), ()))).count();
    most(&counts)
}

/// How often is each category posted in each year?
fn category_count_by_year<'s>(posts: &Posts<'s>, years: Years) -> KTable<'s, (i32, Word), i64> {
    posts
        .group_by(move |_, (post, place)| Some(((years.admit(place.year?)?, post.category?), ())))
        .count()
}

/// Which category is posted most in each year?
fn category_by_year<'s>(counts: &KTable<'s, (i32, Word), i64>) -> Ranking<'s, i32> {
    most(counts)
}

/// Who has the most followers of all who post in a country?
fn top_user_by_country<'s>(posts: &Posts<'s>) -> Ranking<'s, Word> {
    posts
        .group_by(|_, (post, place)| {
            Some((place.country?, (post.poster_name?, post.follower_count?)))
        })
        .top(1, Ties::Keep, |(_, followers)| *followers)
}

/// In which country does the poster with the most followers of all post?
fn top_country<'s>(top_users: &Ranking<'s, Word>) -> KTable<'s, ((), (Word, (Word, i64))), ()> {
    top_users.group_by(|row, ()| ((), *row)).top(1, Ties::Keep, |(_, (_, followers))| *followers)
}

/// Which category is posted most in each age group?
fn category_by_age_group<'s>(posters: &Posters<'s>) -> Ranking<'s, Word> {
    let counts = posters
        .group_by(|_, (fame, person)| Some(((person.age_group?, fame.category?), ())))
        .count();
    most(&counts)
}

/// How many followers has the middle poster of each age group?
fn median_followers_by_age_group<'s>(posters: &Posters<'s>) -> KTable<'s, Word, i64> {
    posters.group_by(|_, (fame, person)| Some((person.age_group?, fame.follower_count?))).median()
}

/// How many different users have joined in each year?
fn users_joined_by_year<'s>(
    builder: &StreamsBuilder<'s>,
    users: &KTable<'s, i64, User>,
    years: Years,
) -> KTable<'s, i32, i64> {
    // A user is told by name, age and date of joining: a digest of them is all that is kept.
    let secret = builder.secret();
    let joined = users
        .map_values(move |user| (user.date_joined.map(|t| t.year() as i32), secret.digest(user)));
    joined.group_by(move |_, (year, user)| Some((years.admit((*year)?)?, *user))).count_distinct()
}

/// How many followers has the middle poster of those who joined in a year?
fn median_followers_by_joining_year<'s>(
    posters: &Posters<'s>,
    years: Years,
) -> KTable<'s, i32, i64> {
    posters
        .group_by(move |_, (fame, person)| {
            Some((years.admit(person.year_joined?)?, fame.follower_count?))
        })
        .median()
}

/// How many followers has the middle poster of each age group of those who joined in a year?
fn median_followers_by_joining_year_and_age_group<'s>(
    posters: &Posters<'s>,
    years: Years,
) -> KTable<'s, (i32, Word), i64> {
    let group = move |(year, age): (Option<i32>, Option<Word>)| Some((years.admit(year?)?, age?));
    posters
        .group_by(move |_, (fame, person)| {
            Some((group((person.year_joined, person.age_group))?, fame.follower_count?))
        })
        .median()
}

/// The categories of the highest count in each group, all that tie.
fn most<'s, G: Datum + Copy>(counts: &KTable<'s, (G, Word), i64>) -> Ranking<'s, G> {
    counts.group_by(|(group, category), count| (*group, (*category, *count))).top(
        1,
        Ties::Keep,
        |(_, count)| *count,
    )
}

/// The years that a question looks at.
#[derive(Clone)]
struct Years(Option<RangeInclusive<i64>>);

impl Years {
    fn admit(&self, year: i32) -> Option<i32> {
        self.0.as_ref().is_none_or(|years| years.contains(&year.into())).then_some(year)
    }
}

fn within(builder: &StreamsBuilder<'_>, name: &str, years: &Option<RangeInclusive<i64>>) -> Years {
    if let Some(years) = years {
        builder.setting(name, format!("{}..{}", years.start(), years.end()));
    }
    Years(years.clone())
}

fn columns(view: usize) -> Produced {
    Produced::columns(VIEWS[view].1.iter().copied())
}
