//! The links of a process: two connections to each process that it talks to.
//!
//! *Bulk* carries the messages of process 0, *talk* those to process 0 and the failures of both
//! ends. A large batch on bulk delays no failure on talk.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use timely::communication::allocator::zero_copy::stream::Stream;

use super::board::{Board, Cause};
use super::frame::{self, Frame, Tag};
use super::limits::Limits;
use super::link::{Outbox, Post, gone, read_all, write_all};
use super::socket::Socket;
use crate::error::{Error, Result};
use crate::sync::{Sender, channel, spawn};

/// The longest wait until the last frames of a process that fails are written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Events of the links, on the thread that reads them, in the order of each connection.
pub(crate) enum Event<M> {
    /// A message of another process.
    Message { process: usize, message: M },
    /// A process has failed, is gone, or ends the run. It comes at most once for each process. The
    /// text of an error of another process begins with its number.
    Failed {
        #[cfg_attr(not(test), expect(dead_code, reason = "the text of the error names it too"))]
        process: usize,
        error: Error,
    },
}

/// Receives the events of the links. It must not block.
pub(super) type Deliver<M> = Arc<dyn Fn(Event<M>) + Send + Sync>;

/// The two connections to one process.
pub(super) struct Pair {
    pub(super) process: usize,
    pub(super) bulk: Socket,
    pub(super) talk: Socket,
}

/// The queues of the two connections to one process.
struct Peer {
    bulk: Sender<Post>,
    talk: Sender<Post>,
}

/// The links of a process.
pub(super) struct Links {
    pub(super) own: usize,
    pub(super) board: Arc<Board>,
    peers: BTreeMap<usize, Peer>,
}

impl Links {
    /// Starts the threads of the connections `pairs` of process `own`.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(super) fn start<M: DeserializeOwned + 'static>(
        own: usize,
        pairs: Vec<Pair>,
        limits: Limits,
        deliver: &Deliver<M>,
    ) -> Result<Self> {
        let board = Arc::new(Board::default());
        let mut links = Links { own, board: board.clone(), peers: BTreeMap::new() };
        for Pair { process, bulk, talk } in pairs {
            let peer = Arc::new(Remote {
                own,
                process,
                is_over: AtomicBool::new(false),
                board: board.clone(),
                deliver: deliver.clone(),
                grace: limits.verdict,
            });
            let bulk = start_writer(process, "bulk", &bulk, limits, &board)
                .and_then(|posts| start_reader(&peer, Kind::Bulk, bulk, limits).map(|()| posts));
            let talk = start_writer(process, "talk", &talk, limits, &board)
                .and_then(|posts| start_reader(&peer, Kind::Talk, talk, limits).map(|()| posts));
            links.peers.insert(process, Peer { bulk: bulk?, talk: talk? });
        }
        Ok(links)
    }

    /// Returns the queue of messages of process 0 to another one.
    pub(super) fn bulk<M: Serialize>(&self, process: usize) -> Result<Outbox<M>> {
        let peer = self.peers.get(&process).ok_or_else(|| gone(process))?;
        Ok(Outbox::new(process, peer.bulk.clone()))
    }

    /// Returns the queue of messages to process 0.
    pub(super) fn talk<M: Serialize>(&self, process: usize) -> Result<Outbox<M>> {
        let peer = self.peers.get(&process).ok_or_else(|| gone(process))?;
        Ok(Outbox::new(process, peer.talk.clone()))
    }

    /// Sends a frame to all processes, on talk.
    pub(super) fn send_to_all(&self, frame: &[u8]) {
        for peer in self.peers.values() {
            // The loss of a process is reported by the thread that reads.
            let _ = peer.talk.send(Post::Frame(frame.to_vec()));
        }
    }

    /// Sends the cause of a failure to all processes.
    pub(super) fn send_failure(&self, cause: &Cause) {
        // Without the cause, the others report the loss of this process.
        if let Ok(frame) = frame::encoded(Tag::Failed, cause) {
            self.send_to_all(&frame);
        }
    }

    /// Ends all streams, and waits a moment until their last bytes are written.
    pub(super) fn close(&self) {
        for posts in self.peers.values().flat_map(|peer| [&peer.talk, &peer.bulk]) {
            // The thread that writes may have ended with its connection.
            let _ = posts.send(Post::Close);
        }
        drop(self.board.wait_while_for(FLUSH_TIMEOUT, |state| state.writers > 0));
    }

    /// Announces the end of the run on all connections, and waits until all others have done so
    /// too.
    ///
    /// # Errors
    /// The first failure that came before.
    pub(super) fn finish(&self) -> Result<()> {
        for posts in self.peers.values().flat_map(|peer| [&peer.talk, &peer.bulk]) {
            // The thread that reads reports a connection that has ended.
            let _ = posts.send(Post::Frame(frame::empty(Tag::End)));
            let _ = posts.send(Post::Close);
        }
        let state = self.board.wait_while(|state| {
            (state.readers > 0 || state.writers > 0) && state.causes.is_empty()
        });
        state.causes.first().map_or(Ok(()), |cause| Err(cause.to_error(self.own)))
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // A run that is over must not look alive to the others.
        for posts in self.peers.values().flat_map(|peer| [&peer.talk, &peer.bulk]) {
            let _ = posts.send(Post::Close);
        }
    }
}

fn start_writer(
    process: usize,
    name: &str,
    socket: &Socket,
    limits: Limits,
    board: &Arc<Board>,
) -> Result<Sender<Post>> {
    let (posts, queue) = channel();
    let socket = cloned(process, socket)?;
    let name = format!("cluster:{name}-to-{process}");
    let running = Running::writer(board);
    let work = move || {
        let _running = running;
        let Ok(own) = socket.try_clone() else { return socket.close() };
        if write_all(own, &limits, &queue).is_err() {
            // The thread that reads reports the loss.
            socket.close();
        }
    };
    spawn(name.clone(), work).map_err(|e| Error::no_thread(&name, e))?;
    Ok(posts)
}

fn start_reader<M: DeserializeOwned + 'static>(
    peer: &Arc<Remote<M>>,
    kind: Kind,
    socket: Socket,
    limits: Limits,
) -> Result<()> {
    let name = match kind {
        Kind::Bulk => format!("cluster:bulk-from-{}", peer.process),
        Kind::Talk => format!("cluster:talk-from-{}", peer.process),
    };
    let running = Running::reader(&peer.board);
    let peer = peer.clone();
    let work = move || {
        let _running = running;
        let guard = PanicGuard(&peer);
        let done = read_all(peer.process, socket, &limits, |frame| peer.receive(frame));
        peer.end(kind, done);
        drop(guard);
    };
    spawn(name.clone(), work).map(drop).map_err(|e| Error::no_thread(&name, e))
}

fn cloned(process: usize, socket: &Socket) -> Result<Socket> {
    socket.try_clone().map_err(|e| {
        Error::lost(format!("can't use the connection to process {process}")).because(e)
    })
}

/// The use of a connection between two processes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bulk,
    Talk,
}

/// Another process, as the threads that read from it see it.
struct Remote<M> {
    own: usize,
    process: usize,
    /// True once its failure or its end is known.
    is_over: AtomicBool,
    board: Arc<Board>,
    deliver: Deliver<M>,
    /// The time within which the cause of a failure follows a connection that has ended.
    grace: Duration,
}

impl<M: DeserializeOwned> Remote<M> {
    fn receive(&self, frame: Frame) -> io::Result<()> {
        match frame.tag {
            Tag::Message => {
                let message = frame::decoded(&frame.content)?;
                (self.deliver)(Event::Message { process: self.process, message });
            }
            Tag::Welcome => self.board.change(|state| state.welcome = Some(frame.content)),
            Tag::Failed => {
                let cause: Cause = frame::decoded(&frame.content)?;
                if self.process == 0 {
                    self.board.change(|state| state.aborted = Some(cause.clone()));
                }
                self.fail(cause);
            }
            Tag::Beat | Tag::End => {}
        }
        Ok(())
    }
}

impl<M> Remote<M> {
    /// Reports a failure, unless one of this process was reported before.
    fn fail(&self, cause: Cause) {
        if self.is_over.swap(true, Ordering::SeqCst) {
            return;
        }
        let error = cause.to_error(self.own);
        self.board.change(|state| state.causes.push(cause));
        (self.deliver)(Event::Failed { process: self.process, error });
    }

    /// Ends the reading of one connection.
    fn end(&self, kind: Kind, done: Result<()>) {
        if let Err(error) = done {
            if kind == Kind::Bulk {
                // A process that fails sends the cause on talk, just before both connections end.
                drop(
                    self.board
                        .wait_while_for(self.grace, |state| !state.ended.contains(&self.process)),
                );
            }
            self.fail(Cause::new(self.own, &error));
        }
        if kind == Kind::Talk {
            self.board.change(|state| state.ended.insert(self.process));
        }
    }
}

/// Reports a panic of a thread that reads, which no other thread would notice.
struct PanicGuard<'a, M>(&'a Remote<M>);

impl<M> Drop for PanicGuard<'_, M> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let process = self.0.process;
            let message = format!("the thread that reads from process {process} panicked");
            self.0.fail(Cause::new(self.0.own, &Error::internal(message)));
        }
    }
}

/// Counts a thread as long as it runs.
struct Running {
    board: Arc<Board>,
    reads: bool,
}

impl Running {
    fn reader(board: &Arc<Board>) -> Self {
        board.change(|state| state.readers += 1);
        Running { board: board.clone(), reads: true }
    }

    fn writer(board: &Arc<Board>) -> Self {
        board.change(|state| state.writers += 1);
        Running { board: board.clone(), reads: false }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.board.change(|state| match self.reads {
            true => state.readers -= 1,
            false => state.writers -= 1,
        });
    }
}
