//! [`PrivateFolder`]: a place for Unix sockets that no other user can open.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::key::Random;
use crate::error::{Error, Result};

/// A folder that only the user of this process can open. It is removed with this value.
#[derive(Debug)]
pub(crate) struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Creates a folder in the system's folder for temporary files.
    ///
    /// Nobody else can create it first: then the creation fails.
    ///
    /// # Errors
    /// Of kind [`Connect`](crate::ErrorKind::Connect) if it can't be created.
    pub(crate) fn new(random: &Random) -> Result<Self> {
        let digits: String = random()?[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("watershed-{digits}"));
        let created = DirBuilder::new().mode(0o700).create(&path);
        created.map(|()| PrivateFolder(path.clone())).map_err(|e| {
            Error::connect(format!("can't create the folder {}", path.display())).because(e)
        })
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // The system removes temporary files that are left.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_private_folder_is_new_and_closed_to_others() {
        let number = std::process::id().to_le_bytes();
        let mut bytes = [0xf0; 32];
        bytes[..4].copy_from_slice(&number);
        let random: Random = Arc::new(move || Ok(bytes));
        let folder = PrivateFolder::new(&random).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let error = PrivateFolder::new(&random).unwrap_err();
        assert_eq!(error.exit_code(), 69, "a folder that exists is not taken");
        drop(folder);
        assert!(!path.exists());
    }
}
