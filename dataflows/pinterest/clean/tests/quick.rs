//! The quick reader against the strict one: it may refuse any object, but reads none otherwise.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::clean::json::{Fields, Shape, strict};
use crate::clean::{GEO, PIN, USER, quick};

/// Reads `text` with both; returns whether the quick reader took it.
fn is_taken<const N: usize>(text: &str, shape: &Shape<N>) -> bool {
    let mut found: Fields<'_, N> = [const { None }; N];
    if quick::object(text, shape, &mut found).is_none() {
        return false;
    }
    let mut expected: Fields<'_, N> = [const { None }; N];
    let object = strict(text, shape, &mut expected);
    assert!(matches!(object, Ok(None)), "{text}: {object:?}");
    assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{text}");
    true
}

/// A value in JSON, or a text that is nearly one.
fn value() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "null",
        "nul",
        "true",
        "0",
        "-0",
        "-0.0",
        "00",
        "01",
        "-",
        "1.",
        "1.50",
        ".5",
        "1e5",
        "1E-5",
        "-7",
        "999999999999999999",
        "9223372036854775807",
        "9223372036854775808",
        "1e999",
        "[]",
        "{}",
        "\"\"",
        "\"\\\"",
        "\"a\\u0041\\\\\"",
        "\"\\ud83d\"",
        "\"\\ud83d\\ude00\"",
        "\"\\x\"",
        "\"\u{1}\"",
        "\"\u{7f}\u{80}\u{20ac}\"",
        "\"a string that has an \\\"escape\\\" in it\"",
    ]);
    prop_oneof![
        3 => odd.prop_map(String::from),
        2 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<f64>().prop_map(|n| n.to_string()),
    ]
}

/// An object of fields that mostly come in the order of `names`, and at times a byte that is wrong.
fn object(names: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let blank = select(vec!["", "", "", " ", "\n", "\t ", "\u{a0}"]);
    let fields = vec(option::weighted(0.9, (value(), blank)), names.len());
    let names = names.to_vec();
    let swap = option::weighted(0.1, (any::<Index>(), any::<Index>()));
    let edit = option::weighted(0.3, (any::<Index>(), select(vec!["", "\"", "\\", "}", ",", "é"])));
    (fields, swap, edit).prop_map(move |(fields, swap, edit)| {
        let mut fields: Vec<String> = names
            .iter()
            .zip(fields)
            .filter_map(|(name, field)| {
                let (value, blank) = field?;
                Some(format!("\"{name}\"{blank}:{blank}{value}{blank}"))
            })
            .collect();
        if let (Some((one, other)), false) = (swap, fields.is_empty()) {
            let (one, other) = (one.index(fields.len()), other.index(fields.len()));
            fields[one] = fields[other].clone();
        }
        let mut text: Vec<char> = format!("{{{}}}", fields.join(",")).chars().collect();
        if let Some((at, with)) = edit {
            let at = at.index(text.len());
            text.splice(at..at + 1, with.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    // PROPTEST_CASES may ask for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    #[test]
    fn an_object_is_the_same_for_both_readers(
        pin in object(&PIN.fields),
        geo in object(&GEO.fields),
        user in object(&USER.fields),
    ) {
        is_taken(&pin, &PIN);
        is_taken(&geo, &GEO);
        is_taken(&user, &USER);
    }

    #[test]
    fn a_string_ends_at_the_same_place_for_both_readers(
        text in "[ -~\u{0}-\u{1f}é€😀\"\\\\]{0,40}",
        tail in "[a\"\\\\]{0,9}",
    ) {
        let raw = format!("{{\"index\":1,\"unique_id\":\"{text}{tail}\"}}");
        is_taken(&raw, &PIN);
        let escaped = format!("{{\"index\":1,\"unique_id\":{}}}", serde_json::json!(text));
        prop_assert!(is_taken(&escaped, &PIN), "{escaped}");
    }
}

#[test]
fn the_usual_record_needs_no_parser() {
    let pin = r#"{"index":63056,"unique_id":"69b857a6","title":"60 Clever shirts",
        "description":"A \"five minute\" version… ","poster_name":null,"follower_count":"14M",
        "tag_list":"Denim","is_image_or_video":"image","image_src":"https://i.example.com/1.jpg",
        "downloaded":1,"save_location":"Local save in /data/mens-fashion",
        "category":"mens-fashion"}"#;
    let geo = r#" { "ind": 7528, "timestamp": "2020-08-28T03:52:47", "latitude": -89.9787,
        "longitude": 0, "country": "Albania" } "#;
    let user = r#"{"ind":7528,"first_name":"Abigail","last_name":"Ali","age":20,
        "date_joined":"2015-10-24 11:23:51"}"#;
    assert!(is_taken(pin, &PIN) && is_taken(geo, &GEO) && is_taken(user, &USER));
}

#[test]
fn numbers_with_two_readings_are_left_to_the_parser() {
    for number in ["-0", "01", "1.0", "1e5", "9223372036854775807", "-", "+1"] {
        assert!(!is_taken(&format!("{{\"index\":{number},\"unique_id\":null}}"), &PIN), "{number}");
    }
    for number in ["-00", ".5", "1.", "1e5", "\"1\"", "NaN"] {
        assert!(!is_taken(&format!("{{\"ind\":1,\"latitude\":{number}}}"), &GEO), "{number}");
    }
}
