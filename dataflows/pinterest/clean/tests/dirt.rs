//! Values that are no record, values that can be unwrapped, and the first of two reasons.

use super::*;

/// The reason for which a pin is refused; `None` if it is good.
pub(super) fn of_pin(value: &str) -> Option<String> {
    reason_of(pin(Some(value.as_bytes())))
}

/// `{"index":1,"unique_id":null,"x":` `value` `}`.
pub(super) fn with_ignored(value: &str) -> String {
    format!(r#"{},"x":{value}}}"#, &BARE[..BARE.len() - 1])
}

pub(super) fn nested(depth: usize, open: &str, close: &str) -> String {
    format!("{}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn a_tombstone_is_a_dead_letter() {
    assert_eq!(reason_of(pin(None)).as_deref(), Some(reason::TOMBSTONE));
    assert_eq!(reason_of(geo(None)).as_deref(), Some(reason::TOMBSTONE));
    assert_eq!(reason_of(user(None)).as_deref(), Some(reason::TOMBSTONE));
}

#[test]
fn a_record_belongs_to_the_topic_of_its_field() {
    let records = [
        r#"{"index":1,"unique_id":null}"#,
        r#"{"ind":1,"timestamp":null}"#,
        r#"{"ind":1,"date_joined":null}"#,
        r#"{"ind":1}"#,
        "{}",
        r#"{"ind":"x","unique_ID":"x","Timestamp":1,"date_joined ":2}"#,
    ];
    for (i, record) in records.into_iter().enumerate() {
        let value = Some(record.as_bytes());
        let reasons = [reason_of(pin(value)), reason_of(geo(value)), reason_of(user(value))];
        for (kind, found) in reasons.iter().enumerate() {
            assert_eq!(
                found.as_deref(),
                (kind != i).then_some(reason::ANOTHER_KIND),
                "{record} as {kind}"
            );
        }
    }
    let all = Some(&br#"{"ind":1,"unique_id":null,"timestamp":null,"date_joined":null}"#[..]);
    assert!(pin(all).is_ok() && geo(all).is_ok() && user(all).is_ok());
}

#[test]
fn ind_is_an_integer_and_takes_precedence_over_index() {
    let good = [
        (r#""ind":7"#, 7),
        (r#""index":7"#, 7),
        (r#""ind":7,"index":8"#, 7),
        (r#""index":8,"ind":7"#, 7),
        (r#""ind":null,"index":8"#, 8),
        (r#""index":null,"ind":7"#, 7),
        (r#""ind":7,"index":"x""#, 7),
        (r#""\u0069nd":7"#, 7),
        (r#""ind":-7"#, -7),
        (r#""ind":0"#, 0),
        (r#""ind":9007199254740993"#, 9_007_199_254_740_993),
        (r#""ind":9223372036854775807"#, i64::MAX),
        (r#""ind":-9223372036854775808"#, i64::MIN),
    ];
    for (fields, expected) in good {
        assert_eq!(
            pin(Some(format!(r#"{{{fields},"unique_id":"u"}}"#).as_bytes())).unwrap().0,
            expected,
            "{fields}"
        );
        assert_eq!(
            geo(Some(format!(r#"{{{fields},"timestamp":null}}"#).as_bytes())).unwrap().0,
            expected,
            "{fields}"
        );
        assert_eq!(
            user(Some(format!(r#"{{"date_joined":null,{fields}}}"#).as_bytes())).unwrap().0,
            expected,
            "{fields}"
        );
    }
    let bad = [
        (r#""title":null"#, reason::NO_IND),
        (r#""ind":null"#, reason::NO_IND),
        (r#""index":null"#, reason::NO_IND),
        (r#""ind":null,"index":null"#, reason::NO_IND),
        (r#""Ind":7"#, reason::NO_IND),
        (r#""ind":"7528""#, reason::BAD_IND),
        (r#""ind":"7528","index":1"#, reason::BAD_IND),
        (r#""ind":null,"index":"1""#, reason::BAD_IND),
        (r#""ind":"","index":1"#, reason::BAD_IND),
        (r#""ind":7528.0"#, reason::BAD_IND),
        (r#""ind":7e3"#, reason::BAD_IND),
        (r#""ind":-0"#, reason::BAD_IND),
        (r#""ind":true"#, reason::BAD_IND),
        (r#""ind":[7]"#, reason::BAD_IND),
        (r#""ind":{}"#, reason::BAD_IND),
        (r#""ind":9223372036854775808"#, reason::BAD_IND),
        (r#""ind":-9223372036854775809"#, reason::BAD_IND),
        (r#""ind":07"#, reason::INVALID_JSON),
        (r#""ind":+7"#, reason::INVALID_JSON),
        (r#""ind":1e400"#, reason::INVALID_JSON),
    ];
    for (fields, expected) in bad {
        assert_eq!(
            of_pin(&format!(r#"{{{fields},"unique_id":"u"}}"#)).as_deref(),
            Some(expected),
            "{fields}"
        );
    }
}

#[test]
fn downloaded_and_unknown_fields_may_have_any_strict_json() {
    let good = [
        "0",
        "1",
        "null",
        "true",
        r#""x""#,
        "-0",
        "1.5e3",
        "1e-999",
        "[]",
        r#"[{"a":[1,{}]},{"a":2}]"#,
        "12345678901234567890123",
    ];
    let bad = [
        (r#"{"a":1,"a":1}"#, reason::DUPLICATE_KEY),
        (r#"[[{"a":{"b":1,"c":2,"b":3}}]]"#, reason::DUPLICATE_KEY),
        (r#"{"a":1,"\u0061":1}"#, reason::DUPLICATE_KEY),
        (r#"{"":1,"":1}"#, reason::DUPLICATE_KEY),
        ("1e400", reason::INVALID_JSON),
        ("[-1e999]", reason::INVALID_JSON),
        (r#""\ud800""#, reason::INVALID_JSON),
        (r#""\udc00""#, reason::INVALID_JSON),
        (r#""\ud800\u0041""#, reason::INVALID_JSON),
        (r#"{"\ud800":1}"#, reason::INVALID_JSON),
        (r#""\q""#, reason::INVALID_JSON),
        ("\"a\nb\"", reason::INVALID_JSON),
        ("\"\u{0}\"", reason::INVALID_JSON),
        ("nul", reason::INVALID_JSON),
        ("True", reason::INVALID_JSON),
        ("NaN", reason::INVALID_JSON),
        ("'x'", reason::INVALID_JSON),
        ("01", reason::INVALID_JSON),
        ("[1,]", reason::INVALID_JSON),
        (r#"{"a":1,}"#, reason::INVALID_JSON),
        (r#"{a:1}"#, reason::INVALID_JSON),
        ("[1}", reason::INVALID_JSON),
        ("", reason::INVALID_JSON),
    ];
    for value in good {
        assert_eq!(of_pin(&with_ignored(value)), None, "{value}");
        assert_eq!(
            of_pin(&with_ignored(value).replace(r#""x":"#, r#""downloaded":"#)),
            None,
            "{value}"
        );
    }
    for (value, expected) in bad {
        assert_eq!(of_pin(&with_ignored(value)).as_deref(), Some(expected), "{value}");
        assert_eq!(
            of_pin(&with_ignored(value).replace(r#""x":"#, r#""downloaded":"#)).as_deref(),
            Some(expected),
            "{value}"
        );
    }
}

#[test]
fn a_duplicate_key_is_refused_with_any_value() {
    let doubled = [
        r#"{"index":1,"unique_id":null,"index":1}"#,
        r#"{"index":1,"unique_id":null,"unique_id":null}"#,
        r#"{"index":1,"unique_id":null,"title":null,"title":"x"}"#,
        r#"{"index":1,"unique_id":null,"x":1,"y":2,"x":1}"#,
        r#"{"index":1,"unique_id":null,"titl\u0065":"x","title":"x"}"#,
        r#"{"index":1,"unique_id":null,"downloaded":0,"downloaded":0}"#,
        r#"[{"index":1,"unique_id":null,"downloaded":0,"downloaded":0}]"#,
    ];
    for record in doubled {
        assert_eq!(of_pin(record).as_deref(), Some(reason::DUPLICATE_KEY), "{record}");
    }
    let twice = br#"{"ind":1,"timestamp":null,"latitude":null,"latitude":null}"#;
    assert_eq!(reason_of(geo(Some(twice))).as_deref(), Some(reason::DUPLICATE_KEY));
    assert_eq!(of_pin(&with_ignored(r#"{"x":{"x":1}}"#)), None);
}

#[test]
fn nesting_is_at_most_64_with_the_record_itself() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let value =
            |depth| with_ignored(&format!("{}0{}", open.repeat(depth), close.repeat(depth)));
        let (deepest, too_deep) = (value(63), value(64));
        assert_eq!(of_pin(&deepest), None);
        assert_eq!(of_pin(&format!("[{deepest}]")), None);
        assert_eq!(of_pin(&base64(format!("[{deepest}]"))), None);
        assert_eq!(of_pin(&too_deep).as_deref(), Some(reason::NESTED_TOO_DEEPLY));
        assert_eq!(of_pin(&format!("[{too_deep}]")).as_deref(), Some(reason::NESTED_TOO_DEEPLY));
        assert_eq!(
            of_pin(&with_ignored(&open.repeat(100_000))).as_deref(),
            Some(reason::NESTED_TOO_DEEPLY)
        );
    }
    assert_eq!(of_pin(&nested(100_000, "[", "]")).as_deref(), Some(reason::NOT_AN_OBJECT));
    let deep = format!(r#"{{"ind":1,"timestamp":null,"latitude":{}}}"#, nested(100_000, "[", "]"));
    assert_eq!(reason_of(geo(Some(deep.as_bytes()))).as_deref(), Some(reason::WRONG_TYPE));
}

#[test]
fn a_record_has_at_most_a_mebibyte() {
    let of_size = |size: usize| format!("{BARE}{}", " ".repeat(size - BARE.len()));
    assert_eq!(of_pin(&of_size(1 << 20)), None);
    assert_eq!(of_pin(&of_size((1 << 20) + 1)).as_deref(), Some(reason::TOO_LARGE));
    assert_eq!(
        reason_of(pin(Some(&vec![0xff; (1 << 20) + 1]))).as_deref(),
        Some(reason::TOO_LARGE)
    );
    let wide = format!(r#"{{"index":1,"unique_id":"{}"}}"#, "é".repeat(500_000));
    assert_eq!(of_pin(&wide), None);
}

#[test]
fn many_unknown_keys_take_linear_time() {
    let keys: String = (0..80_000).map(|i| format!(r#","{i}":0"#)).collect();
    assert_eq!(of_pin(&format!(r#"{}{keys}}}"#, &BARE[..BARE.len() - 1])), None);
}

#[test]
fn bytes_that_are_no_json_object_are_dead_letters() {
    let cases: [(&[u8], &str); 26] = [
        (b"", reason::INVALID_JSON),
        (b" \n", reason::INVALID_JSON),
        (b"hello", reason::INVALID_JSON),
        (b"hello world", reason::INVALID_JSON),
        (b"index,unique_id", reason::INVALID_JSON),
        (b"{", reason::INVALID_JSON),
        (br#"{"index":1,"unique_id":null"#, reason::INVALID_JSON),
        (br#"{"index":1,"unique_id":null}}"#, reason::INVALID_JSON),
        (br#"{"index":1,"unique_id":null} x"#, reason::INVALID_JSON),
        (br#"{"index":1,"unique_id":null}{"index":1,"unique_id":null}"#, reason::INVALID_JSON),
        (b"{\"index\":1,\"unique_id\":null}\0", reason::INVALID_JSON),
        (b"{\"index\":1,\"unique_id\":null}\xc2\xa0", reason::INVALID_JSON),
        (br#"{"index":1,"unique_id":null,}"#, reason::INVALID_JSON),
        (br#"{'index':1,'unique_id':null}"#, reason::INVALID_JSON),
        (b"\xef\xbb\xbf{\"index\":1,\"unique_id\":null}", reason::BYTE_ORDER_MARK),
        (b"\xef\xbb\xbf", reason::BYTE_ORDER_MARK),
        (b"{\"index\":1,\"unique_id\":\"\xff\"}", reason::INVALID_UTF8),
        (b"{\"index\":1,\"unique_id\":null,\"x\":\"\xed\xa0\x80\"}", reason::INVALID_UTF8),
        (b"{\"index\":1,\"unique_id\":null}\x80", reason::INVALID_UTF8),
        (b"\xff\xfe{\0", reason::INVALID_UTF8),
        (b" null ", reason::TOMBSTONE),
        (b"true", reason::NOT_AN_OBJECT),
        (b"1234", reason::NOT_AN_OBJECT),
        (b"-1.5", reason::NOT_AN_OBJECT),
        (b"\"\"", reason::INVALID_JSON),
        (b"\"hello world\"", reason::NOT_AN_OBJECT),
    ];
    for (bytes, expected) in cases {
        assert_eq!(
            reason_of(pin(Some(bytes))).as_deref(),
            Some(expected),
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(of_pin(&format!("\r\n\t {BARE} \n")), None);
}

#[test]
fn a_record_fails_by_its_kind_then_its_ind_then_its_columns() {
    let cases = [
        (r#"{"index":"x","title":1}"#, reason::ANOTHER_KIND),
        (r#"{"index":"x","title":1,"unique_id":2}"#, reason::BAD_IND),
        (r#"{"title":1,"unique_id":2}"#, reason::NO_IND),
        (r#"{"index":1,"title":1,"unique_id":2}"#, reason::WRONG_TYPE),
        (r#"{"index":"x","title":1,"x":[}"#, reason::INVALID_JSON),
    ];
    for (record, expected) in cases {
        assert_eq!(of_pin(record).as_deref(), Some(expected), "{record}");
    }
}

#[test]
fn the_detail_names_the_field_and_is_short() {
    let cases = [
        (r#"{"index":1,"unique_id":null,"title":[1]}"#, "title is an array"),
        (r#"{"index":1,"unique_id":null,"follower_count":437}"#, "follower_count is an integer"),
        (r#"{"index":1,"unique_id":null,"follower_count":"1.5"}"#, r#""1.5""#),
        (r#"{"index":7528.0,"unique_id":null}"#, "it is a number that is not a plain integer"),
        (r#"{"index":1}"#, "unique_id is missing"),
        (r#"{"index":1,"index":1}"#, r#""index""#),
        ("[1]", "invalid type: integer `1`, expected an object at line 1 column 2"),
    ];
    for (record, expected) in cases {
        assert_eq!(why(pin(Some(record.as_bytes()))).unwrap().1, expected, "{record}");
    }
    let long = format!(r#"{{"index":1,"unique_id":null,"follower_count":"{}"}}"#, "é".repeat(1000));
    assert_eq!(why(pin(Some(long.as_bytes()))).unwrap().1.chars().count(), 200);
}
