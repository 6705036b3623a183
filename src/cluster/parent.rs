//! The pipe between a child and its parent: the shared secret, orders, and the end of either.
//!
//! The parent writes the secret as the first line and `stop` as the next one. The end of the pipe
//! is the end of the process at the other side, however it came.

use std::io::{BufRead, BufReader, Read};

use super::key::Key;
use crate::error::{Error, Result};
use crate::sync::spawn;

/// The line that ends a child gracefully.
pub(super) const STOP_LINE: &[u8] = b"stop\n";

/// Reads the shared secret from the parent of this process, usually from its standard input. Calls
/// `stop` if the parent wants a graceful end, and `gone` if the parent is gone, on another thread.
///
/// # Errors
/// - Of kind [`Config`](crate::ErrorKind::Config) if the parent sends no secret.
/// - When the system provides no thread.
pub(crate) fn parent(
    pipe: impl Read + Send + 'static,
    stop: impl Fn() + Send + 'static,
    gone: impl FnOnce() + Send + 'static,
) -> Result<Key> {
    let mut pipe = BufReader::new(pipe);
    let key = Key::from_pipe(&mut pipe)?;
    let listen = move || {
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if line == STOP_LINE {
                stop();
            }
            line.clear();
        }
        gone();
    };
    let name = "cluster:parent";
    spawn(name.into(), listen).map(|_| key).map_err(|e| Error::no_thread(name, e))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::error::ErrorKind;
    use crate::sync::channel;

    #[test]
    fn a_child_receives_the_secret_then_orders_and_the_end() {
        let (mut parent_end, own) = UnixStream::pair().unwrap();
        parent_end.write_all(b"a secret of the parent\n").unwrap();
        let (orders, received) = channel();
        let gone = orders.clone();
        let key =
            parent(own, move || orders.send("stop").unwrap(), move || gone.send("gone").unwrap());
        let same = Key::from_pipe(&mut b"a secret of the parent".as_slice()).unwrap();
        assert_eq!(key.unwrap().code(&[b"a"]), same.code(&[b"a"]));
        assert!(received.try_recv().is_err());
        parent_end.write_all(STOP_LINE).unwrap();
        assert_eq!(received.recv().unwrap(), "stop");
        drop(parent_end);
        assert_eq!(received.recv().unwrap(), "gone");
    }

    #[test]
    fn a_parent_without_a_secret_is_an_error() {
        let error = parent(b"".as_slice(), || {}, || {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
