//! Writing several objects at once.

use super::Store;
use crate::error::Result;
use crate::sync::side_by_side;

impl Store {
    /// Writes objects that don't depend on each other side by side, each with its name and bytes:
    /// nearly all of the time is spent on waiting for syncs.
    ///
    /// The threads end within the call, so nothing outlives a commit. After a failure none of the
    /// objects is left: nothing refers to them yet, and a full disk has no room for them.
    ///
    /// # Errors
    /// When one can't be written.
    pub(crate) fn put_all(&self, files: &[(&str, &[u8])]) -> Result<()> {
        let puts = files.iter().map(|(name, bytes)| || self.put(name, bytes));
        let put = side_by_side("a thread that writes a file", puts);
        let result = put.into_iter().collect();
        if Result::is_err(&result) {
            files.iter().for_each(|(name, _)| drop(self.delete(name)));
        }
        result
    }
}
