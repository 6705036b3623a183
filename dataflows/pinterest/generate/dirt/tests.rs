//! Every kind of dirt is in the archive, and each record remains one line.

use std::collections::HashMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use tempfile::TempDir;

use super::super::{KINDS, Options, generate};

/// The lines of a kind in the order of their positions, each with its offset and partition.
type Topic = Vec<((u64, u32), Vec<u8>)>;

fn topic(options: &Options, kind: usize) -> Topic {
    let mut lines = Vec::new();
    for partition in 0..options.partitions {
        let folder = options.to.join(format!("topics/demo.{}/partition={partition}", KINDS[kind]));
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        let bytes: Vec<u8> = names.iter().flat_map(|name| std::fs::read(name).unwrap()).collect();
        let whole = bytes.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n').zip(0..);
        lines.extend(whole.map(|(line, offset)| ((offset, partition), line.to_vec())));
    }
    lines.sort();
    lines
}

fn dirty_topics(dirt: f64) -> [Topic; 3] {
    let root = TempDir::new().unwrap();
    let options =
        Options { events: 3_000, dirt, to: root.path().to_path_buf(), ..Options::default() };
    generate(&options, &mut |_| ()).unwrap();
    [0, 1, 2].map(|kind| topic(&options, kind))
}

fn json(line: &[u8]) -> Option<Value> {
    serde_json::from_slice(line).ok()
}

/// Returns the JSON in base64, bare or within a JSON string.
fn decoded(line: &[u8]) -> Option<Vec<u8>> {
    let text = json(line).and_then(|value| value.as_str().map(|text| text.as_bytes().to_vec()));
    BASE64_STANDARD.decode(text.as_deref().unwrap_or(line)).ok().filter(|bytes| bytes.len() > 3)
}

#[test]
fn every_kind_of_dirt_occurs() {
    let topics = dirty_topics(0.2);
    let all: Vec<&[u8]> = topics.iter().flatten().map(|(_, line)| line.as_slice()).collect();
    let some = |what: &str, is: &dyn Fn(&[u8]) -> bool| {
        assert!(all.iter().any(|line| is(line)), "no {what}")
    };
    let objects: Vec<Value> =
        all.iter().filter_map(|line| json(line)).filter(Value::is_object).collect();
    let object =
        |what: &str, is: &dyn Fn(&Value) -> bool| assert!(objects.iter().any(is), "no {what}");
    let within =
        |line: &[u8], text: &str| line.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    let array = |line: &[u8], len: usize| {
        json(line).is_some_and(|value| value.as_array().is_some_and(|all| all.len() == len))
    };
    let nulls = |value: &Value| {
        value.as_object().unwrap().values().filter(|value| !value.is_null()).count()
    };

    some("wrapped record", &|line| array(line, 1));
    some("empty array", &|line| array(line, 0));
    some("array of two", &|line| array(line, 2));
    some("text of base64", &|line| {
        line.starts_with(b"\"") && decoded(line).is_some_and(|inner| inner.starts_with(b"{"))
    });
    some("bare base64", &|line| {
        json(line).is_none() && decoded(line).is_some_and(|inner| inner.starts_with(b"{"))
    });
    some("base64 of an array", &|line| decoded(line).is_some_and(|inner| array(&inner, 1)));
    some("base64 of base64", &|line| decoded(line).and_then(|inner| decoded(&inner)).is_some());
    some("line that is no JSON", &|line| line.starts_with(b"<html>"));
    some("empty line", &<[u8]>::is_empty);
    some("tombstone", &|line| line == b"null");
    some("truncated line", &|line| line.starts_with(b"{\"ind") && !line.ends_with(b"}"));
    some("trailing garbage", &|line| line.ends_with(b"}\"}"));
    some("duplicate key", &|line| {
        ["\"ind\":", "\"index\":"]
            .iter()
            .any(|key| String::from_utf8_lossy(line).matches(key).count() == 2)
    });
    some("deep nesting", &|line| within(line, &"[".repeat(65)));
    some("invalid UTF-8", &|line| {
        line.len() > 400 && std::str::from_utf8(line).is_err() && line.ends_with(b"}")
    });
    some("byte order mark", &|line| line.starts_with(b"\xef\xbb\xbf{"));
    assert_eq!(all.iter().filter(|line| line.len() > 1 << 20).count(), 1);

    object("row of nulls", &|value| nulls(value) == 0);
    object("row of nulls with a number", &|value| {
        value.as_object().unwrap().len() > 2 && nulls(value) == 1
    });
    object("row with a number only", &|value| value.as_object().unwrap().len() == 1);
    object("number as text", &|value| value["ind"].is_string());
    object("number with a fraction", &|value| value["ind"].is_f64());
    object("row without a number", &|value| {
        value.get("ind").is_none() && value.get("index").is_none()
    });
    object("row with both numbers", &|value| {
        value.get("ind").is_some() && value.get("index").is_some()
    });
    for (field, wrong) in [
        ("follower_count", r#"1234 "1.5" "12kk" "99999999999999B" "1.2345k" "1.5k" null"#),
        ("title", r#"17 "" "Corrected""#),
        ("tag_list", r#"["Art","Ideas"]"#),
        ("category", "null"),
        ("age", r#"17 -3 null "34" 44.0"#),
        ("first_name", "null"),
        ("last_name", r#"null 7 "Corrected""#),
        ("date_joined", r#"null "2016-11-03T08:15:00+02:00""#),
        ("timestamp", r#"null "" "2020-02-30T10:00:00" 1598586767 "2019-04-23T17:50:27.123456Z""#),
        ("latitude", r#"null "51.5" 91.5"#),
        ("longitude", "null"),
        ("country", "null"),
    ] {
        for wrong in wrong.split(' ') {
            let wrong: Value = serde_json::from_str(wrong).unwrap();
            object(&format!("{field} {wrong}"), &|value| {
                value.get(field) == Some(&wrong) && nulls(value) > 2
            });
        }
    }
    for (field, blank) in [
        ("follower_count", "51 k"),
        ("follower_count", " 51k"),
        ("country", "  "),
        ("poster_name", " \u{a0} "),
        ("image_src", "Image src error"),
    ] {
        object(field, &|value| value.get(field).is_some_and(|found| found == blank));
    }
    for (kind, field) in ["unique_id", "timestamp", "date_joined"].into_iter().enumerate() {
        let strays = topics
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != kind)
            .flat_map(|(_, lines)| lines);
        assert!(
            strays.filter(|(_, line)| within(line, &format!("\"{field}\":\""))).count() > 0,
            "no stray {field}"
        );
    }
    let lengths = topics.each_ref().map(Vec::len);
    assert!(lengths[0] != lengths[1] && lengths[1] != lengths[2], "{lengths:?}");
}

#[test]
fn records_repeat_with_later_and_with_earlier_offsets() {
    let [pins, ..] = dirty_topics(0.6);
    // Its partition, whether it is a correction, and its bytes.
    type Seen<'a> = (u32, bool, &'a [u8]);
    let mut seen: HashMap<String, Vec<Seen>> = HashMap::new();
    for ((_, partition), line) in &pins {
        let pin = json(line).filter(|value| value.get("unique_id").is_some_and(Value::is_string));
        if let Some(pin) = pin {
            let id = pin["unique_id"].as_str().unwrap().to_owned();
            seen.entry(id).or_default().push((*partition, pin["title"] == "Corrected", line));
        }
    }
    let some = |is: &dyn Fn(&[Seen]) -> bool| seen.values().any(|records| is(records));
    assert!(some(&|r| r.len() == 2 && r[0].2 == r[1].2), "no duplicate");
    assert!(some(&|r| r.len() == 2 && r[0].0 != r[1].0), "no number in two partitions");
    assert!(some(&|r| r.len() == 2 && !r[0].1 && r[1].1), "no correction");
    assert!(some(&|r| r.len() == 2 && r[0].1 && !r[1].1), "no correction at a lower position");
    assert!(some(&|r| r.len() == 3 && r[1].1 && r[0].2 == r[2].2), "no return to the first record");
}

#[test]
fn a_clean_archive_has_no_dirt() {
    for lines in dirty_topics(0.0) {
        assert_eq!(lines.len(), 3_000);
        assert!(lines.iter().all(|(_, line)| json(line).is_some_and(|value| value.is_object())));
    }
}
