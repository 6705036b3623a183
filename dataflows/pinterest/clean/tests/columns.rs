//! Each column with the values that it may have.

use super::*;

#[test]
fn a_complete_record_of_each_kind_becomes_its_row() {
    let record = r#"{"index": 7528, "unique_id": "fbe53c66-3442-4773-b19e-d3ec6f54dddf",
        "title": "No Title Data Available", "description": "Цвет \ud83c\udfa8 of  the\nyear…\u00a0",
        "poster_name": "Of Life & Lisa | Lifestyle Blog ", "follower_count": "124k",
        "tag_list": "a, b,c", "is_image_or_video": "multi-video(story page format)",
        "image_src": "https://i.pinimg.com/x.jpg", "downloaded": 1,
        "save_location": "Local save in /data/mens-fashion", "category": "mens-fashion"}"#;
    let (ind, row) = pin(Some(record.as_bytes())).unwrap();
    assert_eq!(ind, 7528);
    let expected = [
        text("fbe53c66-3442-4773-b19e-d3ec6f54dddf"),
        Value::Null,
        text("Цвет 🎨 of  the\nyear…\u{a0}"),
        Value::Long(124_000),
        text("Of Life & Lisa | Lifestyle Blog "),
        text("a, b,c"),
        text("multi-video(story page format)"),
        text("https://i.pinimg.com/x.jpg"),
        text("/data/mens-fashion"),
        text("mens-fashion"),
    ];
    assert_eq!(values(&row), expected);

    let record = r#"{"ind": -3, "timestamp": "2020-08-28 03:52:47", "latitude": -89.9787,
        "longitude": -173.293, "country": "Cote d'Ivoire"}"#;
    let (ind, row) = geo(Some(record.as_bytes())).unwrap();
    assert_eq!(ind, -3);
    assert_eq!(
        values(&row),
        [
            text("Cote d'Ivoire"),
            Value::Doubles(vec![-89.9787, -173.293]),
            Value::Timestamp(1_598_586_767_000_000)
        ]
    );

    let record = r#"{"ind": 7, "first_name": "Rachel", "last_name": "Davis", "age": 36,
        "date_joined": "2015-12-08 20:02:43"}"#;
    let (ind, row) = user(Some(record.as_bytes())).unwrap();
    assert_eq!(ind, 7);
    assert_eq!(
        values(&row),
        [text("Rachel Davis"), Value::Long(36), Value::Timestamp(1_449_604_963_000_000)]
    );
}

#[test]
fn a_good_ind_with_all_else_null_is_a_good_record() {
    assert_eq!(pin(Some(BARE.as_bytes())), Ok((1, Pin::new(None, [None; 9]))));
    let nulls = br#"{"ind":1,"timestamp":null,"latitude":null,"longitude":null,"country":null}"#;
    assert_eq!(
        geo(Some(nulls)),
        Ok((1, Geo { country: None, coordinates: None, timestamp: None }))
    );
    let nulls = br#"{"ind":1,"first_name":null,"last_name":null,"age":null,"date_joined":null}"#;
    assert_eq!(user(Some(nulls)), Ok((1, User { user_name: None, age: None, date_joined: None })));
}

#[test]
fn a_text_for_no_data_is_null_in_its_own_column_only() {
    let no_data = [
        ("title", "No Title Data Available"),
        ("description", "No description available"),
        ("description", "No description available Story format"),
        ("description", "Untitled"),
        ("poster_name", "User Info Error"),
        ("tag_list", "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"),
        ("image_src", "Image src error."),
        ("image_src", "Image src error"),
    ];
    for (own, value) in no_data {
        for name in PIN_TEXTS.into_iter().chain(["country"]) {
            let is_null = name == own;
            let expected = if is_null { Value::Null } else { text(value) };
            assert_eq!(
                column(name, &format!(r#""{name}":"{value}""#)),
                Ok(expected),
                "{value} as {name}"
            );
        }
        for changed in
            [value.to_lowercase(), format!("{value} "), format!(" {value}"), format!("{value}..")]
        {
            assert_eq!(
                column(own, &format!(r#""{own}":"{changed}""#)),
                Ok(text(&changed)),
                "{own}"
            );
        }
    }
    assert_eq!(column("follower_count", r#""follower_count":"User Info Error""#), Ok(Value::Null));
    assert_eq!(
        column("user_name", r#""first_name":"Untitled","last_name":"User Info Error""#),
        Ok(text("Untitled User Info Error"))
    );
}

#[test]
fn blank_text_is_null_and_other_text_is_not_trimmed() {
    let columns = PIN_TEXTS.into_iter().chain(["country"]).map(|name| (name, name));
    for (name, field) in columns.chain([("user_name", "first_name"), ("user_name", "last_name")]) {
        for blank in
            ["", " ", "  ", r"\t\r\n", "\u{a0}", r"\u00a0 \u3000", "\u{2003}\u{2028}", r"\u0085"]
        {
            assert_eq!(
                column(name, &format!(r#""{field}":"{blank}""#)),
                Ok(Value::Null),
                "{field} {blank:?}"
            );
        }
        for kept in [" x ", "\u{200b}", "\u{a0}x", "\u{feff}"] {
            assert_eq!(
                column(name, &format!(r#""{field}":"{kept}""#)),
                Ok(text(kept)),
                "{field} {kept:?}"
            );
        }
        assert_eq!(column(name, &format!(r#""{field}":null"#)), Ok(Value::Null), "{field}");
    }
    assert_eq!(column("follower_count", r#""follower_count":" \u00a0""#), Ok(Value::Null));
}

#[test]
fn a_column_of_another_json_type_is_a_dead_letter() {
    let texts = PIN_TEXTS
        .into_iter()
        .chain(["country", "timestamp", "follower_count", "date_joined"])
        .map(|name| (name, name));
    for (name, field) in texts.chain([("user_name", "first_name"), ("user_name", "last_name")]) {
        for value in ["0", "437", "-1.5", "true", "[]", "{}", r#"["x"]"#, "18446744073709551615"] {
            let why = why(column(name, &format!(r#""{field}":{value}"#))).unwrap();
            assert_eq!(why.0, reason::WRONG_TYPE, "{field} {value}");
            assert!(why.1.starts_with(field), "{why:?}");
        }
    }
}

#[test]
fn a_follower_count_is_an_exact_whole_number() {
    let good = [
        ("0", 0),
        ("437", 437),
        ("007", 7),
        ("51k", 51_000),
        ("51K", 51_000),
        ("5M", 5_000_000),
        ("5m", 5_000_000),
        ("2b", 2_000_000_000),
        ("2B", 2_000_000_000),
        ("1.5k", 1_500),
        ("1.500k", 1_500),
        ("0.001k", 1),
        ("1.0", 1),
        ("3.000000000000000000000000", 3),
        ("0.123456789B", 123_456_789),
        ("124 k", 124_000),
        ("124 \t k", 124_000),
        ("124\u{a0}k", 124_000),
        ("9223372036854775807", i64::MAX),
        ("0009223372036854775807", i64::MAX),
        ("9223372036.854775807b", i64::MAX),
        ("9223372036854775.807k", i64::MAX),
    ];
    for (value, count) in good {
        let field = serde_json::json!({ "follower_count": value }).to_string();
        assert_eq!(
            column("follower_count", &field[1..field.len() - 1]),
            Ok(Value::Long(count)),
            "{value}"
        );
    }
    let bad = [
        "1.5",
        "1.2345k",
        "1.23450k",
        "0.0000000001b",
        "9223372036854775808",
        "9223372036854775.808k",
        "10000000000b",
        "99999999999999999999",
        "437 ",
        " 437",
        " 51k",
        "51k ",
        "51kk",
        "51 kM",
        "k",
        " k",
        ".5k",
        "5.k",
        "5.",
        ".",
        "1..5k",
        "1.5.0k",
        "-1",
        "+1",
        "-0",
        "1e3",
        "1,000",
        "1_000",
        "0x1",
        "٣",
        "５k",
        "51t",
        "51g",
        "5\u{212a}",
        "1 000",
        "1. 5k",
        "1 .5k",
        "NaN",
        "user info error",
        "User Info Error ",
    ];
    for value in bad {
        let field = serde_json::json!({ "follower_count": value }).to_string();
        let result = column("follower_count", &field[1..field.len() - 1]);
        assert_eq!(reason_of(result).as_deref(), Some(reason::BAD_FOLLOWER_COUNT), "{value:?}");
    }
}

#[test]
fn a_save_location_loses_its_prefix_once() {
    let cases = [
        ("Local save in /data/art", text("/data/art")),
        ("/data/art", text("/data/art")),
        ("Local save in Local save in /data", text("Local save in /data")),
        ("local save in /data", text("local save in /data")),
        (" Local save in /data", text(" Local save in /data")),
        ("Local save in  /data ", text(" /data ")),
        ("Local save in", text("Local save in")),
        ("Local save in ", Value::Null),
        ("Local save in \u{a0} ", Value::Null),
    ];
    for (value, expected) in cases {
        assert_eq!(
            column("save_location", &format!(r#""save_location":"{value}""#)),
            Ok(expected),
            "{value}"
        );
    }
}

#[test]
fn a_user_name_is_both_names_or_the_only_one() {
    let cases = [
        (r#""first_name":"A","last_name":"B""#, text("A B")),
        (r#""first_name":" A ","last_name":" B ""#, text(" A   B ")),
        (r#""first_name":"A""#, text("A")),
        (r#""last_name":" B""#, text(" B")),
        (r#""first_name":null,"last_name":"B""#, text("B")),
        (r#""first_name":"A","last_name":"\u00a0""#, text("A")),
        (r#""first_name":"","last_name":null"#, Value::Null),
        (r#""age":20"#, Value::Null),
    ];
    for (fields, expected) in cases {
        assert_eq!(column("user_name", fields), Ok(expected), "{fields}");
    }
}

#[test]
fn an_age_is_an_integer_or_null() {
    for (value, expected) in [("36", 36), ("0", 0), ("-5", -5), ("9223372036854775807", i64::MAX)] {
        assert_eq!(
            column("age", &format!(r#""age":{value}"#)),
            Ok(Value::Long(expected)),
            "{value}"
        );
    }
    assert_eq!(column("age", r#""age":null"#), Ok(Value::Null));
    assert_eq!(column("age", r#""first_name":"A""#), Ok(Value::Null));
    for value in
        ["36.0", "3e1", "-0", "9223372036854775808", r#""36""#, r#""""#, "true", "[36]", "{}"]
    {
        assert_eq!(
            reason_of(column("age", &format!(r#""age":{value}"#))).as_deref(),
            Some(reason::WRONG_TYPE),
            "{value}"
        );
    }
}
