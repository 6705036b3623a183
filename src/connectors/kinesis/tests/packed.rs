//! Aggregated records of the KPL.

use md5::{Digest, Md5};

use super::super::OFFSETS_PER_SHARD;
use super::super::kpl::unpack;
use super::fake::{Fake, ReadRecord, read, values};
use crate::connect::{Poll, Source};

/// Encodes fields with number and content as a message.
fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let field = |(number, bytes): &(u8, &[u8])| {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length > 127 {
            out.push(length as u8 | 128);
            length >>= 7;
        }
        out.push(length as u8);
        [&out, *bytes].concat()
    };
    fields.iter().flat_map(field).collect()
}

fn sealed(message: &[u8]) -> Vec<u8> {
    [&[0xf3, 0x89, 0x9a, 0xc2], message, &Md5::digest(message)[..]].concat()
}

fn pack(records: &[(&str, &str)]) -> Vec<u8> {
    let mut fields: Vec<(u8, Vec<u8>)> =
        records.iter().map(|(key, _)| (1, key.as_bytes().to_vec())).collect();
    for (at, (_, data)) in records.iter().enumerate() {
        // The index of the key, then an explicit hash key and a tag, which are skipped, then the
        // data.
        let inner =
            [&[8, at as u8, 16, 1][..], &message(&[(3, data.as_bytes()), (4, b"tag")])].concat();
        fields.push((3, inner));
    }
    let fields: Vec<(u8, &[u8])> =
        fields.iter().map(|(number, bytes)| (*number, bytes.as_slice())).collect();
    sealed(&message(&fields))
}

#[test]
fn aggregated_records_are_unpacked() {
    let long = "x".repeat(300);
    let raw = pack(&[("a", "1"), ("b", &long), ("a", "")]);
    assert_eq!(unpack(&raw).unwrap(), [("a", &b"1"[..]), ("b", long.as_bytes()), ("a", &b""[..])]);
    assert!(unpack(&sealed(b"")).unwrap().is_empty());
}

#[test]
fn a_damaged_aggregate_is_a_plain_record() {
    let raw = pack(&[("a", "1"), ("b", "2")]);
    for cut in 0..raw.len() {
        assert_eq!(unpack(&raw[..cut]), None, "cut to {cut}");
        let mut broken = raw.clone();
        broken[cut] ^= 1;
        assert_eq!(unpack(&broken), None, "broken at {cut}");
    }
    let wrong: [&[u8]; 7] = [
        b"\x0a",
        b"\x0a\x05ab",
        b"\x0b",
        b"\x0a\x01\xff",
        b"\x1a\x00",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        // The index of a key that does not exist.
        b"\x0a\x01a\x1a\x05\x08\x01\x1a\x01x",
    ];
    for message in wrong {
        assert_eq!(unpack(&sealed(message)), None, "{message:?}");
    }
}

#[test]
fn unpacked_records_have_offsets_of_their_own() {
    let fake = Fake::of(2);
    fake.append(1, "plain", "0");
    fake.append(1, "any", pack(&[("a", "1"), ("b", "2"), ("c", "3")]));
    fake.append(1, "any", sealed(b""));
    fake.append(1, "plain", "4");
    fake.append(1, "any", pack(&[("d", "5")]));
    let all: Vec<ReadRecord> = [("plain", 0), ("a", 1), ("b", 2), ("c", 3), ("plain", 4), ("d", 5)]
        .map(|(key, n)| (1, OFFSETS_PER_SHARD + n, key.to_string(), n.to_string()))
        .into();
    let source = fake.stream();
    assert_eq!(read(&source, 1, None), all);
    for from in 0..=6 {
        assert_eq!(
            read(&source, 1, Some(OFFSETS_PER_SHARD + from)),
            all[from as usize..],
            "from {from}"
        );
        assert_eq!(
            read(&fake.stream(), 1, Some(OFFSETS_PER_SHARD + from)),
            all[from as usize..],
            "from {from}, in another process"
        );
    }
    assert!(source.open(1, Some(OFFSETS_PER_SHARD + 7), false).is_err());
}

#[test]
fn a_large_aggregate_is_many_batches() {
    // Unpacking multiplies the bytes by a thousand: each record refers to the one key.
    let key = "k".repeat(50_000);
    let records: Vec<Vec<u8>> =
        (0..5000_u32).map(|n| [&[8, 0], &message(&[(3, &n.to_be_bytes())])[..]].concat()).collect();
    let fields: Vec<(u8, &[u8])> = records.iter().map(|record| (3, record.as_slice())).collect();
    for (key, longest) in [(key.as_str(), 21), ("k", 4096)] {
        let fake = Fake::of(1);
        fake.append(0, "any", "first");
        fake.append(0, "any", sealed(&message(&[&[(1, key.as_bytes())][..], &fields].concat())));
        fake.append(0, "any", "last");
        let source = fake.stream();
        let mut reader = source.open(0, None, false).unwrap();
        let (mut next, mut batches) = (0, 0);
        loop {
            match reader.poll().unwrap() {
                Poll::Batch(batch) => {
                    assert!(
                        batch.bytes.len() <= 1 << 20 && batch.records.len() <= longest,
                        "{} records",
                        batch.records.len()
                    );
                    assert_eq!(
                        (batch.first, batch.next),
                        (next, next + batch.records.len() as u64)
                    );
                    for record in
                        batch.iter(0).filter(|record| (1..=5000).contains(&record.order.offset))
                    {
                        let n = record.order.offset as u32 - 1;
                        assert!(
                            (record.key, record.value)
                                == (Some(key.as_bytes()), Some(&n.to_be_bytes()[..])),
                            "record {n}"
                        );
                    }
                    (next, batches) = (batch.next, batches + 1);
                    if batches % 100 == 1 {
                        let memory = source.state(&[(0, next)].into());
                        let other = fake.stream();
                        other.restore(&memory).unwrap();
                        let mut rest = other.open(0, Some(next), false).unwrap();
                        let first = loop {
                            match rest.poll().unwrap() {
                                Poll::Batch(batch) => break Some(batch.first),
                                Poll::Idle => {
                                    assert!(rest.wait(std::time::Duration::from_secs(10)))
                                }
                                Poll::End => break None,
                            }
                        };
                        assert_eq!(first, (next < 5002).then_some(next), "continued at {next}");
                    }
                }
                Poll::Idle => assert!(reader.wait(std::time::Duration::from_secs(10))),
                Poll::End => break,
            }
        }
        assert_eq!(next, 5002);
    }
}

#[test]
fn an_empty_aggregate_is_not_an_empty_batch() {
    let fake = Fake::of(1);
    fake.with(|stream| stream.page = 1);
    (0..3).for_each(|_| fake.append(0, "any", sealed(b"")));
    fake.append(0, "key", "value");
    assert_eq!(values(&read(&fake.stream(), 0, None)), ["value"]);
}
