//! Irregular records: null keys, tombstones, duplicates, garbage.

use watershed::options::{Consumed, Produced};
use watershed::record::Record;
use watershed::row::Value;
use watershed::serdes::{Int64, Json, Nullable, Reject, Utf8};
use watershed::testing::TopologyTestDriver;
use watershed::{KStream, Timestamp, Topology};

use crate::support::{Trial, pair, shown, stream, table};

#[test]
fn undecodable_records_are_dead_letters_with_their_reason() {
    let mut trial = Trial::of(|builder| {
        stream(builder, "events").to("all", pair());
        table(builder, "rows").to("kept", pair());
    });
    trial.pipe("events", "a=1 a=one =2 b=@3:70");
    trial.pipe("rows", "a=1 a=one@2:9 =2");
    assert_eq!(trial.rows("all"), "a=1");
    assert_eq!(trial.rows("kept"), "a=1");
    let events = "events=0=1=invalid json=one events=0=2=null=2 events=3=70=null value=";
    assert_eq!(trial.dead(), format!("{events} rows=0=1=null=2 rows=2=9=invalid json=one"));
    let events = trial.counters("events");
    assert_eq!((events.read, events.applied, events.dead), (4, 1, 3));
}

#[test]
fn garbage_does_not_change_the_row_of_its_key() {
    let mut trial = Trial::of(|builder| table(builder, "rows").to("kept", pair()));
    assert_eq!(trial.after("rows", "a=1 b=2", "kept"), "a=1 b=2");
    assert_eq!(trial.after("rows", "a=one b=", "kept"), "a=1");
    assert_eq!(trial.after("rows", "a=3@0:1", "kept"), "a=3", "and takes no position either");
}

#[test]
fn a_null_key_is_a_key_like_others_where_it_is_allowed() {
    let mut trial = Trial::of(|builder| {
        let keyed: KStream<'_, Option<String>, i64> =
            builder.stream("events", Consumed::with(Nullable(Utf8), Json));
        keyed.filter(|k, _| k.is_none()).to("without", pair());
        keyed.group_by_key().count().to("counts", pair());
        builder
            .table::<Option<String>, i64>("rows", Consumed::with(Nullable(Utf8), Json))
            .to("kept", pair());
    });
    trial.pipe("events", "=1 a=2 =3");
    assert_eq!(trial.rows("without"), "=1 =3");
    assert_eq!(trial.rows("counts"), "=2 a=1");
    assert_eq!(trial.after("rows", "=1 a=2 =3", "kept"), "=3 a=2");
    assert_eq!(trial.after("rows", "=", "kept"), "a=2");
    assert_eq!(trial.dead(), "");
}

#[test]
fn a_null_value_is_an_event_of_a_stream_that_allows_it() {
    let mut trial = Trial::of(|builder| {
        let nullable: KStream<'_, String, Option<i64>> =
            builder.stream("events", Consumed::with(Utf8, Nullable(Json)));
        nullable.map_values(|v| v.unwrap_or(-1)).to("all", pair());
    });
    assert_eq!(trial.after("events", "a=1 a= b=", "all"), "a=-1 a=1 b=-1");
    assert_eq!(trial.dead(), "");
}

#[test]
fn keys_in_the_value_are_found_by_a_closure() {
    let mut trial = Trial::of(|builder| {
        let decode = |bytes: Option<&[u8]>| {
            let text = bytes.and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("nothing");
            let (key, value) = text.split_once('-').ok_or_else(|| Reject::new("no dash", text))?;
            Ok((key.to_string(), value.len() as i64))
        };
        builder.table("rows", Consumed::from_value(decode)).to("kept", pair());
    });
    assert_eq!(trial.after("rows", "=a-xyz =b-x =dashless x=a-xx =", "kept"), "a=2 b=1");
    assert_eq!(trial.dead(), "rows=0=2=no dash=dashless rows=0=4=no dash=");
}

#[test]
fn a_key_is_computed_from_the_value_for_streams_and_tables() {
    let mut trial = Trial::of(|builder| {
        let key = |value: &i64| format!("k{}", value % 3);
        builder.table("rows", Consumed::keyed_by(Json, key)).to("kept", pair());
        builder.stream("events", Consumed::keyed_by(Json, key)).to("all", pair());
        let key = |value: &Option<i64>| value.unwrap_or(-1).to_string();
        let nullable = Consumed::keyed_by(Nullable(Json), key);
        builder.stream("optional", nullable).to("some", Produced::columns(["key", "value"]));
    });
    assert_eq!(trial.after("rows", "=3 other=4 =6 =x k0=", "kept"), "k0=6 k1=4");
    assert_eq!(trial.after("events", "=3 other=4 =6 =x =", "all"), "k0=3 k0=6 k1=4");
    assert_eq!(trial.after("optional", "=3 =", "some"), "-1= 3=3");
    let dead = "events=0=3=invalid json=x events=0=4=null value= \
                rows=0=3=invalid json=x rows=0=4=null value=";
    assert_eq!(trial.dead(), dead);
}

#[test]
fn a_record_without_an_extracted_timestamp_is_a_dead_letter() {
    let mut trial = Trial::of(|builder| {
        let at = |_: &String, value: &i64| (*value != 7).then_some(Timestamp(*value));
        let (rows, events) = (Consumed::with(Utf8, Json), Consumed::with(Utf8, Json));
        builder.table("rows", rows.timestamp(at)).to("kept", pair());
        builder.stream("events", events.timestamp(at)).to("all", pair());
    });
    // A tombstone keeps the connector's timestamp, and deletes.
    assert_eq!(trial.after("rows", "a=1 a=7 b=2 b= c=3", "kept"), "a=1 c=3");
    assert_eq!(trial.after("events", "a=1 a=7 a=2", "all"), "a=1 a=2");
    assert_eq!(trial.dead(), "events=0=1=no timestamp=7 rows=0=1=no timestamp=7");
}

#[test]
fn times_and_headers_of_records_are_found_by_a_closure() {
    let build = |builder: &watershed::StreamsBuilder<'_>| {
        let decode = |record: &Record<'_>| {
            let names: Vec<&str> = record.headers.map(|(name, _)| name).collect();
            let origin = record
                .headers
                .last("origin")
                .ok_or_else(|| Reject::new("no origin", names.join(" ")))?;
            let value = record.value.map(|_| record.timestamp.unwrap().0);
            Ok((String::from_utf8_lossy(origin).into_owned(), value))
        };
        builder.table("rows", Consumed::from_record(decode)).to("kept", pair());
    };
    let mut driver = TopologyTestDriver::new(Topology::new("headers", build)).unwrap();
    let mut pipe = |time, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]| {
        driver.set_time(Timestamp(time));
        driver.set_headers(headers);
        driver.pipe("rows", 0, None, value);
    };
    pipe(7, Some(b"x"), &[("origin", Some(b"gone"))]);
    pipe(8, Some(b""), &[("origin", Some(b"south")), ("other", None), ("origin", Some(b""))]);
    pipe(9, Some(b"x"), &[("", Some(b"x")), ("origin", Some(b"south"))]);
    pipe(10, None, &[("origin", Some(b"gone"))]);
    pipe(11, Some(b"x"), &[("origin", None), ("trace", Some(&[0; 300]))]);
    pipe(12, Some(b"x"), &[]);
    driver.commit().unwrap();
    let shown = |rows: &[Vec<Value>]| rows.iter().map(|row| shown(row)).collect::<Vec<_>>();
    assert_eq!(shown(&driver.rows("kept")), ["=8", "south=9"]);
    let dead = ["rows=0=4=no origin=origin trace=x", "rows=0=5=no origin==x"];
    assert_eq!(shown(&driver.dead_letters()), dead);
}

#[test]
fn a_record_of_every_length_is_counted_and_none_stops_the_run() {
    let build = |builder: &watershed::StreamsBuilder<'_>| {
        builder
            .table("rows", Consumed::<Vec<u8>, i64>::with(watershed::serdes::Raw, Int64))
            .to("kept", pair());
    };
    let mut driver = TopologyTestDriver::new(Topology::new("lengths", build)).unwrap();
    for length in 0..=16 {
        driver.pipe("rows", 0, Some(&vec![b'k'; length]), Some(&vec![1; length]));
    }
    driver.pipe("rows", 0, Some(&vec![0; 3 << 20]), Some(&7_i64.to_be_bytes()));
    driver.commit().unwrap();
    assert_eq!(driver.rows("kept").len(), 2);
    assert_eq!(driver.dead_letters().len(), 16);
    let summary = driver.finish().unwrap().topics.remove("rows").unwrap();
    assert_eq!((summary.read, summary.applied, summary.dead), (18, 2, 16));
    assert!(summary.balances());
}

#[test]
fn a_null_in_a_column_that_allows_it_is_null() {
    let mut trial = Trial::of(|builder| {
        let odd = stream(builder, "events").map_values(|v| (v % 2 == 1).then_some(v));
        odd.to("odd", Produced::columns(["key", "odd"]));
    });
    assert_eq!(trial.after("events", "a=1 a=2", "odd"), "a= a=1");
}
