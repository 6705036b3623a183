//! The floors: hash maps that one thread updates in the order in which a program reads its records.

use std::collections::{HashMap, VecDeque};

use crate::records::Generated;
use crate::{GAP_MICROS, NEAR_MICROS, Outcome, Results};

/// Counts the records of each key and second. The last second is not over.
pub(crate) fn count(records: &Generated) -> Outcome<Results> {
    let (mut open, mut window) = (HashMap::<i64, i64>::new(), 0);
    let mut closed = Results::default();
    records.for_each(|key, at, _| {
        if at / 1_000_000 > window {
            window = at / 1_000_000;
            open.drain().for_each(|(_, count)| closed.add(count));
        }
        *open.entry(key).or_default() += 1;
    })?;
    Ok(closed)
}

/// The session of a key that is open.
struct Session {
    last: i64,
    count: i64,
}

/// Counts the records of each session that is over at the last record.
pub(crate) fn sessions(records: &Generated) -> Outcome<Results> {
    let mut open = HashMap::<i64, Session>::new();
    let (mut closed, mut now) = (Results::default(), 0);
    records.for_each(|key, at, _| {
        let session = open.entry(key).or_insert(Session { last: at, count: 0 });
        if at > session.last + GAP_MICROS {
            closed.add(session.count);
            session.count = 0;
        }
        (session.last, session.count, now) = (at, session.count + 1, at);
    })?;
    let over = open.into_values().filter(|session| now > session.last + GAP_MICROS);
    over.for_each(|session| closed.add(session.count));
    Ok(closed)
}

/// Pairs the records of two topics, which are read batch by batch in turn. Each key has the records
/// of both sides that may have further partners.
pub(crate) fn join(records: &Generated) -> Outcome<Results> {
    let mut near = HashMap::<i64, [VecDeque<(i64, i64)>; 2]>::new();
    let (mut pairs, mut is_over) = (Results::default(), false);
    let mut readers = records.sides().map(|side| side.reader());
    while !is_over {
        is_over = true;
        for (side, reader) in readers.iter_mut().enumerate() {
            is_over &= !reader.for_each(|key, at, value| {
                let records = near.entry(key).or_default();
                let others = &mut records[1 - side];
                while others.front().is_some_and(|(other, _)| at - other > NEAR_MICROS) {
                    others.pop_front();
                }
                let others = others.iter().take_while(|(other, _)| other - at <= NEAR_MICROS);
                others.for_each(|(_, other)| pairs.add(value + other));
                records[side].push_back((at, value));
            })?;
        }
    }
    Ok(pairs)
}
