//! Processes as threads of one, over pairs of sockets, for tests of dataflows.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::leader::Leader;
use super::limits::Limits;
use super::links::{Deliver, Event, Links, Pair};
use super::meeting::Meeting;
use super::member::Member;
use super::socket::Socket;
use crate::error::{Error, Result};

/// All processes of a run, as parts of this one.
pub(crate) struct LocalProcesses<Down, Up> {
    /// Process 0.
    pub(crate) leader: Leader<Down>,
    /// The processes from 1.
    pub(crate) members: Vec<Member<Up>>,
}

/// Connects `processes` processes within this one. `up` receives the events of process 0; `down`
/// receives the events of the others, with the number of the receiving process.
///
/// The connections are as those of several processes, except that no handshake comes before them.
///
/// # Errors
/// When the system provides no socket or thread.
pub(crate) fn in_one_process<Down, Up>(
    processes: usize,
    up: impl Fn(Event<Up>) + Send + Sync + 'static,
    down: impl Fn(usize, Event<Down>) + Send + Sync + 'static,
) -> Result<LocalProcesses<Down, Up>>
where
    Down: Serialize + DeserializeOwned + 'static,
    Up: Serialize + DeserializeOwned + 'static,
{
    let limits = Limits::default();
    let down = Arc::new(down);
    let mut pairs = Vec::new();
    let mut members = Vec::new();
    let mut meetings: Vec<Meeting> =
        meshes(processes)?.into_iter().map(|sockets| Meeting::Local { sockets, limits }).collect();
    for (process, meeting) in (1..).zip(meetings.split_off(processes.min(1))) {
        let ((bulk, own_bulk), (talk, own_talk)) = (pair()?, pair()?);
        pairs.push(Pair { process, bulk, talk });
        let own = vec![Pair { process: 0, bulk: own_bulk, talk: own_talk }];
        let down = down.clone();
        let deliver: Deliver<Down> = Arc::new(move |event| down(process, event));
        members.push(Member::new(Links::start(process, own, limits, &deliver)?, meeting));
    }
    let deliver: Deliver<Up> = Arc::new(up);
    let links = Links::start(0, pairs, limits, &deliver)?;
    let meeting =
        meetings.pop().ok_or_else(|| Error::config("a run needs at least one process"))?;
    Ok(LocalProcesses { leader: Leader::new(links, meeting), members })
}

/// Returns the sockets of each process: one to each other process, and none to itself.
fn meshes(processes: usize) -> Result<Vec<Vec<Option<Socket>>>> {
    let mut meshes: Vec<Vec<Option<Socket>>> = Vec::new();
    for _ in 0..processes {
        let mut own = Vec::new();
        for other in &mut meshes {
            let (one, two) = pair()?;
            own.push(Some(one));
            other.push(Some(two));
        }
        own.push(None);
        meshes.push(own);
    }
    Ok(meshes)
}

fn pair() -> Result<(Socket, Socket)> {
    let failed = |e: io::Error| Error::connect("can't make a pair of sockets").because(e);
    UnixStream::pair().map(|(a, b)| (Socket::Unix(a), Socket::Unix(b))).map_err(failed)
}
