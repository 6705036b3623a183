//! Records that a producer packed into one.

use md5::{Digest, Md5};

use super::super::OFFSETS;
use super::super::kpl::unpack;
use super::fake::{Fake, Got, read, values};
use crate::connect::Source;

/// Fields of a message: number and content.
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
    let mut fields: Vec<(u8, Vec<u8>)> = records.iter().map(|(key, _)| (1, key.as_bytes().to_vec())).collect();
    for (at, (_, data)) in records.iter().enumerate() {
        // The key, then a hash key as a number and a tag, which are passed over, then the data.
        let inner = [&[8, at as u8, 16, 1][..], &message(&[(3, data.as_bytes()), (4, b"tag")])].concat();
        fields.push((3, inner));
    }
    let fields: Vec<(u8, &[u8])> = fields.iter().map(|(number, bytes)| (*number, bytes.as_slice())).collect();
    sealed(&message(&fields))
}

#[test]
fn what_is_packed_is_opened() {
    let long = "x".repeat(300);
    let raw = pack(&[("a", "1"), ("b", &long), ("a", "")]);
    assert_eq!(unpack(&raw).unwrap(), [("a", &b"1"[..]), ("b", long.as_bytes()), ("a", &b""[..])]);
    assert!(unpack(&sealed(b"")).unwrap().is_empty());
}

#[test]
fn what_is_not_packed_rightly_is_a_record_as_it_is() {
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
        // The index of a key that is not there.
        b"\x0a\x01a\x1a\x05\x08\x01\x1a\x01x",
    ];
    for message in wrong {
        assert_eq!(unpack(&sealed(message)), None, "{message:?}");
    }
}

#[test]
fn packed_records_have_offsets_of_their_own_and_are_read_from_the_middle() {
    let fake = Fake::of(2);
    fake.append(1, "plain", "0");
    fake.append(1, "any", pack(&[("a", "1"), ("b", "2"), ("c", "3")]));
    fake.append(1, "any", sealed(b""));
    fake.append(1, "plain", "4");
    fake.append(1, "any", pack(&[("d", "5")]));
    let all: Vec<Got> = [("plain", 0), ("a", 1), ("b", 2), ("c", 3), ("plain", 4), ("d", 5)]
        .map(|(key, n)| (1, OFFSETS + n, key.to_string(), n.to_string()))
        .into();
    let source = fake.stream();
    assert_eq!(read(&source, 1, None), all);
    for from in 0..=6 {
        assert_eq!(read(&source, 1, Some(OFFSETS + from)), all[from as usize..], "from {from}");
        assert_eq!(read(&fake.stream(), 1, Some(OFFSETS + from)), all[from as usize..], "from {from}, in another process");
    }
    assert!(source.open(1, Some(OFFSETS + 7), false).is_err());
}

#[test]
fn records_that_are_packed_empty_are_no_batch_of_none() {
    let fake = Fake::of(1);
    fake.with(|stream| stream.page = 1);
    (0..3).for_each(|_| fake.append(0, "any", sealed(b"")));
    fake.append(0, "key", "value");
    assert_eq!(values(&read(&fake.stream(), 0, None)), ["value"]);
}
