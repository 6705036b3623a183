//! The thread that reads the events of an archive's folders, from inotify itself. The crate notify
//! (version 8) always subscribes to opened and modified files too, so each object that a run reads
//! would be two events or more.

use std::io::{self, PipeReader, pipe};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, Reader, init};
use rustix::io::Errno;

use crate::sync::spawn;

use super::folders::Folders;
use super::state::Shared;

/// The size of the buffer of events.
const BUFFER_BYTES: usize = 64 << 10;

/// Starts the thread that reads events. It ends when the folders are dropped.
///
/// # Errors
/// When the system provides no queue of events, or no thread.
pub(super) fn begin(shared: &Arc<Shared>) -> io::Result<Folders> {
    let kernel = Arc::new(init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?);
    let (end, ended) = pipe()?;
    let (shared, events) = (Arc::downgrade(shared), kernel.clone());
    spawn("watch".into(), move || read(&shared, &events, &end))?;
    Ok(Folders::new(kernel, ended))
}

/// Handles events until the writing end of `end` is closed.
fn read(shared: &Weak<Shared>, kernel: &Arc<OwnedFd>, end: &PipeReader) {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
    // With its last owner the folders are gone, which closes the pipe.
    while let Some(due) = shared.upgrade().map(|shared| shared.until_due()) {
        match wait(kernel, end, due) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => shared.upgrade().into_iter().for_each(|it| it.refuse(&error)),
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.with_folders(|folders, followers| {
            let mut events = Reader::new(&**kernel, &mut buffer);
            loop {
                match events.next() {
                    Ok(event) => {
                        folders.handle(event.wd(), event.events(), event.file_name(), followers)?;
                    }
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            folders.deliver_created(followers);
            Ok(())
        });
    }
}

/// Blocks until there are events, or for `longest`. Returns false at the end.
fn wait(kernel: &OwnedFd, end: &PipeReader, longest: Option<Duration>) -> io::Result<bool> {
    let timeout = longest.and_then(|longest| Timespec::try_from(longest).ok());
    let mut files = [PollFd::new(kernel, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
    match poll(&mut files, timeout.as_ref()) {
        Ok(_) => Ok(files[1].revents().is_empty()),
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
