//! Rows and their columns agree, and the comparison of rows is exact.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use watershed::row::Value;

use super::*;

fn geo(latitude: f64) -> Geo {
    Geo {
        country: Some("Bouvet Island (Bouvetoya)".into()),
        coordinates: Some([latitude, 2.0]),
        timestamp: Some(Timestamp(3)),
    }
}

fn values(row: &impl Row) -> Vec<Value> {
    let mut values = Vec::new();
    row.put(&mut values);
    values
}

#[test]
fn a_row_puts_one_value_of_each_column_in_order() {
    let texts = [
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
    let pin = Pin::new(Some(7), texts.map(Some));
    let expected = PIN_COLUMNS[1..].iter().map(|name| match *name {
        "follower_count" => Value::Long(7),
        text => Value::Text(text.into()),
    });
    assert_eq!(values(&pin), expected.collect::<Vec<_>>());
    assert_eq!(
        values(&geo(1.5)),
        [
            Value::Text("Bouvet Island (Bouvetoya)".into()),
            Value::Doubles(vec![1.5, 2.0]),
            Value::Timestamp(3)
        ]
    );
    let user =
        User { user_name: Some("A B".into()), age: Some(-1), date_joined: Some(Timestamp(4)) };
    assert_eq!(values(&user), [Value::Text("A B".into()), Value::Long(-1), Value::Timestamp(4)]);
}

#[test]
fn a_row_has_a_nullable_type_for_each_column() {
    for (columns, names) in [
        (Pin::columns(), &PIN_COLUMNS[1..]),
        (Geo::columns(), &GEO_COLUMNS[1..]),
        (User::columns(), &USER_COLUMNS[1..]),
    ] {
        assert_eq!(columns.len(), names.len(), "{names:?}");
        assert!(columns.iter().all(|(_, nullable)| *nullable), "{names:?}");
    }
    let of_pin: Vec<_> = PIN_COLUMNS[1..]
        .iter()
        .zip(Pin::columns())
        .filter(|(_, (ty, _))| *ty == ColumnType::Long)
        .collect();
    assert_eq!(of_pin, [(&"follower_count", (ColumnType::Long, true))]);
}

#[test]
fn an_empty_row_is_all_null() {
    assert_eq!(values(&Pin::new(None, [None; 9])), vec![Value::Null; 10]);
    assert_eq!(
        values(&Geo { country: None, coordinates: None, timestamp: None }),
        vec![Value::Null; 3]
    );
    assert_eq!(
        values(&User { user_name: None, age: None, date_joined: None }),
        vec![Value::Null; 3]
    );
}

#[test]
fn coordinates_are_compared_bit_by_bit() {
    let hash = |geo: &Geo| BuildHasherDefault::<DefaultHasher>::default().hash_one(geo);
    assert_eq!(geo(1.5), geo(1.5));
    assert_eq!(hash(&geo(1.5)), hash(&geo(1.5)));
    assert_ne!(geo(0.0), geo(-0.0));
    assert_ne!(hash(&geo(0.0)), hash(&geo(-0.0)));
    assert_eq!(BTreeSet::from([geo(0.0), geo(-0.0), geo(0.0), geo(1.0)]).len(), 3);
}

#[test]
fn rows_survive_serde() {
    let pin = Pin::new(
        Some(7),
        [Some("a"), None, Some("…\u{a0}"), None, None, None, None, None, Some("art")],
    );
    let user = User { user_name: None, age: Some(20), date_joined: Some(Timestamp(-1)) };
    let text = serde_json::to_string(&(&pin, &geo(-0.1), &user)).unwrap();
    assert_eq!(serde_json::from_str::<(Pin, Geo, User)>(&text).unwrap(), (pin, geo(-0.1), user));
}

#[test]
fn every_age_is_in_one_group() {
    let groups = [
        (i64::MIN, "under-18"),
        (-1, "under-18"),
        (0, "under-18"),
        (17, "under-18"),
        (18, "18-24"),
        (24, "18-24"),
        (25, "25-35"),
        (35, "25-35"),
        (36, "36-50"),
        (50, "36-50"),
        (51, "50+"),
        (i64::MAX, "50+"),
    ];
    for (age, group) in groups {
        assert_eq!(age_group(age), group, "{age}");
    }
}
