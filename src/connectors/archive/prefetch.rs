//! Prefetching of objects from an object store: one response takes as long as reading thousands of
//! records.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{Error as IoError, Read};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::store::Fetch;

use super::finder::Listed;
use super::objects::Objects;

/// The number of objects of a partition that are requested at once.
const PREFETCH_REQUESTS: usize = 32;
/// The number of bytes that they may return together.
const PREFETCH_BYTES: u64 = 8 << 20;
/// The size of one request; a larger object is read in pieces.
const PIECE_BYTES: u64 = 2 << 20;

/// The running requests of one partition.
#[derive(Default)]
pub(super) struct Prefetch {
    begun: VecDeque<Pieces>,
}

impl Prefetch {
    /// Returns a reader of `object`, `None` if it does not exist. Meanwhile `later` objects are
    /// requested.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn open<'a>(
        &mut self,
        objects: &Objects,
        object: &Listed,
        later: impl Iterator<Item = &'a Listed>,
    ) -> Result<Option<Box<dyn Read + Send>>> {
        if objects.store.remote().is_none() {
            return objects.open(object);
        }
        self.begun.retain(|ahead| ahead.object >= *object);
        let mut mine = match self.begun.front() {
            Some(ahead) if ahead.object == *object => self.begun.pop_front(),
            _ => None,
        }
        .unwrap_or_else(|| Pieces::begin(objects, object));
        let last = self.begun.back().map(|ahead| ahead.object.clone());
        let mut bytes: u64 = self.begun.iter().map(|ahead| ahead.object.piece()).sum();
        for object in later.skip_while(|object| last.as_ref().is_some_and(|last| *object <= last)) {
            bytes += object.piece();
            if self.begun.len() >= PREFETCH_REQUESTS || bytes > PREFETCH_BYTES {
                break;
            }
            self.begun.push_back(Pieces::begin(objects, object));
        }
        Ok(mine.next()?.then(|| Box::new(mine) as _))
    }
}

impl Listed {
    fn bytes(&self) -> u64 {
        self.size.unwrap_or(0)
    }

    fn piece(&self) -> u64 {
        self.bytes().min(PIECE_BYTES)
    }
}

/// An object of which one piece is read while the next one is requested.
struct Pieces {
    objects: Objects,
    object: Listed,
    /// The number of its bytes that were requested.
    requested: u64,
    /// The number of its bytes that have arrived.
    received: u64,
    running: Option<Fetch>,
    piece: Bytes,
}

impl Pieces {
    fn begin(objects: &Objects, object: &Listed) -> Self {
        let (objects, object) = (objects.clone(), object.clone());
        let mut begun = Pieces {
            objects,
            object,
            requested: 0,
            received: 0,
            running: None,
            piece: Bytes::new(),
        };
        begun.request();
        begun
    }

    fn request(&mut self) {
        let (from, to) = (self.requested, (self.requested + PIECE_BYTES).min(self.object.bytes()));
        let Some(remote) = self.objects.below.remote().filter(|_| from < to) else { return };
        // Request a small object as a whole: the response shows that it has not grown.
        let range = (to - from < self.object.bytes()).then_some(from..to);
        self.running = Some(remote.fetch_found(&self.objects.at(&self.object), range));
        self.requested = to;
    }

    /// Waits for the next piece and requests the one after it; false if the object does not exist.
    fn next(&mut self) -> Result<bool> {
        let Some(fetch) = self.running.take() else { return Ok(true) };
        let Some(piece) = fetch.wait()? else { return Ok(false) };
        self.received += piece.len() as u64;
        if self.received != self.requested {
            let name = self.objects.title(&self.object);
            let message = format!(
                "{name} has changed since the listing: it had {} bytes",
                self.object.bytes()
            );
            return Err(Error::data(message)
                .hint("Restore the original: objects of an archive are immutable."));
        }
        self.piece = piece;
        self.request();
        Ok(true)
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.piece.is_empty() && !self.next().map_err(IoError::other)? {
            return Err(IoError::other("it is gone"));
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
