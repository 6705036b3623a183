//! What a gateway is told of records that Kinesis takes, refuses one of, or has no room for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;

use super::super::api::FaultKind;
use super::super::put::RECORD;
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
fn records_of_one_key_go_in_one_call_and_only_those_that_are_refused_in_another() {
    let fake = Fake::of(1);
    let entries: Vec<NewRecord> = (0..500).map(|n| entry("k", &n.to_string())).collect();
    fake.with(|stream| stream.refused = [[0, 2, 499].into(), [1].into()].into());
    let places = append(&fake, entries).unwrap();
    assert_eq!(places.len(), 500);
    assert!(
        places
            .iter()
            .all(|place| matches!(place, Ok(Appended { position: Position::Sequence(_), .. }))),
        "{places:?}"
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
fn what_there_is_no_room_for_is_refused_and_the_rest_acknowledged() {
    let fake = Fake::of(1);
    // The first call takes two of three, and none of the others anything.
    fake.with(|stream| {
        stream.refused = std::iter::once([1].into()).chain((0..9).map(|_| [0].into())).collect()
    });
    let places = append(&fake, vec![entry("a", "1"), entry("b", "2"), entry("b", "3")]).unwrap();
    assert!(places[0].is_ok() && places[2].is_ok(), "{places:?}");
    assert!(matches!(places[1], Err(Refusal::Busy(_))), "{places:?}");
}

#[test]
fn what_was_written_before_the_time_was_up_is_acknowledged() {
    let fake = Fake::of(1);
    fake.with(|stream| stream.silent_after = Some(1));
    let log = fake.stream().kinesis.appender().timeout(Duration::from_millis(1));
    let places =
        block_on(log.append("events", (0..501).map(|n| entry("k", &n.to_string())).collect()))
            .unwrap();
    assert!(places[..500].iter().all(Result::is_ok), "{places:?}");
    assert!(matches!(places[500..], [Err(Refusal::Busy(_))]), "{places:?}");
}

#[test]
fn a_call_that_fails_refuses_all_of_it_by_its_reason() {
    type Is = fn(&Refusal) -> bool;
    let cases: [(FaultKind, Is); 5] = [
        (FaultKind::Missing, |refusal| *refusal == Refusal::NoTopic),
        (FaultKind::Denied, |refusal| matches!(refusal, Refusal::Denied(_))),
        (FaultKind::Invalid, |refusal| matches!(refusal, Refusal::Invalid(_))),
        (FaultKind::InUse, |refusal| matches!(refusal, Refusal::Busy(_))),
        (FaultKind::Passing, |refusal| matches!(refusal, Refusal::Busy(_))),
    ];
    for (kind, is) in cases {
        let fake = Fake::of(1);
        fake.with(|stream| stream.faults = [kind; 9].into());
        let places = append(&fake, vec![entry("a", "1"), entry("a", "2")]).unwrap();
        assert!(places.iter().all(|place| is(place.as_ref().unwrap_err())), "{kind:?}: {places:?}");
    }
    // One that passes in time is nobody's trouble.
    let fake = Fake::of(1);
    fake.with(|stream| stream.faults = [FaultKind::Passing].into());
    assert!(append(&fake, vec![entry("a", "1")]).unwrap()[0].is_ok());
}

#[test]
fn a_record_without_a_key_gets_one_and_what_is_no_record_is_refused_before_anything_is_written() {
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
    let unfit = [
        NewRecord { key: Some("k".into()), ..NewRecord::default() },
        entry("k", &"v".repeat(RECORD)),
    ];
    for unfit in unfit {
        let fake = Fake::of(1);
        assert!(matches!(append(&fake, vec![entry("a", "1"), unfit]), Err(Refusal::Invalid(_))));
        assert_eq!(fake.with(|stream| stream.puts.len()), 0);
    }
}

#[test]
fn a_log_that_is_closed_takes_nothing_more() {
    let fake = Fake::of(1);
    let log = fake.stream().kinesis.appender();
    block_on(log.close()).unwrap();
    assert!(matches!(block_on(log.append("events", vec![entry("a", "1")])), Err(Refusal::Busy(_))));
}
