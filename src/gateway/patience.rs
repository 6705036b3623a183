//! How long a client may take: after a grace, it must send and take so many bytes a second.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Config;

/// The grace and the least rate that a client is given.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    grace: Duration,
    /// Bytes a second.
    rate: u32,
}

impl Patience {
    pub(super) fn of(config: &Config) -> Self {
        Patience { grace: config.grace, rate: config.least_rate.max(1) }
    }

    /// Begins to wait.
    pub(super) fn begin(self) -> Waiting {
        Waiting { patience: self, end: Box::pin(tokio::time::sleep(self.grace)) }
    }
}

/// A wait for a client, whose end is put off by the bytes that go.
pub(super) struct Waiting {
    patience: Patience,
    end: Pin<Box<Sleep>>,
}

impl Waiting {
    /// Bytes have gone: the end is later by as long as they may take, but never later than a grace
    /// from now.
    pub(super) fn went(&mut self, bytes: usize) {
        let Patience { grace, rate } = self.patience;
        let later = self.end.deadline() + Duration::from_secs_f64(bytes as f64 / f64::from(rate));
        self.end.as_mut().reset(later.min(tokio::time::sleep(grace).deadline()));
    }

    /// Waits until the patience is at its end.
    pub(super) async fn over(&mut self) {
        self.end.as_mut().await;
    }
}

/// A stream whose other end must take what is written.
pub(super) struct Patient<S> {
    stream: S,
    patience: Patience,
    /// Since something that was written has not gone, until all of it has.
    waiting: Option<Waiting>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Patience) -> Self {
        Patient { stream, patience, waiting: None }
    }

    /// Lets no more than the patience pass in a row of pending polls.
    fn within<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            let waiting = self.waiting.get_or_insert_with(|| self.patience.begin());
            ready!(waiting.end.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the answer is not taken",
            )));
        }
        polled
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(bytes)), Some(waiting)) = (&polled, &mut self.waiting) {
            waiting.went(*bytes);
        }
        self.within(cx, polled)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
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

    /// Called when all that was to be written has been: here the wait ends.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if polled.is_ready() {
            self.waiting = None;
        }
        self.within(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within(cx, polled)
    }
}
