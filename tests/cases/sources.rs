//! The topics of a case as streams and tables.

use watershed::prelude::*;
use watershed::record::Record;

use super::value::{Dyn, Key};

/// Reads records as a stream. A null is a value.
pub(super) fn records() -> Consumed<Dyn, Dyn> {
    Consumed::from_record(|record: &Record<'_>| {
        let read = |bytes: Option<&[u8]>| bytes.map_or(Dyn::Null, Dyn::read);
        Ok((read(record.key), Some(read(record.value))))
    })
}

/// Reads records as a table. A null value deletes, and a null key is dropped.
pub(super) fn rows<K: Key>(key: fn(Dyn) -> Result<K, Reject>) -> Consumed<K, Dyn> {
    Consumed::from_record(move |record: &Record<'_>| {
        let bytes = record.key.ok_or_else(|| Reject::new("null key", "a row needs a key"))?;
        let value = record.value.map(Dyn::read).map(|value| match &value {
            Dyn::Object(fields) if fields.len() == 2 && fields.contains_key("old") => {
                fields.get("new").cloned().unwrap_or_default()
            }
            _ => value,
        });
        Ok((key(Dyn::read(bytes))?, value.filter(|value| !value.is_null())))
    })
}

pub(super) fn window(key: Dyn) -> Result<Windowed<Dyn>, Reject> {
    match key {
        Dyn::Window(key, start, end) => {
            let (start, end) = (Timestamp::from_millis(start), Timestamp::from_millis(end));
            Ok(Windowed { key: *key, start, end })
        }
        key => Err(Reject::new("no window", key.shown())),
    }
}

/// Matches a topic with a pattern of letters, `\d` and `[A-Z]`.
pub(super) fn matches(pattern: &str, topic: &str) -> bool {
    let tail = |head: &str| pattern.strip_prefix(head).zip(topic.chars().next());
    match (tail("\\d"), tail("[A-Z]"), tail("")) {
        (Some((rest, letter)), ..) => letter.is_ascii_digit() && matches(rest, &topic[1..]),
        (_, Some((rest, letter)), _) => letter.is_ascii_uppercase() && matches(rest, &topic[1..]),
        (.., Some((rest, letter))) => {
            rest.starts_with(letter)
                && matches(&rest[letter.len_utf8()..], &topic[letter.len_utf8()..])
        }
        _ => pattern.is_empty(),
    }
}
