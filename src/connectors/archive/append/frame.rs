//! The format of the journal's segments: a head, then frames one after the other.
//!
//! ```text
//! segment   magic, number u64, key u64, digest of the previous head u64, digest of these u64;
//!           then frames
//! frame     magic, its place in the segment u64, digest of the previous head u64,
//!           length and digest of its body u64 u64, digest of the head and of the
//!           segment's number u64;
//!           then the body
//! ```
//!
//! Digests of frames depend on the segment's random key, so no record can contain the bytes of a
//! valid head. Each frame and each segment has the digest of the previous head, so a missing frame
//! is detected.

use std::hash::{BuildHasher, RandomState};

use bytes::{Buf, BufMut, Bytes};
use memchr::memmem;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::super::layout::SEGMENT_HEAD_BYTES;

const SEGMENT: &[u8; 8] = b"WSjrnl\0\x02";
const FRAME: &[u8; 8] = b"WSfrm\xf5\xff\x02";
/// Bytes of a frame before its body.
const HEAD_BYTES: usize = 48;
/// Place of a head's own digest in the head.
const DIGEST: usize = HEAD_BYTES - 8;

/// A segment, by number and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    key: u64,
    /// Digest of the last head before this segment.
    pub(super) before: u64,
}

/// The head of a frame.
struct Head {
    place: u64,
    before: u64,
    length: u64,
    body: u64,
    digest: u64,
}

/// The next frame of a segment.
pub(super) enum Step {
    /// A frame: its body, the place behind it, and the digest of its head.
    Frame(Bytes, usize, u64),
    /// The segment ends here.
    End,
    /// Here is no whole frame, and no later one in this segment.
    Torn,
    /// The frame here is damaged or missing, because the segment has a later one.
    Damaged,
}

impl Segment {
    /// A segment with a random key; `before` is the digest of the previous head.
    pub(super) fn new(number: u64, before: u64) -> Self {
        Segment { number, key: RandomState::new().hash_one(number), before }
    }

    /// The head of the segment.
    pub(super) fn head(self) -> Vec<u8> {
        let mut head = SEGMENT.to_vec();
        head.put_u64_le(self.number);
        head.put_u64_le(self.key);
        head.put_u64_le(self.before);
        head.put_u64_le(xxh3_64(&head));
        head
    }

    /// Parses the head of a segment; `None` if the bytes don't begin with one.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let (mut head, rest) = bytes.get(..SEGMENT_HEAD_BYTES)?.split_at(SEGMENT_HEAD_BYTES - 8);
        let whole = xxh3_64(head) == u64::from_le_bytes(rest.try_into().ok()?);
        (whole && head.starts_with(SEGMENT)).then(|| {
            head.advance(SEGMENT.len());
            Segment { number: head.get_u64_le(), key: head.get_u64_le(), before: head.get_u64_le() }
        })
    }

    /// A frame of `body` at `place`, and the digest of its head; `before` is the digest of the
    /// previous head.
    pub(super) fn frame(self, place: u64, before: u64, body: &[u8]) -> (Vec<u8>, u64) {
        let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
        frame.put_slice(FRAME);
        frame.put_u64_le(place);
        frame.put_u64_le(before);
        frame.put_u64_le(body.len() as u64);
        frame.put_u64_le(xxh3_64_with_seed(body, self.key));
        let digest = self.digest(&frame);
        frame.put_u64_le(digest);
        frame.put_slice(body);
        (frame, digest)
    }

    /// Parses the frame at `place` of the segment's bytes; `last` is the digest of the previous
    /// head.
    pub(super) fn step(self, all: &Bytes, place: usize, last: u64) -> Step {
        if place == all.len() {
            return Step::End;
        }
        if let Some(head) = self.read(all, place) {
            if (head.place, head.before) != (place as u64, last) {
                return Step::Damaged;
            }
            let from = place + HEAD_BYTES;
            let end = usize::try_from(head.length).ok().and_then(|length| from.checked_add(length));
            let body = end.filter(|end| *end <= all.len()).map(|end| all.slice(from..end));
            if let Some(body) = body.filter(|body| xxh3_64_with_seed(body, self.key) == head.body) {
                return Step::Frame(body.clone(), from + body.len(), head.digest);
            }
        }
        if self.has_frame(all, place + 1) { Step::Damaged } else { Step::Torn }
    }

    /// True if the segment's bytes contain the head of any frame from `place` on.
    pub(super) fn has_frame(self, all: &Bytes, place: usize) -> bool {
        let rest = all.get(place..).unwrap_or_default();
        memmem::find_iter(rest, FRAME).any(|at| self.read(rest, at).is_some())
    }

    /// Parses the head at `at`; `None` if there is none.
    fn read(self, bytes: &[u8], at: usize) -> Option<Head> {
        let head = bytes.get(at..)?.get(..HEAD_BYTES)?;
        let (mut fields, digest) = (head.strip_prefix(FRAME)?, self.digest(&head[..DIGEST]));
        let (place, before) = (fields.get_u64_le(), fields.get_u64_le());
        let (length, body) = (fields.get_u64_le(), fields.get_u64_le());
        (fields.get_u64_le() == digest).then_some(Head { place, before, length, body, digest })
    }

    /// The digest of a head's other fields.
    fn digest(self, fields: &[u8]) -> u64 {
        let mut all = [0; DIGEST + 8];
        all[..DIGEST].copy_from_slice(fields);
        all[DIGEST..].copy_from_slice(&self.number.to_le_bytes());
        xxh3_64_with_seed(&all, self.key)
    }
}

/// True for a segment in the format of an earlier version of this program.
pub(super) fn is_of_an_earlier_version(mut bytes: &[u8]) -> bool {
    let (Ok(length), Ok(digest)) = (bytes.try_get_u32_le(), bytes.try_get_u64_le()) else {
        return false;
    };
    length > 0 && bytes.get(..length as usize).is_some_and(|body| xxh3_64(body) == digest)
}
