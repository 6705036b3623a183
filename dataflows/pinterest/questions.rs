//! The standing questions. Each is a function; its doc comment is the question, its result is the
//! answer.

use watershed::options::{Produced, Ties};
use watershed::serdes::Word;
use watershed::{Datum, KTable, StreamsBuilder};

use crate::bounds::{Bounds, Years};
use crate::model::User;
use crate::posts::{Posters, Posts};

/// The answers, each with its question, in printing order.
pub(crate) const QUESTIONS: [(&str, &str); 10] = [
    ("category_by_country", "Which category is posted most in each country?"),
    ("category_by_year", "Which category is posted most in each year?"),
    ("category_count_by_year", "How often is each category posted in each year?"),
    ("top_user_by_country", "Which poster has the most followers in each country?"),
    ("top_country", "In which country does the poster with the most followers post?"),
    ("category_by_age_group", "Which category is posted most in each age group?"),
    (
        "median_followers_by_age_group",
        "How many followers has the middle poster of each age group?",
    ),
    ("users_joined_by_year", "How many different users have joined in each year?"),
    (
        "median_followers_by_joining_year",
        "How many followers has the middle poster of each joining year?",
    ),
    (
        "median_followers_by_joining_year_and_age_group",
        "How many followers has the middle poster of each joining year and age group?",
    ),
];

/// The first rows of each group: the group, and a name with its score.
type Ranking<'s, G> = KTable<'s, (G, (Word, i64)), ()>;

/// Answers the questions about posts and places.
pub(crate) fn about_posts(builder: &StreamsBuilder<'_>, posts: &Posts<'_>, bounds: &Bounds) {
    let post_years = Years::within(builder, "post years", &bounds.post_years);
    let by_year = category_count_by_year(posts, post_years);
    let top_users = top_user_by_country(posts);
    category_by_country(posts)
        .to("category_by_country", Produced::columns(["country", "category", "category_count"]));
    category_by_year(&by_year)
        .to("category_by_year", Produced::columns(["post_year", "category", "category_count"]));
    by_year.to(
        "category_count_by_year",
        Produced::columns(["post_year", "category", "category_count"]),
    );
    top_users
        .to("top_user_by_country", Produced::columns(["country", "poster_name", "follower_count"]));
    top_country(&top_users)
        .to("top_country", Produced::columns(["country", "poster_name", "follower_count"]));
}

/// Answers the questions about posters, and about the years in which users joined.
pub(crate) fn about_posters<'s>(
    builder: &StreamsBuilder<'s>,
    posters: &Posters<'s>,
    users: &KTable<'s, i64, User>,
    bounds: &Bounds,
) {
    let join_years = Years::within(builder, "join years", &bounds.join_years);
    category_by_age_group(posters).to(
        "category_by_age_group",
        Produced::columns(["age_group", "category", "category_count"]),
    );
    median_followers_by_age_group(posters).to(
        "median_followers_by_age_group",
        Produced::columns(["age_group", "median_follower_count"]),
    );
    users_joined_by_year(builder, users, join_years.clone())
        .to("users_joined_by_year", Produced::columns(["year_joined", "number_users_joined"]));
    median_followers_by_joining_year(posters, join_years.clone()).to(
        "median_followers_by_joining_year",
        Produced::columns(["year_joined", "median_follower_count"]),
    );
    median_followers_by_joining_year_and_age_group(posters, join_years).to(
        "median_followers_by_joining_year_and_age_group",
        Produced::columns(["year_joined", "age_group", "median_follower_count"]),
    );
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

/// Which poster has the most followers in each country?
fn top_user_by_country<'s>(posts: &Posts<'s>) -> Ranking<'s, Word> {
    posts
        .group_by(|_, (post, place)| {
            Some((place.country?, (post.poster_name?, post.follower_count?)))
        })
        .top(1, Ties::Keep, |(_, followers)| *followers)
}

/// In which country does the poster with the most followers post?
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
    // A user is identified by name, age and date of joining. Only a digest of them is kept.
    let secret = builder.secret();
    let joined = users
        .map_values(move |user| (user.date_joined.map(|t| t.year() as i32), secret.digest(user)));
    joined.group_by(move |_, (year, user)| Some((years.admit((*year)?)?, *user))).count_distinct()
}

/// How many followers has the middle poster of each joining year?
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

/// How many followers has the middle poster of each joining year and age group?
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

/// Returns the category with the highest count in each group, or all categories in a tie.
fn most<'s, G: Datum + Copy>(counts: &KTable<'s, (G, Word), i64>) -> Ranking<'s, G> {
    counts.group_by(|(group, category), count| (*group, (*category, *count))).top(
        1,
        Ties::Keep,
        |(_, count)| *count,
    )
}
