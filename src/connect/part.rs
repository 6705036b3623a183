//! The data that a writer passes to the committer at a commit.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Pieces;
use crate::error::{Error, Result};

/// The changes of one writer since its last part: plain data, which can be sent to another process.
///
/// The note always goes to the committer. The bytes of the files need not: a process without the
/// committer stores them itself ([`Sink::store_files`](super::Sink::store_files)) and sends only
/// the note. In the committer's own process they stay in the part. The committer stores them
/// together with its own files, so that it waits for the disk only once.
///
/// ```
/// use watershed::connect::Part;
/// # use watershed::Error;
///
/// let part = Part::new(&("header", 7), b"a body of any bytes\n")?;
/// let (header, body): ((String, u32), &[u8]) = part.read()?;
/// assert_eq!((header.0.as_str(), header.1, body), ("header", 7, &b"a body of any bytes\n"[..]));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// A message from the writer to the committer of the same sink. Only the sink reads it.
    #[serde(with = "serde_bytes")]
    pub note: Vec<u8>,
    /// Files that are not stored yet.
    pub files: Vec<PartFile>,
}

/// A file that a writer has made in memory.
///
/// ```
/// use watershed::connect::PartFile;
///
/// // The number of the worker and the generation of the run make the name unique.
/// let name = format!("part-{:05}-{}.json", 0, 3);
/// let file = PartFile { name, bytes: b"{}".to_vec().into() };
/// assert_eq!((file.name.as_str(), file.bytes.len()), ("part-00000-3.json", 2));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFile {
    /// Its name in the sink's folder of files. No other writer and no other run uses this name.
    pub name: String,
    /// All of its bytes.
    pub bytes: Pieces,
}

impl Part {
    /// Makes a part without files. Its note is `header` as a line of JSON, followed by `body`.
    ///
    /// # Errors
    /// When the header can't be written as JSON.
    pub fn new(header: &impl Serialize, body: &[u8]) -> Result<Self> {
        let mut note = Vec::with_capacity(body.len() + 64);
        serde_json::to_writer(&mut note, header)
            .map_err(|e| Error::internal("can't encode the note of a part").because(e))?;
        note.push(b'\n');
        note.extend_from_slice(body);
        Ok(Part { note, files: Vec::new() })
    }

    /// Adds files.
    ///
    /// ```
    /// use watershed::connect::{Part, PartFile};
    ///
    /// let file = PartFile { name: "part-0".into(), bytes: b"{}".to_vec().into() };
    /// let part = Part::new(&["part-0"], &[])?.with_files(vec![file]);
    /// let (names, _): (Vec<String>, _) = part.read()?;
    /// assert_eq!(names, [part.files[0].name.as_str()]);
    /// # Ok::<(), watershed::Error>(())
    /// ```
    #[must_use]
    pub fn with_files(self, files: Vec<PartFile>) -> Self {
        Part { files, ..self }
    }

    /// Returns the header and the body of a note that [`new`](Part::new) made.
    ///
    /// # Errors
    /// When the note has another form.
    pub fn read<H: DeserializeOwned>(&self) -> Result<(H, &[u8])> {
        let line = self.note.iter().position(|byte| *byte == b'\n').unwrap_or(self.note.len());
        let header = serde_json::from_slice(&self.note[..line])
            .map_err(|e| Error::internal("can't read the note of a part").because(e))?;
        Ok((header, self.note.get(line + 1..).unwrap_or_default()))
    }
}
