//! [`Key`]: the secret that all processes of a run share.

use std::fmt;
use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::{Error, Result};

/// Bytes of a random number and of a code that authenticates a message.
pub(super) const CODE_BYTES: usize = 32;
/// The shortest secret.
const SHORTEST_KEY_BYTES: usize = 16;
/// The longest secret.
const LONGEST_KEY_BYTES: u64 = 4096;

/// A random number, and a code that authenticates a message.
pub(super) type Code = [u8; CODE_BYTES];

/// A source of random numbers, which the runtime injects.
pub(crate) type Random = Arc<dyn Fn() -> Result<[u8; CODE_BYTES]> + Send + Sync>;

/// The secret that all processes of a run share. Processes prove to one another that they hold it.
///
/// It comes from a file, the environment or a pipe, never from an argument, which every user of the
/// machine can read. It is not printed.
#[derive(Clone)]
pub(crate) struct Key(Arc<[u8]>);

impl Key {
    /// Returns a secret for the processes that one parent starts.
    pub(crate) fn random(random: &Random) -> Result<Self> {
        let digits: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Key(digits.into_bytes().into()))
    }

    /// Returns the secret in the environment variable of this name, if it is set.
    ///
    /// # Errors
    /// Of kind [`Config`](crate::ErrorKind::Config) for a secret that is too short.
    pub(crate) fn from_env(name: &str) -> Result<Option<Self>> {
        let place = format!("the environment variable {name}");
        std::env::var_os(name).map(|text| Self::new(text.as_encoded_bytes(), &place)).transpose()
    }

    /// Returns the secret in a file, without the spaces around it.
    ///
    /// # Errors
    /// Of kind [`Config`](crate::ErrorKind::Config) for a file that can't be read, and for a secret
    /// that is too short.
    pub(crate) fn from_file(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(LONGEST_KEY_BYTES).read_to_end(&mut bytes))
            .map_err(|e| {
                Error::config(format!("can't read the shared secret in {place}")).because(e)
            })?;
        Self::new(&bytes, &place)
    }

    /// Reads the secret that the parent of this process has written with [`line`](Self::line).
    ///
    /// # Errors
    /// Of kind [`Config`](crate::ErrorKind::Config) if the pipe ends before.
    pub(crate) fn from_pipe(pipe: &mut impl BufRead) -> Result<Self> {
        let mut line = Vec::new();
        pipe.take(LONGEST_KEY_BYTES).read_until(b'\n', &mut line).map_err(|e| {
            Error::config("can't read the shared secret from the parent").because(e)
        })?;
        Self::new(&line, "the pipe of the parent")
    }

    /// Returns the secret as a line, for the pipe of a child.
    pub(super) fn line(&self) -> Vec<u8> {
        [&self.0[..], b"\n"].concat()
    }

    fn new(bytes: &[u8], place: &str) -> Result<Self> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < SHORTEST_KEY_BYTES {
            let message = format!("the shared secret in {place} is too short");
            let hint = format!("Use at least {SHORTEST_KEY_BYTES} random characters.");
            return Err(Error::config(message).hint(hint));
        }
        Ok(Key(bytes.into()))
    }

    /// Returns the HMAC-SHA256 of the `parts`. Their lengths must follow from their contents.
    pub(super) fn code(&self, parts: &[&[u8]]) -> Code {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Returns true if `code` is that of the `parts`, in a time that does not depend on it.
    pub(super) fn verifies(&self, parts: &[&[u8]], code: &Code) -> bool {
        self.mac(parts).verify_slice(code).is_ok()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        // HMAC takes keys of any length: one that is longer than a block is hashed first.
        let mut block = [0; 64];
        match self.0.len() <= block.len() {
            true => block[..self.0.len()].copy_from_slice(&self.0),
            false => {
                block[..CODE_BYTES].copy_from_slice(&<Sha256 as sha2::Digest>::digest(&self.0));
            }
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

/// Hides the secret, because more people read a log than a secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn hex(code: &[u8]) -> String {
        code.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_code_is_that_of_the_standard() {
        // Test cases 2, 4 and 6 of RFC 4231; the first secret is short.
        let jefe = Key(b"Jefe".as_slice().into());
        let code = jefe.code(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&code), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let counting: Vec<u8> = (1..=25).collect();
        let code = Key(counting.into()).code(&[&[0xcd; 50]]);
        assert_eq!(hex(&code), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
        let long = Key([0xaa; 131].as_slice().into());
        let code = long.code(&[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(hex(&code), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
        assert!(
            long.verifies(&[b"Test Using Larger Than Block-Size Key", b" - Hash Key First"], &code)
        );
        assert!(!long.verifies(&[b"Test"], &code));
    }

    #[test]
    fn a_secret_is_read_as_it_was_written_and_never_shown() {
        let random: Random = Arc::new(|| Ok([7; 32]));
        let key = Key::random(&random).unwrap();
        let line = key.line();
        let read = Key::from_pipe(&mut line.as_slice()).unwrap();
        assert_eq!(read.code(&[b"a"]), key.code(&[b"a"]));
        assert_eq!(format!("{read:?}"), "Key(..)");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, [b"  ".as_slice(), &line, b"\n"].concat()).unwrap();
        assert_eq!(Key::from_file(&file).unwrap().code(&[b"a"]), read.code(&[b"a"]));
        for short in ["", "brief", "                       \n"] {
            std::fs::write(&file, short).unwrap();
            let error = Key::from_file(&file).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(short.trim().is_empty() || !error.to_string().contains(short), "{error}");
        }
        assert_eq!(
            Key::from_file(&folder.path().join("no")).unwrap_err().kind(),
            ErrorKind::Config
        );
        assert!(Key::from_env("WATERSHED_NO_SUCH_SECRET").unwrap().is_none());
    }
}
