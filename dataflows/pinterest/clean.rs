//! Cleaning: turns the bytes of a record into its row, or into the reason of a dead letter. These
//! are pure functions: the result does not depend on the record's position.
//!
//! [`json`] reads an object strictly and unwraps it. [`values`] reads numbers and dates that are
//! written as text. This file defines the columns. Three things are checked in this order: the
//! kind of the record, its `ind`, and its values. The first failure is the reason of the dead
//! letter.

mod json;
mod quick;
mod values;

#[cfg(test)]
mod tests;

use watershed::Timestamp;
use watershed::serdes::{Reason, Reject};

use crate::model::{Geo, Pin, User};
use json::{Shape, Value};
use values::is_blank;
pub(crate) use values::timestamp as moment;

/// The reasons of dead letters.
pub(crate) mod reason {
    use super::Reason;

    /// The value is null, or the JSON null, as an archive writes it. Nothing is deleted, because
    /// the records have no keys.
    pub(crate) const TOMBSTONE: Reason = "tombstone";
    /// The value has more than 1 MiB.
    pub(crate) const TOO_LARGE: Reason = "too large";
    /// The value, or its content in base64, is not UTF-8.
    pub(crate) const INVALID_UTF8: Reason = "invalid utf-8";
    /// The text begins with a byte order mark.
    pub(crate) const BYTE_ORDER_MARK: Reason = "byte order mark";
    /// The text is not one JSON value: it has bad syntax, a lone surrogate, a number beyond the
    /// range of floats, or more text after the value.
    pub(crate) const INVALID_JSON: Reason = "invalid json";
    /// An object has a key twice.
    pub(crate) const DUPLICATE_KEY: Reason = "duplicate key";
    /// Objects and arrays are nested more than 64 levels deep.
    pub(crate) const NESTED_TOO_DEEPLY: Reason = "nested too deeply";
    /// The text is JSON, but neither an object nor one that can be unwrapped.
    pub(crate) const NOT_AN_OBJECT: Reason = "not an object";
    /// The field that every record of this kind has is missing.
    pub(crate) const ANOTHER_KIND: Reason = "another kind";
    /// There is neither an `ind` nor an `index`, or both are null.
    pub(crate) const NO_IND: Reason = "no ind";
    /// The value of `ind`, or of `index` in its place, is not an integer of 64 bits.
    pub(crate) const BAD_IND: Reason = "bad ind";
    /// The value of a column has the wrong JSON type.
    pub(crate) const WRONG_TYPE: Reason = "wrong type";
    /// The text of `follower_count` is no whole number of 64 bits.
    pub(crate) const BAD_FOLLOWER_COUNT: Reason = "bad follower_count";
    /// The text of a date is in none of the five formats, or no such date exists.
    pub(crate) const BAD_DATE: Reason = "bad date";
}

const PIN: Shape<13> = Shape {
    fields: [
        "index",
        "ind",
        "unique_id",
        "title",
        "description",
        "poster_name",
        "follower_count",
        "tag_list",
        "is_image_or_video",
        "image_src",
        "downloaded",
        "save_location",
        "category",
    ],
    decimals: 0..0,
};

const GEO: Shape<6> = Shape {
    fields: ["ind", "index", "timestamp", "latitude", "longitude", "country"],
    decimals: 3..5,
};

const USER: Shape<6> = Shape {
    fields: ["ind", "index", "first_name", "last_name", "age", "date_joined"],
    decimals: 0..0,
};

const NO_USER: &str = "User Info Error";

/// Returns the pin in the value of a record, with its `ind`.
///
/// # Errors
/// When it can't be cleaned; the reason is one of [`reason`].
pub(crate) fn pin(value: Option<&[u8]>) -> Result<(i64, Pin), Reject> {
    json::record(value, &PIN, |fields| {
        let [
            index,
            ind,
            unique_id,
            title,
            description,
            poster,
            followers,
            tags,
            shows,
            image,
            _downloaded,
            saved,
            category,
        ] = fields;
        let ind = key("unique_id", unique_id, ind, index)?;
        let followers = match text("follower_count", followers, &[NO_USER])? {
            Some(text) => Some(
                values::follower_count(text)
                    .ok_or_else(|| Reject::new(reason::BAD_FOLLOWER_COUNT, format!("{text:?}")))?,
            ),
            None => None,
        };
        let saved = text("save_location", saved, &[])?;
        let texts = [
            text("unique_id", unique_id, &[])?,
            text("title", title, &["No Title Data Available"])?,
            text(
                "description",
                description,
                &["No description available", "No description available Story format", "Untitled"],
            )?,
            text("poster_name", poster, &[NO_USER])?,
            text("tag_list", tags, &["N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"])?,
            text("is_image_or_video", shows, &[])?,
            text("image_src", image, &["Image src error.", "Image src error"])?,
            saved
                .map(|path| path.strip_prefix("Local save in ").unwrap_or(path))
                .filter(|path| !is_blank(path)),
            text("category", category, &[])?,
        ];
        Ok((ind, Pin::new(followers, texts)))
    })
}

/// Returns the place and time in the value of a record, with its `ind`.
///
/// # Errors
/// When it can't be cleaned; the reason is one of [`reason`].
pub(crate) fn geo(value: Option<&[u8]>) -> Result<(i64, Geo), Reject> {
    json::record(value, &GEO, |fields| {
        let [ind, index, timestamp, latitude, longitude, country] = fields;
        let ind = key("timestamp", timestamp, ind, index)?;
        let (latitude, longitude) =
            (decimal("latitude", latitude)?, decimal("longitude", longitude)?);
        Ok((
            ind,
            Geo {
                country: text("country", country, &[])?.map(Into::into),
                coordinates: latitude.zip(longitude).map(Into::into),
                timestamp: date("timestamp", timestamp)?,
            },
        ))
    })
}

/// Returns the user in the value of a record, with its `ind`.
///
/// # Errors
/// When it can't be cleaned; the reason is one of [`reason`].
pub(crate) fn user(value: Option<&[u8]>) -> Result<(i64, User), Reject> {
    json::record(value, &USER, |fields| {
        let [ind, index, first_name, last_name, age, date_joined] = fields;
        let ind = key("date_joined", date_joined, ind, index)?;
        let user_name =
            match (text("first_name", first_name, &[])?, text("last_name", last_name, &[])?) {
                (Some(first), Some(last)) => Some([first, " ", last].concat()),
                (one, other) => one.or(other).map(Into::into),
            };
        let age = match age {
            None | Some(Value::Null) => None,
            Some(Value::Integer(age)) => Some(*age),
            Some(other) => return Err(wrong_type("age", other)),
        };
        Ok((ind, User { user_name, age, date_joined: date("date_joined", date_joined)? }))
    })
}

/// Checks that the record has the field `name`, which identifies its kind and may be null. Returns
/// `ind`, or `index` if there is no `ind`.
fn key(
    name: &str,
    field: &Option<Value>,
    ind: &Option<Value>,
    index: &Option<Value>,
) -> Result<i64, Reject> {
    if field.is_none() {
        return Err(Reject::new(reason::ANOTHER_KIND, format!("{name} is missing")));
    }
    let given = |field: &&Value| !matches!(field, Value::Null);
    match ind.as_ref().filter(given).or(index.as_ref().filter(given)) {
        Some(Value::Integer(ind)) => Ok(*ind),
        Some(other) => Err(Reject::new(reason::BAD_IND, format!("it is {}", other.kind()))),
        None => Err(Reject::new(reason::NO_IND, "neither ind nor index is given")),
    }
}

/// Returns the text of a column: null if it is blank or one of `no_data`.
fn text<'v>(
    name: &str,
    field: &'v Option<Value>,
    no_data: &[&str],
) -> Result<Option<&'v str>, Reject> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => {
            Ok(Some(text.as_ref()).filter(|text| !is_blank(text) && !no_data.contains(text)))
        }
        Some(other) => Err(wrong_type(name, other)),
    }
}

/// Returns the date of a column. Only JSON's null is null: no text means the same.
fn date(name: &str, field: &Option<Value>) -> Result<Option<Timestamp>, Reject> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => match values::timestamp(text) {
            None => Err(Reject::new(reason::BAD_DATE, format!("{name} is {text:?}"))),
            some => Ok(some),
        },
        Some(other) => Err(wrong_type(name, other)),
    }
}

fn decimal(name: &str, field: &Option<Value>) -> Result<Option<f64>, Reject> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Decimal(number)) => Ok(Some(*number)),
        Some(other) => Err(wrong_type(name, other)),
    }
}

fn wrong_type(name: &str, value: &Value) -> Reject {
    Reject::new(reason::WRONG_TYPE, format!("{name} is {}", value.kind()))
}
