//! The whole pipeline: three streams in, three cleaned tables and ten standing answers out.

use watershed::StreamsBuilder;
use watershed::options::{Consumed, Produced};

use crate::bounds::Bounds;
use crate::model::{GEO_COLUMNS, PIN_COLUMNS, USER_COLUMNS};
use crate::posts::{Fame, Person, Place, Post};
use crate::{clean, questions};

/// Builds the tables and the answers.
pub(crate) fn topology(builder: &StreamsBuilder<'_>, bounds: &Bounds) {
    // Each stream is a table keyed by `ind`: a later record of an event replaces the earlier one.
    let pins = builder.table("pin", Consumed::from_value(clean::pin));
    let geos = builder.table("geo", Consumed::from_value(clean::geo));
    let users = builder.table("user", Consumed::from_value(clean::user));

    // The cleaned tables are outputs too.
    pins.to("pin_table", Produced::columns(PIN_COLUMNS));
    geos.to("geo_table", Produced::columns(GEO_COLUMNS));
    users.to("user_table", Produced::columns(USER_COLUMNS));

    // The questions need a few columns of each row. Only these are kept in memory.
    let facts = pins.map_values(Post::of);
    let posts = facts.join(&geos.map_values(Place::of), |post, place| (*post, *place));
    let posters = facts
        .map_values(Fame::of)
        .join(&users.map_values(Person::of), |fame, person| (*fame, *person));
    // A poster without an age is in no age group. The gauge counts these.
    posters.gauge("posters of no age group", |_, (_, person)| person.age_group.is_none());

    // Every answer is maintained: a late or corrected record moves it.
    questions::about_posts(builder, &posts, bounds);
    questions::about_posters(builder, &posters, &users, bounds);
}
