//! Objects that are unwrapped from an array, from base64 or from a string.

use super::dirt::{nested, of_pin, with_ignored};
use super::*;

#[test]
fn an_object_is_unwrapped_once_from_an_array_or_base64() {
    let row = pin(Some(BARE.as_bytes()));
    let quoted = |text: String| format!(r#""{text}""#);
    let array = format!(" [ {BARE} ] ");
    let good = [
        array.clone(),
        base64(BARE),
        base64(&array),
        base64(format!("\n{BARE}\n")),
        quoted(base64(BARE)),
        quoted(base64(&array)),
        format!(" {} ", quoted(base64(BARE))),
        quoted(base64(BARE).replace('e', r"\u0065")),
    ];
    for value in good {
        assert_eq!(pin(Some(value.as_bytes())), row, "{value}");
    }
    let bad = [
        ("[]".into(), reason::NOT_AN_OBJECT),
        (format!("[{BARE},{BARE}]"), reason::NOT_AN_OBJECT),
        (format!("[{BARE},null]"), reason::NOT_AN_OBJECT),
        (format!("[{BARE},]"), reason::INVALID_JSON),
        (format!("[{BARE}"), reason::INVALID_JSON),
        (format!("[{BARE}]]"), reason::INVALID_JSON),
        (format!("[[{BARE}]]"), reason::NOT_AN_OBJECT),
        ("[null]".into(), reason::TOMBSTONE),
        ("[1]".into(), reason::NOT_AN_OBJECT),
        (format!("[{}]", quoted(base64(BARE))), reason::NOT_AN_OBJECT),
        (format!("[{}]", quoted(r"\n".into())), reason::NOT_AN_OBJECT),
        (base64(base64(BARE)), reason::INVALID_JSON),
        (base64(quoted(base64(BARE))), reason::NOT_AN_OBJECT),
        (quoted(base64(base64(BARE))), reason::INVALID_JSON),
        (quoted(base64(quoted(base64(BARE)))), reason::NOT_AN_OBJECT),
        (base64("[]"), reason::NOT_AN_OBJECT),
        (base64(format!("[{BARE},{BARE}]")), reason::NOT_AN_OBJECT),
        (base64(format!("[[{BARE}]]")), reason::NOT_AN_OBJECT),
        (base64(r#"{"index":1}"#), reason::ANOTHER_KIND),
        (base64("null"), reason::TOMBSTONE),
        (quoted(base64(format!("\u{feff}{BARE}"))), reason::BYTE_ORDER_MARK),
        (base64(format!("\u{feff}{BARE}")), reason::NOT_AN_OBJECT),
        (quoted(base64(b"{\"\xff\":0}")), reason::INVALID_UTF8),
        (format!("{}\n", base64(BARE)), reason::INVALID_JSON),
        (base64(BARE).trim_end_matches('=').into(), reason::INVALID_JSON),
        (
            quoted(
                base64(r#"{"index":1,"unique_id":"???>>>"}"#).replace('/', "_").replace('+', "-"),
            ),
            reason::NOT_AN_OBJECT,
        ),
    ];
    assert!(
        base64(BARE).ends_with('=') && base64(r#"{"index":1,"unique_id":"???>>>"}"#).contains('/'),
        "the cases need these"
    );
    for (value, expected) in bad {
        assert_eq!(of_pin(&value).as_deref(), Some(expected), "{value}");
    }
}

#[test]
fn a_string_with_the_json_of_an_object_is_unwrapped_once() {
    let row = pin(Some(BARE.as_bytes()));
    let string = |text: &str| serde_json::to_string(text).unwrap();
    let escaped: String = BARE.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let good = [
        string(BARE),
        string(&format!(" [ {BARE} ] ")),
        string(&format!("\r\n\t{BARE}\n")),
        format!(" {} ", string(BARE)),
        format!("\"{escaped}\""),
    ];
    for value in good {
        assert_eq!(pin(Some(value.as_bytes())), row, "{value}");
    }
    let bad = [
        (string(&string(BARE)), reason::NOT_AN_OBJECT),
        (string(&string(&base64(BARE))), reason::NOT_AN_OBJECT),
        (string(&base64(string(BARE))), reason::NOT_AN_OBJECT),
        (base64(string(BARE)), reason::NOT_AN_OBJECT),
        (format!("[{}]", string(BARE)), reason::NOT_AN_OBJECT),
        (string(&format!("[{}]", string(BARE))), reason::NOT_AN_OBJECT),
        (string("[]"), reason::NOT_AN_OBJECT),
        (string(&format!("[{BARE},{BARE}]")), reason::NOT_AN_OBJECT),
        (string(&format!("[[{BARE}]]")), reason::NOT_AN_OBJECT),
        (string("7 "), reason::NOT_AN_OBJECT),
        (string("index, unique_id"), reason::NOT_AN_OBJECT),
        (string(" null"), reason::TOMBSTONE),
        (string(&BARE[1..]), reason::NOT_AN_OBJECT),
        (string(&BARE[..9]), reason::INVALID_JSON),
        (string(&format!("{BARE}}}")), reason::INVALID_JSON),
        (string(&format!("\u{feff}{BARE}")), reason::BYTE_ORDER_MARK),
        (string(r#"{"index":1,"unique_id":"\ud800"}"#), reason::INVALID_JSON),
        (string(r#"{"index":1,"index":1,"unique_id":null}"#), reason::DUPLICATE_KEY),
        (string(r#"{"index":1}"#), reason::ANOTHER_KIND),
        (string(&with_ignored(&nested(64, "[", "]"))), reason::NESTED_TOO_DEEPLY),
    ];
    for (value, expected) in bad {
        assert_eq!(of_pin(&value).as_deref(), Some(expected), "{value}");
    }
    assert_eq!(of_pin(&string(&with_ignored(&nested(63, "[", "]")))), None);
    let geo_of = |text: &str| geo(Some(string(text).as_bytes()));
    assert!(geo_of(r#"{"ind":1,"timestamp":null}"#).is_ok());
    assert!(user(Some(string(r#"{"ind":1,"date_joined":null}"#).as_bytes())).is_ok());
}
