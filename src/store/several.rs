//! Writing several objects concurrently.

use super::Store;
use crate::error::Result;
use crate::sync::side_by_side;

impl Store {
    /// Writes independent objects concurrently, each with its name and the pieces of its bytes,
    /// because nearly all of the time is spent on waiting for syncs.
    ///
    /// The threads end within the call, so nothing outlives a commit. After a failure every object
    /// is deleted: nothing refers to them yet, and a full disk has no room for them.
    ///
    /// # Errors
    /// When an object can't be written.
    pub(crate) fn put_all(&self, files: &[(&str, Vec<&[u8]>)]) -> Result<()> {
        let puts = files.iter().map(|(name, pieces)| || self.put_pieces(name, pieces));
        let put = side_by_side("a thread that writes a file", puts);
        let result = put.into_iter().collect();
        if Result::is_err(&result) {
            files.iter().for_each(|(name, _)| drop(self.delete(name)));
        }
        result
    }
}
