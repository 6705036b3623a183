//! Objects that are packed by gzip, unpacked in pieces while they are read.

use std::io::{BufReader, Error as IoError, ErrorKind as Io, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::Error;

/// The bytes of a packed object, which may consist of several gzip members.
pub(super) struct Unpacked {
    bytes: MultiGzDecoder<BufReader<Box<dyn Read + Send>>>,
    name: String,
    /// True once damage was found. Then every read fails, so that the object does not seem to end.
    damaged: bool,
}

impl Unpacked {
    pub(super) fn new(packed: Box<dyn Read + Send>, name: String) -> Self {
        Unpacked { bytes: MultiGzDecoder::new(BufReader::new(packed)), name, damaged: false }
    }

    fn error(&self) -> Error {
        Error::data(format!("can't unpack {}: it is damaged", self.name))
            .hint("Restore the original: objects of an archive are immutable.")
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.damaged {
            return Err(IoError::other(self.error()));
        }
        self.bytes.read(buffer).map_err(|e| {
            let of_gzip =
                matches!(e.kind(), Io::InvalidInput | Io::InvalidData | Io::UnexpectedEof);
            if !of_gzip || e.raw_os_error().is_some() {
                return e;
            }
            self.damaged = true;
            IoError::other(self.error().because(e))
        })
    }
}
