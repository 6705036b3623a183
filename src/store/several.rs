//! Writing several objects at once.

use super::Store;
use crate::error::{Error, Result};

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
        std::thread::scope(|scope| {
            let put = |(name, bytes): &(&str, &[u8])| self.put(name, bytes);
            let Some((first, rest)) = files.split_first() else { return Ok(()) };
            let start = |file| std::thread::Builder::new().spawn_scoped(scope, move || put(file));
            let threads: Vec<_> = rest.iter().map(start).collect();
            let mut result = put(first);
            for thread in threads {
                let thread = thread.map_err(|e| Error::no_thread("a thread that writes a file", e));
                let panicked = |_| Err(Error::internal("a thread that writes a file has panicked"));
                let put = thread.and_then(|thread| thread.join().unwrap_or_else(panicked));
                result = result.and(put);
            }
            if result.is_err() {
                files.iter().for_each(|(name, _)| drop(self.delete(name)));
            }
            result
        })
    }
}
