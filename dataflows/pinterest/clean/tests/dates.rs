//! Dates in their formats, and coordinates.

use super::*;

#[test]
fn a_date_is_in_one_of_five_formats() {
    let moment = 1_598_586_767_000_000;
    let good = [
        ("2020-08-28 03:52:47", moment),
        ("2020-08-28T03:52:47", moment),
        ("08/28/2020, 03:52:47", moment),
        ("2020:08:28 03:52:47", moment),
        ("2020-08-28T03:52:47.000Z", moment),
        ("2020-08-28T03:52:47Z", moment),
        ("2020-08-28T03:52:47+00:00", moment),
        ("2020-08-28T03:52:47+0000", moment),
        ("2020-08-28T03:52:47.5", moment + 500_000),
        ("2020-08-28T03:52:47.123456", moment + 123_456),
        ("2020-08-28T03:52:47.000001Z", moment + 1),
        ("2020-08-28T03:52:47.12+00:00", moment + 120_000),
        ("2020-08-28T03:52:47.0123+0000", moment + 12_300),
        ("2020-02-29 00:00:00", 1_582_934_400_000_000),
        ("2000-02-29 23:59:59", 951_868_799_000_000),
        ("1970-01-01 00:00:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("9999-12-31 23:59:59", 253_402_300_799_000_000),
    ];
    let bad = [
        "",
        " ",
        "2020-08-28",
        "2020-08-28 3:52:47",
        "2020-8-28 03:52:47",
        "20-08-28 03:52:47",
        "2020-08-28 03:52",
        " 2020-08-28 03:52:47",
        "2020-08-28 03:52:47 ",
        "2020-08-28  03:52:47",
        "2020-08-28t03:52:47",
        "2020-08-28T03:52:47z",
        "2020-08-28 03:52:47Z",
        "2020-08-28 03:52:47.5",
        "2020-08-28 03:52:47+00:00",
        "08/28/2020, 03:52:47.5",
        "08/28/2020, 03:52:47Z",
        "08/28/2020 03:52:47",
        "08/28/2020,03:52:47",
        "28/08/2020, 03:52:47",
        "8/28/2020, 03:52:47",
        "2020:08:28T03:52:47",
        "2020:08:28 03:52:47.5",
        "2020/08/28 03:52:47",
        "2020-08-28T03:52:47.",
        "2020-08-28T03:52:47.Z",
        "2020-08-28T03:52:47.1234567",
        "2020-08-28T03:52:47,5",
        "2020-08-28T03:52:47.5x",
        "2020-08-28T03:52:47+00",
        "2020-08-28T03:52:47-00:00",
        "2020-08-28T03:52:47+01:00",
        "2020-08-28T03:52:47 Z",
        "2020-08-28T03:52:47ZZ",
        "2020-08-28T03:52:47+00:00Z",
        "2020-08-28T03:52:47 UTC",
        "2020-02-30 00:00:00",
        "2021-02-29 00:00:00",
        "1900-02-29 00:00:00",
        "2020-13-01 00:00:00",
        "2020-00-01 00:00:00",
        "2020-01-00 00:00:00",
        "2020-04-31 00:00:00",
        "2020-08-28 24:00:00",
        "2020-08-28 03:60:47",
        "2020-08-28 03:52:60",
        "2020-08-28T23:59:60Z",
        "２020-08-28 03:52:47",
        "2020-08-28 03:52:4７",
        "+020-08-28 03:52:47",
        "-020-08-28 03:52:47",
        "1598586767",
        "YYYY-MM-DD hh:mm:ss",
    ];
    for name in ["timestamp", "date_joined"] {
        for (value, micros) in good {
            assert_eq!(
                column(name, &format!(r#""{name}":"{value}""#)),
                Ok(Value::Timestamp(micros)),
                "{value}"
            );
        }
        for value in bad {
            assert_eq!(
                reason_of(column(name, &format!(r#""{name}":"{value}""#))).as_deref(),
                Some(reason::BAD_DATE),
                "{value:?}"
            );
        }
        assert_eq!(column(name, &format!(r#""{name}":null"#)), Ok(Value::Null));
    }
}

#[test]
fn coordinates_are_latitude_then_longitude_or_null() {
    let pair = |latitude: f64, longitude: f64| Value::Doubles(vec![latitude, longitude]);
    let good = [
        (r#""latitude":1.5,"longitude":-2.25"#, pair(1.5, -2.25)),
        (r#""longitude":-2.25,"latitude":1.5"#, pair(1.5, -2.25)),
        (r#""latitude":1,"longitude":-2"#, pair(1.0, -2.0)),
        (r#""latitude":1e1,"longitude":2E-1"#, pair(10.0, 0.2)),
        (r#""latitude":-0.0,"longitude":0"#, pair(-0.0, 0.0)),
        (r#""latitude":123456.7,"longitude":-1e300"#, pair(123_456.7, -1e300)),
        (
            r#""latitude":8.954189254894128,"longitude":176.12345678901234"#,
            pair(8.954189254894128, 176.12345678901234),
        ),
        (r#""latitude":0.30000000000000004,"longitude":5e-324"#, pair(0.1 + 0.2, 5e-324)),
        (r#""latitude" : 1.5 , "longitude" : -2.25 "#, pair(1.5, -2.25)),
        (r#""latitude":1.5"#, Value::Null),
        (r#""longitude":1.5"#, Value::Null),
        (r#""latitude":null,"longitude":1.5"#, Value::Null),
        (r#""latitude":1.5,"longitude": null "#, Value::Null),
        (r#""country":"Fiji""#, Value::Null),
    ];
    for (fields, expected) in good {
        assert_eq!(column("coordinates", fields), Ok(expected), "{fields}");
    }
    for value in [r#""1.5""#, r#""""#, "true", "[1.5]", "{}", r#"{"a":1,"a":1}"#, "1e400", "-1e400"]
    {
        for fields in
            [format!(r#""latitude":{value}"#), format!(r#""latitude":1,"longitude":{value}"#)]
        {
            assert_eq!(
                reason_of(column("coordinates", &fields)).as_deref(),
                Some(reason::WRONG_TYPE),
                "{fields}"
            );
        }
    }
    for value in ["01", "1.", ".5", "+1", "NaN", "nul", "Infinity", "1e", "0x1"] {
        let fields = format!(r#""latitude":{value}"#);
        assert_eq!(
            reason_of(column("coordinates", &fields)).as_deref(),
            Some(reason::INVALID_JSON),
            "{fields}"
        );
    }
}
