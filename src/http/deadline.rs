//! Deadlines that progress extends. A client must send and receive a least number of bytes a
//! second.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Limits;

/// The least rate of a transfer, and the time before it applies.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    stall_timeout: Duration,
    min_bytes_per_second: u32,
}

impl Pace {
    pub(super) fn of(limits: &Limits) -> Self {
        let Limits { stall_timeout, min_bytes_per_second, .. } = *limits;
        Pace { stall_timeout, min_bytes_per_second: min_bytes_per_second.max(1) }
    }

    /// Starts the deadline of a transfer.
    pub(super) fn start(self) -> Deadline {
        Deadline { pace: self, end: Box::pin(tokio::time::sleep(self.stall_timeout)) }
    }
}

/// The deadline of a transfer.
pub(super) struct Deadline {
    pace: Pace,
    end: Pin<Box<Sleep>>,
}

impl Deadline {
    /// Moves the deadline by the time that `bytes` may take, up to a stall timeout from now.
    pub(super) fn extend(&mut self, bytes: usize) {
        let Pace { stall_timeout, min_bytes_per_second } = self.pace;
        let allowed = Duration::from_secs_f64(bytes as f64 / f64::from(min_bytes_per_second));
        let latest = tokio::time::sleep(stall_timeout).deadline();
        let end = (self.end.deadline() + allowed).min(latest);
        self.end.as_mut().reset(end);
    }

    /// Waits until the deadline has passed.
    pub(super) async fn passed(&mut self) {
        self.end.as_mut().await;
    }
}

/// A stream whose writes fail when the other end reads too slowly.
pub(super) struct TimedStream<S> {
    stream: S,
    pace: Pace,
    /// Set while written bytes wait for the other end.
    deadline: Option<Deadline>,
}

impl<S> TimedStream<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        TimedStream { stream, pace, deadline: None }
    }

    /// Replaces a pending poll by an error once the deadline has passed.
    fn check<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            let deadline = self.deadline.get_or_insert_with(|| self.pace.start());
            ready!(deadline.end.as_mut().poll(cx));
            let late = io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly");
            return Poll::Ready(Err(late));
        }
        polled
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(bytes)), Some(deadline)) = (&polled, &mut self.deadline) {
            deadline.extend(*bytes);
        }
        self.check(cx, polled)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Flushes the stream. Hyper flushes after a complete response, so the deadline ends here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if polled.is_ready() {
            self.deadline = None;
        }
        self.check(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.check(cx, polled)
    }
}
