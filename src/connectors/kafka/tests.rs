//! Tests without a broker: URLs, properties, tokens, and staged rows.

use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;

use crate::row::{Column, ColumnType, Value};

use crate::connect::{Mode, Recovered, Recovering, Schema, Writer};
use crate::error::{Advice, ErrorKind};
use crate::secret::Secret;

use super::Kafka;
use super::codes::error_for;
use super::rows::{Recovery, Totals, records};
use super::scan::TopicScan;
use super::settings::parse;

const SECRET: Secret = Secret::new([7; 16]);

fn with(url: &str, properties: &[(&str, &str)]) -> crate::Result<Kafka> {
    Kafka::with(
        url,
        properties.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())),
    )
}

#[test]
fn a_url_names_brokers_and_a_prefix() {
    let cases = [
        ("kafka://a", "t", "kafka topic t at a:9092"),
        ("kafka://a:1,b-1.c_d:65535/", "t", "kafka topic t at a:1,b-1.c_d:65535"),
        ("kafka://[::1]:9093", "t", "kafka topic t at [::1]:9093"),
        ("kafka://a:1/demo.", "pin", "kafka topic demo.pin at a:1"),
    ];
    for (url, topic, name) in cases {
        assert_eq!(with(url, &[]).unwrap().topic(topic).unwrap().name(), name);
    }
}

#[test]
fn a_refused_url_is_not_repeated_if_it_may_contain_a_secret() {
    let wrong = [
        "",
        "a:1",
        "http://a:1",
        "kafka://",
        "kafka://:1",
        "kafka://a:0",
        "kafka://a:65536",
        "kafka://a:x",
        "kafka://a,,b",
    ];
    let wrong = wrong.iter().chain(&["kafka://::1", "kafka://::1:9092", "kafka://a b:1"]);
    for url in wrong {
        let error = with(url, &[]).err().unwrap_or_else(|| panic!("{url} is taken"));
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    for url in ["kafka://alice:hush@a:1", "kafka://a:1?password=hush"] {
        let error = with(url, &[]).err().unwrap();
        assert!(
            error.kind() == ErrorKind::Config && !error.to_string().contains("hush"),
            "{error}"
        );
    }
    let kafka = with("kafka://a/p/q", &[]).unwrap();
    for topic in ["", "..", "a/b", "a b", "ä", &"x".repeat(250)] {
        assert_eq!(kafka.topic(topic).err().unwrap().kind(), ErrorKind::Config);
    }
}

#[test]
fn guaranteed_properties_are_refused_without_their_values() {
    let refused = [
        "isolation.level",
        "transactional.id",
        "group.id",
        "auto.offset.reset",
        "enable.idempotence",
        "debug",
        "nonsense",
    ];
    for name in refused {
        let error = with("kafka://a", &[(name, "hush")]).err().unwrap().to_string();
        assert!(error.contains(name) && !error.contains("hush"), "{error}");
    }
    let misspelt = with("kafka://a", &[("ssl.ca.lokation", "hush")]).unwrap().topic("t").unwrap();
    let error = crate::connect::Source::partitions(&misspelt).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && !error.to_string().contains("hush"), "{error}");
    let no_file = [("sasl.mechanism", "OAUTHBEARER")];
    assert!(with("kafka://a", &no_file).is_err());
    let no_url =
        [("sasl.mechanism", "OAUTHBEARER"), ("sasl.oauthbearer.token.endpoint.url", "https://a")];
    assert!(with("kafka://a", &no_url).is_err());
}

#[test]
fn a_file_of_properties_is_lines_of_names_and_values() {
    let own = |(name, value): (&str, &str)| (name.to_string(), value.to_string());
    let text = "# a\n\n sasl.username = alice \nsasl.password=a=b\r\n! c\nssl.key.password=";
    let expected =
        [("sasl.username", "alice"), ("sasl.password", "a=b"), ("ssl.key.password", "")].map(own);
    assert_eq!(parse(text), Ok(expected.to_vec()));
    assert_eq!(parse("a=b\nc\n"), Err(2));
}

fn recovery(mode: Mode) -> Box<dyn Recovering> {
    let columns = [("id", ColumnType::Long), ("text", ColumnType::Text)];
    let columns =
        columns.map(|(name, ty)| Column { name: name.into(), ty, nullable: true }).to_vec();
    let schema = Schema { topic: "t".into(), columns, key: 1, mode };
    Box::new(Recovery::new(Arc::new(schema), SECRET))
}

fn encoder(mode: Mode) -> Box<dyn Writer> {
    recovery(mode).finish().unwrap().writer
}

fn row(id: i64, text: &str) -> Vec<Value> {
    vec![Value::Long(id), Value::Text(text.into())]
}

fn staged(encoder: &mut dyn Writer) -> (Vec<String>, Totals) {
    let part = encoder.stage().unwrap().unwrap();
    let (more, lines): (Totals, &[u8]) = part.read().unwrap();
    let text = |(key, value): (
        Option<&serde_json::value::RawValue>,
        Option<&serde_json::value::RawValue>,
    )| {
        format!("{} {}", key.map_or("-", |key| key.get()), value.map_or("-", |value| value.get()))
    };
    (records(lines).map(|record| text(record.unwrap())).collect(), more)
}

#[test]
fn a_writer_stages_the_last_change_of_each_key() {
    let mut encoder = encoder(Mode::Snapshot);
    (0..4).for_each(|id| encoder.insert(id as u32, &row(id, "old")).unwrap());
    let (lines, more) = staged(encoder.as_mut());
    assert_eq!((lines.len(), more.rows), (4, 4));
    // One row is replaced, one deleted, one deleted and inserted at another slot, and one slot goes
    // to another key.
    encoder.insert(0, &row(0, "new\n")).unwrap();
    encoder.remove(1);
    encoder.remove(2);
    encoder.insert(7, &row(2, "back")).unwrap();
    encoder.insert(3, &row(9, "other")).unwrap();
    let (lines, more) = staged(encoder.as_mut());
    let expected = [
        r#"{"id":0} {"id":0,"text":"new\n"}"#,
        r#"{"id":1} -"#,
        r#"{"id":2} {"id":2,"text":"back"}"#,
        r#"{"id":3} -"#,
        r#"{"id":9} {"id":9,"text":"other"}"#,
    ];
    assert_eq!((lines, more.rows), (expected.map(String::from).to_vec(), u64::MAX));
    assert!(encoder.stage().unwrap().is_none());
}

#[test]
fn recovered_rows_have_the_totals_of_the_staged_rows() {
    for mode in [Mode::Snapshot, Mode::Append] {
        let mut first = encoder(mode);
        (0..9).for_each(|id| first.insert(id as u32, &row(id, "a")).unwrap());
        let (_, held) = staged(first.as_mut());
        let mut again = recovery(mode);
        (0..9).rev().for_each(|id| again.insert(id as u32, &row(id, "a")).unwrap());
        let Recovered { mut writer, found } = again.finish().unwrap();
        assert_eq!((found.rows, found.digest), (held.rows, held.digest));
        assert!(writer.stage().unwrap().is_none(), "nothing is written again");
    }
}

#[test]
fn skipped_rows_are_counted_beside_those_with_a_digest() {
    let mut first = encoder(Mode::Append);
    (3..9).for_each(|id| first.insert(0, &row(id, "a")).unwrap());
    let (_, held) = staged(first.as_mut());
    let mut again = recovery(Mode::Append);
    again.skip(3).unwrap();
    (3..9).for_each(|id| again.insert(0, &row(id, "a")).unwrap());
    let found = again.finish().unwrap().found;
    assert_eq!((found.rows, found.skipped, found.digest), (9, 3, held.digest));
}

#[test]
fn rows_are_counted_in_a_topic_as_the_writer_counted_them() {
    use ColumnType::{Binary, Double, Doubles, Long, Text, Timestamp};
    let columns = [
        ("id", Long),
        ("d", Double),
        ("t \"\u{e9}\"", Text),
        ("at", Timestamp),
        ("ds", Doubles),
        ("b", Binary),
    ];
    let columns =
        columns.map(|(name, ty)| Column { name: name.into(), ty, nullable: true }).to_vec();
    let doubles =
        [0.1 + 0.2, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 9_007_199_254_740_993.0, 1e23, -1.0];
    let times = [0, -1, 1_700_000_000_123_456, 253_402_300_800_000_000, -62_167_219_200_000_001];
    for mode in [Mode::Snapshot, Mode::Append] {
        let schema = Arc::new(Schema { topic: "t".into(), columns: columns.clone(), key: 2, mode });
        let recovery: Box<dyn Recovering> = Box::new(Recovery::new(schema.clone(), SECRET));
        let mut encoder = recovery.finish().unwrap().writer;
        for (slot, double) in doubles.into_iter().enumerate() {
            let text = Value::Text(format!("{slot} \" \\ \n \u{0} \u{1f600}"));
            let time = Value::Timestamp(times[slot % times.len()]);
            let ends = [Value::Doubles(doubles.to_vec()), Value::Binary((0..slot as u8).collect())];
            let row = vec![Value::Long(i64::MIN + slot as i64), Value::Double(double), text, time];
            encoder.insert(slot as u32, &[row, ends.to_vec()].concat()).unwrap();
        }
        encoder.insert(8, &vec![Value::Null; 6]).unwrap();
        let part = encoder.stage().unwrap().unwrap();
        let (more, lines): (Totals, &[u8]) = part.read().unwrap();
        let mut scan = TopicScan::new(&schema, SECRET);
        assert_eq!(scan.with(lines), Some(more));
        for record in records(lines) {
            let (key, value) = record.unwrap();
            scan.add(
                key.map(|key| key.get().as_bytes()),
                value.map(|value| value.get().as_bytes()),
            )
            .unwrap();
        }
        assert_eq!(scan.totals, more);
        if mode == Mode::Snapshot {
            (0..9).for_each(|slot| encoder.remove(slot));
            let part = encoder.stage().unwrap().unwrap();
            let (_, lines): (Totals, &[u8]) = part.read().unwrap();
            assert_eq!(scan.with(lines), Some(Totals::default()));
        }
        for wrong in ["", "1", "{}", r#"{"id":1}"#, "null"] {
            assert!(scan.add(None, Some(wrong.as_bytes())).is_none(), "{wrong}");
        }
    }
}

#[cfg(feature = "msk")]
#[test]
fn a_token_for_msk_is_a_url_that_is_signed() {
    use base64::Engine;
    use std::time::{Duration, UNIX_EPOCH};
    let credentials = aws_credential_types::Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI",
        Some("a/b+c=".into()),
        None,
        "test",
    );
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let token = super::msk::token("eu-west-1", credentials, now).unwrap();
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.token).unwrap();
    let url = String::from_utf8(url).unwrap();
    let (action, params) = url.split_once('?').unwrap();
    let mut params: Vec<&str> = params.split('&').collect();
    params.sort_unstable();
    // The result of Amazon's own signer for Python, version 1.0.2, for the same input and time.
    let expected = [
        "Action=kafka-cluster%3AConnect",
        "User-Agent=watershed",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Credential=AKIDEXAMPLE%2F20231114%2Feu-west-1%2Fkafka-cluster%2Faws4_request",
        "X-Amz-Date=20231114T221320Z",
        "X-Amz-Expires=900",
        "X-Amz-Security-Token=a%2Fb%2Bc%3D",
        "X-Amz-Signature=21cfbca2ac5f8c65c8bc06860c252fe19c21a714fbc18c8f89929fad2f0a93e8",
        "X-Amz-SignedHeaders=host",
    ];
    assert_eq!((action, params), ("https://kafka.eu-west-1.amazonaws.com/", expected.to_vec()));
    assert_eq!(token.lifetime_ms, 1_700_000_900_000);
    let region = super::token::region;
    assert_eq!(region("b-1.c.abc.c2.kafka.eu-west-1.amazonaws.com:9098,b-2"), Some("eu-west-1"));
    assert_eq!(
        region("boot-x.c1.kafka-serverless.us-east-1.amazonaws.com:9098"),
        Some("us-east-1")
    );
    assert_eq!(region("localhost:9092"), None);
}

#[test]
fn lost_records_advise_to_begin_anew() {
    let error = error_for("can't read t", Some(RDKafkaErrorCode::OffsetOutOfRange));
    let words = |advice| if advice == Advice::BeginAnew { "OPTIONS" } else { "" };
    assert!(error.described(words).ends_with("or begin anew. OPTIONS"), "{error}");
}
