//! Objects of an object store, asked for before they are needed: one answer takes as long as
//! reading thousands of records.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{Error as IoError, Read};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::store::Fetch;

use super::finder::Listed;
use super::objects::Objects;

/// How many objects of a partition are asked for at once, and how many bytes they may bring
/// together.
const REQUESTS: usize = 32;
const BYTES: u64 = 8 << 20;
/// How many bytes one request asks for; a larger object is read in pieces.
const PIECE: u64 = 2 << 20;

/// What is under way for one partition.
#[derive(Default)]
pub(super) struct Ahead {
    begun: VecDeque<Pieces>,
}

impl Ahead {
    /// The bytes of `object`, `None` if there is none; those of `later` objects are asked for
    /// meanwhile.
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
            if self.begun.len() >= REQUESTS || bytes > BYTES {
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
        self.bytes().min(PIECE)
    }
}

/// An object, of which one piece is read and the next one under way.
struct Pieces {
    objects: Objects,
    object: Listed,
    /// How many of its bytes were asked for, and how many came.
    asked: u64,
    came: u64,
    coming: Option<Fetch>,
    piece: Bytes,
}

impl Pieces {
    fn begin(objects: &Objects, object: &Listed) -> Self {
        let (objects, object) = (objects.clone(), object.clone());
        let mut begun =
            Pieces { objects, object, asked: 0, came: 0, coming: None, piece: Bytes::new() };
        begun.ask();
        begun
    }

    fn ask(&mut self) {
        let (from, to) = (self.asked, (self.asked + PIECE).min(self.object.bytes()));
        let Some(remote) = self.objects.below.remote().filter(|_| from < to) else { return };
        // What fits is asked for as a whole, which shows that it is no longer than it was.
        let range = (to - from < self.object.bytes()).then_some(from..to);
        self.coming = Some(remote.fetch_found(&self.objects.at(&self.object), range));
        self.asked = to;
    }

    /// Waits for the next piece and asks for the one after it; false if there is no such object.
    fn next(&mut self) -> Result<bool> {
        let Some(fetch) = self.coming.take() else { return Ok(true) };
        let Some(piece) = fetch.wait()? else { return Ok(false) };
        self.came += piece.len() as u64;
        if self.came != self.asked {
            let name = self.objects.title(&self.object);
            let message =
                format!("{name} is not what was listed: it had {} bytes", self.object.bytes());
            return Err(Error::data(message)
                .hint("Bring back what was there: objects of an archive are immutable."));
        }
        self.piece = piece;
        self.ask();
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
