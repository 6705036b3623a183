//! Reads one JSON object from the bytes of a record. It checks every part of the text, and copies
//! only texts that have escapes.
//!
//! serde_json checks the syntax. This file also refuses duplicate keys, deep nesting, and arrays in
//! place of objects, which serde_json accepts.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::value::RawValue;
use watershed::serdes::{Reason, Reject};

use super::{quick, reason};

/// Bytes that a record may have.
const RECORD_MAX_BYTES: usize = 1 << 20;

/// Greatest nesting of objects and arrays. The record's own object is level 1; an array or a string
/// around it doesn't count.
const NESTING_MAX: u32 = 64;

/// The fields of a kind of record: their names in the usual order, and flags for those that are
/// decimal numbers.
pub(super) struct Shape<const N: usize> {
    pub(super) fields: [&'static str; N],
    pub(super) decimals: Range<usize>,
}

/// The value of a field.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Decimal(f64),
    /// Of a type that no column has.
    Other(&'static str),
}

impl Value<'_> {
    /// Returns its type with an article, for the detail of a dead letter.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Decimal(_) => "a number",
            Value::Other(kind) => kind,
        }
    }
}

/// The values of a [`Shape`]'s fields; `None` where a field is missing.
pub(super) type Fields<'a, const N: usize> = [Option<Value<'a>>; N];

/// Reads the object in the value of a record, unwraps it where needed, and passes it to `clean`.
///
/// An object may be the only element of an array. This array, or the object itself, may be encoded
/// once: in base64, in base64 within a JSON string, or in a JSON string.
pub(super) fn record<T, const N: usize>(
    value: Option<&[u8]>,
    shape: &Shape<N>,
    clean: impl Fn(&Fields<'_, N>) -> Result<T, Reject>,
) -> Result<T, Reject> {
    let bytes = value.ok_or_else(|| Reject::new(reason::TOMBSTONE, "the value is null"))?;
    if bytes.len() > RECORD_MAX_BYTES {
        return Err(Reject::new(reason::TOO_LARGE, format!("{} bytes", bytes.len())));
    }
    let mut fields = [const { None }; N];
    let inner = match parse(bytes, shape, &mut fields) {
        Ok(None) => return clean(&fields),
        Ok(Some(text)) => match STANDARD.decode(text.as_bytes()) {
            Ok(inner) => inner,
            // The JSON of an object is never base64, because it begins with a brace or a bracket.
            Err(_) => return quoted(&text, shape, clean),
        },
        Err(reject) if reject.reason == reason::INVALID_JSON => STANDARD
            .decode(bytes)
            .ok()
            .filter(|inner| str::from_utf8(inner).is_ok())
            .ok_or(reject)?,
        Err(reject) => return Err(reject),
    };
    let mut fields = [const { None }; N];
    match parse(&inner, shape, &mut fields)? {
        None => clean(&fields),
        Some(_) => Err(Reject::new(reason::NOT_AN_OBJECT, "base64 of a string")),
    }
}

/// Cleans the object whose JSON is the text of a string.
fn quoted<T, const N: usize>(
    text: &str,
    shape: &Shape<N>,
    clean: impl Fn(&Fields<'_, N>) -> Result<T, Reject>,
) -> Result<T, Reject> {
    let mut fields = [const { None }; N];
    match parse(text.as_bytes(), shape, &mut fields) {
        Ok(None) => clean(&fields),
        Ok(Some(_)) => Err(Reject::new(reason::NOT_AN_OBJECT, "a string in a string")),
        Err(reject)
            if reject.reason == reason::INVALID_JSON
                && !text.trim_start().starts_with(['{', '[']) =>
        {
            Err(Reject::new(
                reason::NOT_AN_OBJECT,
                format!(
                    "a string that is neither base64 nor the JSON of an object: {}",
                    reject.detail
                ),
            ))
        }
        Err(reject) => Err(reject),
    }
}

/// Puts the values of an object into `fields`, or returns the text of a string, which may be base64
/// or JSON.
pub(super) fn parse<'a, const N: usize>(
    bytes: &'a [u8],
    shape: &Shape<N>,
    fields: &mut Fields<'a, N>,
) -> Result<Option<Cow<'a, str>>, Reject> {
    let text = str::from_utf8(bytes).map_err(|e| Reject::new(reason::INVALID_UTF8, e))?;
    if text.starts_with('\u{feff}') {
        return Err(Reject::new(reason::BYTE_ORDER_MARK, "the text begins with U+FEFF"));
    }
    if quick::object(text, shape, fields).is_some() {
        return Ok(None);
    }
    *fields = [const { None }; N];
    strict(text, shape, fields)
}

/// Does the same for any text, with serde_json's parser.
pub(super) fn strict<'a, const N: usize>(
    text: &'a str,
    shape: &Shape<N>,
    fields: &mut Fields<'a, N>,
) -> Result<Option<Cow<'a, str>>, Reject> {
    let mut refused = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let found =
        Outside { shape, fields, in_array: false, refused: &mut refused }.deserialize(&mut json);
    found.and_then(|found| json.end().map(|()| found)).map_err(|e| {
        let reason = if e.is_data() { reason::NOT_AN_OBJECT } else { reason::INVALID_JSON };
        refused.unwrap_or_else(|| Reject::new(reason, e))
    })
}

/// Stops the parser for a reason that it does not know.
fn refuse<T, E: Error>(
    refused: &mut Option<Reject>,
    reason: Reason,
    detail: impl ToString,
) -> Result<T, E> {
    *refused = Some(Reject::new(reason, detail));
    Err(E::custom(reason))
}

/// Reads the outermost value: an object, an array of one object, or a string. Any other type is an
/// error of serde.
struct Outside<'s, 'a, const N: usize> {
    shape: &'s Shape<N>,
    /// Written in place, because returning them through several functions costs more than reading
    /// them.
    fields: &'s mut Fields<'a, N>,
    in_array: bool,
    refused: &'s mut Option<Reject>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Outside<'_, 'de, N> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Outside<'_, 'de, N> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        refuse(self.refused, reason::TOMBSTONE, "the value is null in JSON")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        if self.in_array { self.visit_str(text) } else { Ok(Some(text.into())) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if self.in_array {
            Err(E::invalid_type(Unexpected::Str(text), &self))
        } else {
            Ok(Some(text.to_owned().into()))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        if self.in_array {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let only = array.next_element_seed(Outside {
            in_array: true,
            refused: &mut *self.refused,
            ..self
        })?;
        match (only, array.next_element()?) {
            (Some(found), None) => Ok(found),
            (None, _) => refuse(self.refused, reason::NOT_AN_OBJECT, "an empty array"),
            (_, Some(IgnoredAny)) => {
                refuse(self.refused, reason::NOT_AN_OBJECT, "an array of more than one")
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let Outside { shape: Shape { fields: names, decimals }, fields, refused, .. } = self;
        let mut unknown = BTreeSet::new();
        let mut next = 0;
        while let Some(Key(key)) = object.next_key()? {
            match (next..N).chain(0..next).find(|&at| names[at] == key) {
                Some(at) if fields[at].is_none() => {
                    fields[at] = Some(match decimals.contains(&at) {
                        true => decimal(object.next_value::<&RawValue>()?.get()),
                        false => object.next_value_seed(Inside { depth: 1, refused })?,
                    });
                    next = at + 1;
                }
                None if !unknown.contains(&key) => {
                    object.next_value_seed(Inside { depth: 1, refused })?;
                    unknown.insert(key);
                }
                _ => return refuse(refused, reason::DUPLICATE_KEY, format!("{key:?}")),
            }
        }
        Ok(None)
    }
}

/// Returns the number in a text. serde_json's own floats can be wrong in the last bit.
pub(super) fn decimal<'a>(json: &str) -> Value<'a> {
    match json.as_bytes() {
        [b'n', ..] => Value::Null,
        [b'"', ..] => Value::Other("a string"),
        [b'-' | b'0'..=b'9', ..] => match json.parse() {
            Ok(number) if f64::is_finite(number) => Value::Decimal(number),
            _ => Value::Other("a number beyond floats"),
        },
        _ => Value::Other("not a number"),
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a whole value that is nested in `depth` objects and arrays.
struct Inside<'r> {
    depth: u32,
    refused: &'r mut Option<Reject>,
}

impl Inside<'_> {
    /// Enters an object or array that has just begun.
    fn enter<E: Error>(self) -> Result<Self, E> {
        match self.depth {
            NESTING_MAX => refuse(
                self.refused,
                reason::NESTED_TOO_DEEPLY,
                format!("deeper than {NESTING_MAX}"),
            ),
            depth => Ok(Inside { depth: depth + 1, ..self }),
        }
    }

    /// Returns a reader for one value at this depth.
    fn one(&mut self) -> Inside<'_> {
        Inside { depth: self.depth, refused: self.refused }
    }
}

impl<'de> DeserializeSeed<'de> for Inside<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inside<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, _value: bool) -> Result<Self::Value, E> {
        Ok(Value::Other("a boolean"))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.try_into().map_or(Value::Other("an integer beyond 64 bits"), Value::Integer))
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<Self::Value, E> {
        Ok(Value::Other("a number that is not a plain integer"))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut inside = self.enter()?;
        while array.next_element_seed(inside.one())?.is_some() {}
        Ok(Value::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut inside = self.enter()?;
        let mut keys = BTreeSet::new();
        while let Some(Key(key)) = object.next_key()? {
            if keys.contains(&key) {
                return refuse(inside.refused, reason::DUPLICATE_KEY, format!("{key:?}"));
            }
            keys.insert(key);
            object.next_value_seed(inside.one())?;
        }
        Ok(Value::Other("an object"))
    }
}
