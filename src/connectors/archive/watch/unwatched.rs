//! The folders of an archive on a system without inotify: none is watched.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::changes::Followers;
use super::state::Shared;

/// Watched folders: there are none.
pub(super) enum Folders {}

/// Refuses to watch.
///
/// # Errors
/// Always.
pub(super) fn begin(_: &Arc<Shared>) -> io::Result<Folders> {
    Err(ErrorKind::Unsupported.into())
}

impl Folders {
    pub(super) fn watch_topic(&mut self, _: &Arc<str>, _: &Path) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn renew_if_lost(&mut self, _: &Arc<str>, _: &Followers) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn until_due(&self) -> Option<Duration> {
        match *self {}
    }
}
