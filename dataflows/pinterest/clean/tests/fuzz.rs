//! Laws of cleaning on generated records: it never panics, and a row changes only by the rules.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};
use watershed::Timestamp;
use watershed::serdes::Reject;

use crate::clean::{geo, pin, user, values};
use crate::model::{Geo, Pin, User};

/// A text of every kind that matters, or null.
fn text() -> impl Strategy<Value = Value> {
    let special = select(vec![
        "",
        " ",
        "\u{a0}",
        "User Info Error",
        "Untitled",
        "Image src error.",
        "Local save in /data/art",
        "\"\\/\u{7f}",
    ]);
    let text = prop_oneof![
        3 => any::<String>(),
        2 => special.prop_map(String::from),
        1 => Just("🎨 …\u{a0}".into()),
    ];
    option::of(text).prop_map(Value::from)
}

fn followers() -> impl Strategy<Value = Value> {
    option::of("[0-9]{1,7}(\\.[0-9]{1,3}[kKmMbB]| ?[kKmMbB])?").prop_map(Value::from)
}

/// A date in one of the five formats.
fn date() -> impl Strategy<Value = (String, i64)> {
    let formats = [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S",
        "%m/%d/%Y, %H:%M:%S",
        "%Y:%m:%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S%.6fZ",
    ];
    (-62_135_596_800_000_000i64..253_402_300_800_000_000, select(formats.to_vec())).prop_map(
        |(micros, format)| {
            let whole = if format.ends_with('Z') {
                micros
            } else {
                micros.div_euclid(1_000_000) * 1_000_000
            };
            (
                DateTime::<Utc>::from_timestamp_micros(whole).unwrap().format(format).to_string(),
                whole,
            )
        },
    )
}

fn object(fields: Vec<(&str, Value)>) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn a_pin() -> impl Strategy<Value = Map<String, Value>> {
    (any::<i64>(), vec(text(), 9), followers()).prop_map(|(ind, texts, followers)| {
        let names = [
            "unique_id",
            "title",
            "description",
            "poster_name",
            "tag_list",
            "is_image_or_video",
            "image_src",
            "save_location",
            "category",
        ];
        let mut pin = object(names.into_iter().zip(texts).collect());
        pin.extend(object(vec![("index", json!(ind)), ("follower_count", followers)]));
        pin
    })
}

fn a_geo() -> impl Strategy<Value = Map<String, Value>> {
    (any::<i64>(), option::of(date()), option::of(-90.0..90.0), option::of(any::<i16>()), text())
        .prop_map(|(ind, date, latitude, longitude, country)| {
            let date = date.map(|(text, _)| text);
            object(vec![
                ("ind", json!(ind)),
                ("timestamp", json!(date)),
                ("latitude", json!(latitude)),
                ("longitude", json!(longitude)),
                ("country", country),
            ])
        })
}

fn a_user() -> impl Strategy<Value = Map<String, Value>> {
    (any::<i64>(), text(), text(), option::of(any::<i64>()), option::of(date())).prop_map(
        |(ind, first, last, age, date)| {
            let date = date.map(|(text, _)| text);
            object(vec![
                ("ind", json!(ind)),
                ("first_name", first),
                ("last_name", last),
                ("age", json!(age)),
                ("date_joined", json!(date)),
            ])
        },
    )
}

fn a_record() -> impl Strategy<Value = Map<String, Value>> {
    prop_oneof![a_pin(), a_geo(), a_user()]
}

/// Returns the result of `bytes` as each kind of record, for comparison.
type All = (Result<(i64, Pin), Reject>, Result<(i64, Geo), Reject>, Result<(i64, User), Reject>);

fn all(bytes: &[u8]) -> All {
    (pin(Some(bytes)), geo(Some(bytes)), user(Some(bytes)))
}

fn good(all: &All) -> usize {
    usize::from(all.0.is_ok()) + usize::from(all.1.is_ok()) + usize::from(all.2.is_ok())
}

/// Returns the rows, without the reasons for which there are none.
fn rows(all: All) -> (Option<(i64, Pin)>, Option<(i64, Geo)>, Option<(i64, User)>) {
    (all.0.ok(), all.1.ok(), all.2.ok())
}

/// A text of tokens of JSON, and of fields that records have.
const JSON_LIKE: &str = concat!(
    r#"[\[{ ]{0,3}("(ind|timestamp|unique_id|\\u0069nd)""#,
    r#"|[{}\[\],:"\\0-9.eE+\-ntf ]|null|true){0,40}"#,
);

/// A text that is nearly a date.
const DATE_LIKE: &str = concat!(
    "[0-9]{2,4}[-:/][0-9]{2}[-:/][0-9]{2,4},?[ T][0-9]{2}:[0-9]{2}:[0-9]{2}",
    "(\\.[0-9]{0,7})?(Z|[+-]0?0:?00)?",
);

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let entries = vec((any::<String>(), inner.clone()), 0..4)
            .prop_map(|entries| Value::Object(entries.into_iter().collect()));
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), entries]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_cleaned_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(good(&all(&bytes)), 0);
        let _ = all(STANDARD.encode(&bytes).as_bytes());
    }

    #[test]
    fn any_json_like_text_is_cleaned_or_refused(text in JSON_LIKE) {
        let _ = all(text.as_bytes());
    }

    #[test]
    fn a_mutated_record_is_cleaned_or_refused(
        record in a_record(),
        changes in vec((any::<Index>(), any::<Option<u8>>()), 1..4),
    ) {
        let mut bytes = serde_json::to_vec(&record).unwrap();
        for (at, change) in changes {
            let at = at.index(bytes.len());
            match change {
                Some(byte) => bytes[at] = byte,
                None => { bytes.remove(at); }
            }
        }
        let found = all(&bytes);
        let reasons = [found.0.err(), found.1.err(), found.2.err()];
        prop_assert!(reasons.iter().flatten().all(|reject| reject.detail.chars().count() <= 200));
        if str::from_utf8(&bytes).is_err() || serde_json::from_slice::<Value>(&bytes).is_err() {
            prop_assert!(reasons.iter().all(Option::is_some));
        }
    }

    #[test]
    fn a_cut_record_is_refused(record in a_record(), at in any::<Index>()) {
        let bytes = serde_json::to_vec(&record).unwrap();
        prop_assert_eq!(good(&all(&bytes[..at.index(bytes.len())])), 0);
    }

    #[test]
    fn a_record_is_good_in_its_own_topic_alone_and_wrapped_the_same(record in a_record()) {
        let text = Value::Object(record).to_string();
        let found = all(text.as_bytes());
        prop_assert_eq!(good(&found), 1);
        let array = format!("[{text}]");
        for inside in [&text, &array] {
            let coded = STANDARD.encode(inside);
            let texts = [inside, &format!("\"{coded}\""), &coded, &format!(" {inside}\n")];
            for outside in texts {
                prop_assert_eq!(rows(all(outside.as_bytes())), rows(found.clone()));
            }
            prop_assert_eq!(good(&all(STANDARD.encode(&coded).as_bytes())), 0);
        }
        prop_assert_eq!(good(&all(format!("[{text},{text}]").as_bytes())), 0);
        prop_assert_eq!(good(&all(format!("[[{text}]]").as_bytes())), 0);
    }

    #[test]
    fn neither_order_nor_escapes_nor_other_fields_change_a_row(
        record in a_record(),
        other in json(),
        turn in any::<Index>(),
    ) {
        let found = all(Value::Object(record.clone()).to_string().as_bytes());
        let field = |(name, value): (&String, &Value)| format!("{} : {value}", escaped(name));
        let mut fields: Vec<String> = record.iter().map(field).collect();
        fields.push(format!("\"another\":{other}"));
        let turn = turn.index(fields.len());
        fields.rotate_left(turn);
        let same = all(format!("{{{}}}", fields.join(",\n")).as_bytes());
        prop_assert_eq!(rows(same), rows(found));
        let twice = format!("{{{},{}}}", fields.join(","), fields[0]);
        prop_assert_eq!(good(&all(twice.as_bytes())), 0);
    }

    #[test]
    fn a_date_means_the_same_in_every_format((text, micros) in date()) {
        prop_assert_eq!(values::timestamp(&text), Some(Timestamp(micros)));
    }

    #[test]
    fn any_text_is_a_date_or_none(text in DATE_LIKE) {
        values::timestamp(&text);
    }

    #[test]
    fn a_follower_count_is_exact(
        whole in prop_oneof![0u64..10_000, 0u64..10_000_000_000_000_000],
        fraction in "(\\.[0-9]{1,12})?",
        blank in "[ \t]?",
        unit in select(vec!["", "k", "K", "m", "M", "b", "B"]),
    ) {
        let power: u32 = match unit { "" => 0, "k" | "K" => 3, "m" | "M" => 6, _ => 9 };
        // In units of 10^-12, where every fraction is whole.
        const UNIT: u128 = 10u128.pow(12);
        let part: u128 = format!("{:0<12}", fraction.trim_start_matches('.')).parse().unwrap();
        let scaled = (u128::from(whole) * UNIT + part) * 10u128.pow(power);
        let exact = i64::try_from(scaled / UNIT).ok().filter(|_| scaled.is_multiple_of(UNIT));
        let blank = if unit.is_empty() { "" } else { blank.as_str() };
        prop_assert_eq!(values::follower_count(&format!("{whole}{fraction}{blank}{unit}")), exact);
    }
}

/// `name` as a JSON string, its first character escaped.
fn escaped(name: &str) -> String {
    format!("\"\\u{:04x}{}\"", name.as_bytes()[0], &name[1..])
}
