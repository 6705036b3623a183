//! Frames: the messages on a link between two processes.
//!
//! A frame is its length (four bytes), its tag (one byte) and its content. A length is checked
//! against the limit of its tag. Beyond 1 MiB, memory grows with the bytes that have come, not with
//! the length that they announce.

use std::io::{self, ErrorKind, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Bytes of the length and the tag.
const HEADER_BYTES: usize = 5;
/// The longest message of the runtime.
pub(super) const MESSAGE_MAX_BYTES: usize = 256 << 20;
/// The longest description of an error.
const FAILURE_MAX_BYTES: usize = 1 << 20;

/// Memory that is reserved for a frame before its bytes come. Most batches need less.
const RESERVED_BYTES: usize = 1 << 20;

/// The meaning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// The process is alive.
    Beat = 1,
    /// A message of the runtime.
    Message = 2,
    /// The generation and session of the run, and a message of the runtime.
    Welcome = 3,
    /// The process has failed, or process 0 ends the run after a failure.
    Failed = 4,
    /// The process sends nothing more.
    End = 5,
}

impl Tag {
    const ALL: [Tag; 5] = [Tag::Beat, Tag::Message, Tag::Welcome, Tag::Failed, Tag::End];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| *tag as u8 == byte)
    }

    fn max_bytes(self) -> usize {
        match self {
            Tag::Beat | Tag::End => 0,
            Tag::Failed => FAILURE_MAX_BYTES,
            Tag::Message | Tag::Welcome => MESSAGE_MAX_BYTES,
        }
    }
}

/// A frame that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) tag: Tag,
    pub(super) content: Vec<u8>,
}

/// Returns the bytes of a frame without content.
pub(super) fn empty(tag: Tag) -> Vec<u8> {
    vec![0, 0, 0, 0, tag as u8]
}

/// Returns the bytes of a frame with this content.
///
/// # Errors
/// Of kind [`Internal`](crate::ErrorKind::Internal) for a content that is too long, or that its
/// type can't encode.
pub(super) fn encoded(tag: Tag, content: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(content, empty(tag))
        .map_err(|e| Error::internal("can't encode a message to another process").because(e))?;
    let length = bytes.len() - HEADER_BYTES;
    if length > tag.max_bytes() {
        let message = format!("a message of {length} bytes is too long for another process");
        return Err(Error::internal(message));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(bytes)
}

/// Returns the content of a frame.
///
/// # Errors
/// When the bytes are not those of a `T`, or more.
pub(super) fn decoded<T: DeserializeOwned>(content: &[u8]) -> io::Result<T> {
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(malformed("a message has too many bytes")),
        Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
    }
}

/// Reads a frame; returns `None` at the end of the stream.
///
/// # Errors
/// For malformed bytes, for an end within a frame, and those of the reader.
pub(super) fn read(reader: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER_BYTES];
    let first = reader.read(&mut header)?;
    if first == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[first..])?;
    let [a, b, c, d, tag] = header;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let tag = Tag::of(tag).ok_or_else(|| malformed("a message has an unknown tag"))?;
    if length > tag.max_bytes() {
        return Err(malformed("a message is too long"));
    }
    let mut content = Vec::with_capacity(length.min(RESERVED_BYTES));
    if reader.take(length as u64).read_to_end(&mut content)? < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { tag, content }))
}

fn malformed(message: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let mut bytes = encoded(Tag::Message, &("a", 7_u64)).unwrap();
        bytes.extend(empty(Tag::Beat));
        let mut reader = bytes.as_slice();
        let frame = read(&mut reader).unwrap().unwrap();
        assert_eq!(frame.tag, Tag::Message);
        assert_eq!(decoded::<(String, u64)>(&frame.content).unwrap(), ("a".into(), 7));
        assert!(decoded::<String>(&frame.content).is_err(), "bytes are left");
        assert_eq!(read(&mut reader).unwrap().unwrap().tag, Tag::Beat);
        assert_eq!(read(&mut reader).unwrap(), None);
        for end in 1..bytes.len() - HEADER_BYTES {
            assert!(read(&mut &bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn lengths_and_tags_outside_their_limits_are_refused() {
        let long = |tag: u8, length: u32| {
            let header = [&length.to_be_bytes()[..], &[tag]].concat();
            read(&mut header.chain(io::repeat(0))).unwrap_err().kind()
        };
        assert_eq!(long(Tag::Beat as u8, 1), ErrorKind::InvalidData);
        assert_eq!(long(Tag::Failed as u8, 1 << 21), ErrorKind::InvalidData);
        assert_eq!(long(Tag::Message as u8, u32::MAX), ErrorKind::InvalidData);
        assert_eq!(long(0, 0), ErrorKind::InvalidData);
        assert!(encoded(Tag::Failed, &vec![0_u8; FAILURE_MAX_BYTES + 1]).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = bytes.as_slice();
            while let Ok(Some(frame)) = read(&mut reader) {
                let _ = decoded::<(Vec<String>, u64)>(&frame.content);
            }
        }
    }
}
