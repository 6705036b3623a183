//! Replies of a gateway if Kinesis accepts records, refuses some, or has no capacity.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;

use super::super::api::CallErrorKind;
use super::super::put::RECORD_MAX_BYTES;
use super::fake::Fake;
use crate::connect::append::{Append, Appended, NewRecord, Position, Refusal};

fn append(fake: &Fake, entries: Vec<NewRecord>) -> Result<Vec<Result<Appended, Refusal>>, Refusal> {
    block_on(fake.stream().kinesis.appender().append("events", entries))
}

fn entry(key: &str, value: &str) -> NewRecord {
    NewRecord {
        partition: None,
        key: Some(key.to_string().into()),
        value: Some(value.to_string().into()),
    }
}

#[test]
fn only_refused_records_are_sent_again() {
    let fake = Fake::of(1);
    let entries: Vec<NewRecord> = (0..500).map(|n| entry("k", &n.to_string())).collect();
    fake.with(|stream| stream.refused = [[0, 2, 499].into(), [1].into()].into());
    let results = append(&fake, entries).unwrap();
    assert_eq!(results.len(), 500);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(Appended { position: Position::Sequence(_), .. }))),
        "{results:?}"
    );
    let values = |call: Vec<super::super::api::Entry>| {
        call.into_iter().map(|entry| entry.data).collect::<Vec<_>>()
    };
    let calls: Vec<Vec<Bytes>> =
        fake.with(|stream| stream.puts.clone()).into_iter().map(values).collect();
    let all: Vec<Bytes> = (0..500).map(|n| n.to_string().into()).collect();
    assert_eq!(calls, [all, vec!["0".into(), "2".into(), "499".into()], vec!["2".into()]]);
}

#[test]
fn records_without_capacity_are_refused_and_others_acknowledged() {
    let fake = Fake::of(1);
    // The first call accepts two of three; the others accept none.
    fake.with(|stream| {
        stream.refused = std::iter::once([1].into()).chain((0..9).map(|_| [0].into())).collect()
    });
    let results = append(&fake, vec![entry("a", "1"), entry("b", "2"), entry("b", "3")]).unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert!(matches!(results[1], Err(Refusal::Busy(_))), "{results:?}");
}

#[test]
fn records_put_before_the_timeout_are_acknowledged() {
    let fake = Fake::of(1);
    fake.with(|stream| stream.silent_after = Some(1));
    let log = fake.stream().kinesis.appender().timeout(Duration::from_millis(1));
    let results =
        block_on(log.append("events", (0..501).map(|n| entry("k", &n.to_string())).collect()))
            .unwrap();
    assert!(results[..500].iter().all(Result::is_ok), "{results:?}");
    assert!(matches!(results[500..], [Err(Refusal::Busy(_))]), "{results:?}");
}

#[test]
fn a_failed_call_refuses_its_records_with_its_reason() {
    type Is = fn(&Refusal) -> bool;
    let cases: [(CallErrorKind, Is); 5] = [
        (CallErrorKind::Missing, |refusal| *refusal == Refusal::NoTopic),
        (CallErrorKind::Denied, |refusal| matches!(refusal, Refusal::Denied(_))),
        (CallErrorKind::Invalid, |refusal| matches!(refusal, Refusal::Invalid(_))),
        (CallErrorKind::InUse, |refusal| matches!(refusal, Refusal::Busy(_))),
        (CallErrorKind::Transient, |refusal| matches!(refusal, Refusal::Busy(_))),
    ];
    for (kind, is) in cases {
        let fake = Fake::of(1);
        fake.with(|stream| stream.failures = [kind; 9].into());
        let results = append(&fake, vec![entry("a", "1"), entry("a", "2")]).unwrap();
        assert!(
            results.iter().all(|result| is(result.as_ref().unwrap_err())),
            "{kind:?}: {results:?}"
        );
    }
    // A transient failure is retried.
    let fake = Fake::of(1);
    fake.with(|stream| stream.failures = [CallErrorKind::Transient].into());
    assert!(append(&fake, vec![entry("a", "1")]).unwrap()[0].is_ok());
}

#[test]
fn keys_are_made_valid_and_invalid_records_refused_at_once() {
    let fake = Fake::of(1);
    let keyless =
        |value: &str| NewRecord { value: Some(value.to_string().into()), ..NewRecord::default() };
    let binary = NewRecord { key: Some(Bytes::from_static(b"\xff\xfe")), ..keyless("3") };
    append(
        &fake,
        vec![keyless("1"), keyless("2"), keyless("1"), entry(&"k".repeat(257), "4"), binary],
    )
    .unwrap();
    let keys: Vec<String> =
        fake.with(|stream| stream.puts.concat()).into_iter().map(|entry| entry.key).collect();
    assert!(keys.iter().all(|key| key.len() == 32), "{keys:?}");
    assert_eq!(
        keys.iter().collect::<BTreeSet<_>>().len(),
        4,
        "equal values have one key: {keys:?}"
    );
    let invalid = [
        NewRecord { key: Some("k".into()), ..NewRecord::default() },
        entry("k", &"v".repeat(RECORD_MAX_BYTES)),
    ];
    for invalid in invalid {
        let fake = Fake::of(1);
        assert!(matches!(append(&fake, vec![entry("a", "1"), invalid]), Err(Refusal::Invalid(_))));
        assert_eq!(fake.with(|stream| stream.puts.len()), 0);
    }
}

#[test]
fn a_closed_appender_accepts_no_records() {
    let fake = Fake::of(1);
    let log = fake.stream().kinesis.appender();
    block_on(log.close()).unwrap();
    assert!(matches!(block_on(log.append("events", vec![entry("a", "1")])), Err(Refusal::Busy(_))));
}
