//! The rows of the three tables, as cleaning leaves them. Each table is keyed by `ind`, which is no
//! part of its row.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use watershed::row::{ColumnType, Put, Row};
use watershed::serdes::{Texts, Word};
use watershed::{Timestamp, row};

#[cfg(test)]
mod tests;

/// Columns of the pin table: the key, then those of [`Pin`].
pub(crate) const PIN_COLUMNS: [&str; 11] = [
    "ind",
    "unique_id",
    "title",
    "description",
    "follower_count",
    "poster_name",
    "tag_list",
    "is_image_or_video",
    "image_src",
    "save_location",
    "category",
];

/// Columns of the geo table: the key, then those of [`Geo`].
pub(crate) const GEO_COLUMNS: [&str; 4] = ["ind", "country", "coordinates", "timestamp"];

/// Columns of the user table: the key, then those of [`User`].
pub(crate) const USER_COLUMNS: [&str; 4] = ["ind", "user_name", "age", "date_joined"];

/// A pin without its `ind`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// Followers of the poster; null is unknown, which is not 0.
    pub(crate) follower_count: Option<i64>,
    texts: Texts<9>,
}

impl Pin {
    /// Returns a pin with its text columns, in the order of [`PIN_COLUMNS`].
    pub(crate) fn new(follower_count: Option<i64>, texts: [Option<&str>; 9]) -> Self {
        Pin { follower_count, texts: Texts::new(texts) }
    }

    /// Identity that the sender assigned, a UUID.
    pub(crate) fn unique_id(&self) -> Option<&str> {
        self.texts.get(0)
    }

    /// Headline.
    pub(crate) fn title(&self) -> Option<&str> {
        self.texts.get(1)
    }

    /// Text beneath the headline.
    pub(crate) fn description(&self) -> Option<&str> {
        self.texts.get(2)
    }

    /// Name of the poster.
    pub(crate) fn poster_name(&self) -> Option<&str> {
        self.texts.get(3)
    }

    /// Tags, joined by commas.
    pub(crate) fn tag_list(&self) -> Option<&str> {
        self.texts.get(4)
    }

    /// Kind of content: `image`, `video`, `multi-video(story page format)`.
    pub(crate) fn is_image_or_video(&self) -> Option<&str> {
        self.texts.get(5)
    }

    /// URL of the image.
    pub(crate) fn image_src(&self) -> Option<&str> {
        self.texts.get(6)
    }

    /// Path under which the image was saved.
    pub(crate) fn save_location(&self) -> Option<&str> {
        self.texts.get(7)
    }

    /// Category, such as `diy-and-crafts`.
    pub(crate) fn category(&self) -> Option<&str> {
        self.texts.get(8)
    }
}

impl Row for Pin {
    fn columns() -> Vec<(ColumnType, bool)> {
        use ColumnType::{Long, Text};
        [Text, Text, Text, Long, Text, Text, Text, Text, Text, Text].map(|ty| (ty, true)).to_vec()
    }

    fn put(&self, out: &mut dyn Put) {
        out.text(self.unique_id());
        out.text(self.title());
        out.text(self.description());
        out.long(self.follower_count);
        out.text(self.poster_name());
        out.text(self.tag_list());
        out.text(self.is_image_or_video());
        out.text(self.image_src());
        out.text(self.save_location());
        out.text(self.category());
    }
}

/// Place and time of a pin, without its `ind`. Equality, order and hash compare the coordinates bit
/// by bit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Geo {
    /// Name of the country.
    pub(crate) country: Option<Word>,
    /// Latitude, then longitude, in degrees; not limited to the globe.
    pub(crate) coordinates: Option<[f64; 2]>,
    /// Time of the post.
    pub(crate) timestamp: Option<Timestamp>,
}

impl Geo {
    /// Returns the values that are compared and hashed. The country is compared as text, because a
    /// [`Word`]'s own hash differs between runs.
    fn identity(&self) -> (Option<&str>, Option<[u64; 2]>, Option<Timestamp>) {
        (
            self.country.as_ref().map(Word::as_str),
            self.coordinates.map(|pair| pair.map(f64::to_bits)),
            self.timestamp,
        )
    }
}

impl PartialEq for Geo {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Geo {}

impl PartialOrd for Geo {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Geo {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl Hash for Geo {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl Row for Geo {
    fn columns() -> Vec<(ColumnType, bool)> {
        [ColumnType::Text, ColumnType::Doubles, ColumnType::Timestamp].map(|ty| (ty, true)).to_vec()
    }

    fn put(&self, out: &mut dyn Put) {
        out.text(self.country.as_ref().map(Word::as_str));
        out.doubles(self.coordinates.as_ref().map(<[f64; 2]>::as_slice));
        out.timestamp(self.timestamp.map(|t| t.0));
    }
}

row! {
    /// The user who posted a pin, without the `ind`.
    pub(crate) struct User {
        /// First and last name with one blank between them; not unique.
        pub(crate) user_name: Option<String>,
        /// Age in years, as it was sent.
        pub(crate) age: Option<i64>,
        /// Time when the user joined.
        pub(crate) date_joined: Option<Timestamp>,
    }
}

/// Returns the age group of `age` in years. Every age is in one, also a negative one.
pub(crate) fn age_group(age: i64) -> &'static str {
    match age {
        ..18 => "under-18",
        18..=24 => "18-24",
        25..=35 => "25-35",
        36..=50 => "36-50",
        _ => "50+",
    }
}
