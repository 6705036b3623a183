//! The changes that a writer of a table passes to the committer: a note, and files.

use serde::{Deserialize, Serialize};

use crate::connect::{Part, PartFile};
use crate::error::{Error, Result};

use super::file::{FileEntry, NewFile};
use super::index::Place;

/// The size of a place in a note: the numbers of its file and of its row, little-endian. A large
/// commit has hundreds of thousands of places, and JSON would take three times as much.
const PLACE_BYTES: usize = 8;

/// The changes of a writer, as the committer reads them.
pub(super) struct Changes {
    pub(super) header: Header,
    /// The places of rows that are deleted.
    pub(super) deleted: Vec<Place>,
    /// The files that this process still has to store.
    pub(super) unstored: Vec<PartFile>,
}

/// The changes, except the deleted rows.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    /// Files to add.
    pub(super) files: Vec<FileEntry>,
    /// Numbers of files whose rows are all deleted.
    pub(super) replaced: Vec<u32>,
    /// True if the writer rewrites all of its rows at each change.
    pub(super) rewrites: bool,
}

impl Changes {
    /// Encodes the changes of a writer as a part.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub(super) fn part(
        files: Vec<NewFile>,
        deleted: &[Place],
        replaced: Vec<u32>,
        rewrites: bool,
    ) -> Result<Part> {
        let mut body = Vec::with_capacity(deleted.len() * PLACE_BYTES);
        for place in deleted {
            body.extend_from_slice(&place.file.to_le_bytes());
            body.extend_from_slice(&place.row.to_le_bytes());
        }
        let (mut entries, mut unstored) = (Vec::new(), Vec::new());
        for NewFile { entry, bytes } in files {
            unstored.push(PartFile { name: entry.path.clone(), bytes });
            entries.push(entry);
        }
        let header = Header { files: entries, replaced, rewrites };
        Ok(Part::new(&header, &body)?.with_files(unstored))
    }

    /// Decodes the part of a writer, in any process.
    ///
    /// # Errors
    /// When it is not the part of a writer of a table.
    pub(super) fn read(part: Part) -> Result<Self> {
        let (header, body) = part.read::<Header>()?;
        let (places, rest) = body.as_chunks::<PLACE_BYTES>();
        if !rest.is_empty() {
            return Err(Error::internal("can't read the note of a part: a place is cut off"));
        }
        let place = |bytes: &[u8; PLACE_BYTES]| {
            let [a, b, c, d, e, f, g, h] = *bytes;
            let (file, row) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            Place { file, row }
        };
        let deleted = places.iter().map(place).collect();
        Ok(Changes { header, deleted, unstored: part.files })
    }
}
