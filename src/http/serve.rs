//! The accept loop. It passes a timer to hyper, which `axum::serve` does not do. Without a timer a
//! client may take for ever to send the head of a request.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::admission::Peer;
use super::deadline::{Pace, TimedStream};
use super::lobby::{Connection, Lobby};
use super::{Identity, ServerConfig};

/// Most headers of a request, and most bytes of all of them.
const MAX_HEADERS: usize = 64;
const HEAD_MAX_BYTES: usize = 64 << 10;
/// Pause after a failed accept, such as one without a free file descriptor.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `stop` resolves, then completes the responses in progress.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    config: &ServerConfig,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let lobby = Lobby::new(config);
    let acceptor = config.identity.as_ref().map(Identity::acceptor);
    let (head_timeout, pace) = (config.limits.head_timeout, Pace::of(&config.limits));
    let mut stop = std::pin::pin!(stop);
    loop {
        // While one connection waits for a seat, later ones wait in the kernel.
        let accepted = async {
            let accepted = listener.accept().await?;
            lobby.make_room().await;
            Ok::<_, std::io::Error>(accepted)
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                continue;
            }
        };
        // Responses are short: Nagle's algorithm would only delay them.
        let _ = stream.set_nodelay(true);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(HEAD_MAX_BYTES)
            .keep_alive(true);
        let connection = Arc::new(Connection::new(peer.ip(), (config.clock)(), lobby.enter()));
        let extension = Extension(Peer { address: peer, connection: connection.clone() });
        let service = TowerToHyperService::new(router.clone().layer(extension));
        let (watcher, acceptor) = (graceful.watcher(), acceptor.clone());
        tokio::spawn(async move {
            let served = async {
                if let Some(stream) = secured(stream, acceptor, head_timeout).await {
                    let stream = TokioIo::new(TimedStream::new(stream, pace));
                    if let Err(error) = watcher.watch(http.serve_connection(stream, service)).await
                    {
                        tracing::debug!(%error, %peer, "a connection ended early");
                    }
                }
            };
            tokio::select! {
                () = served => {}
                () = connection.evicted() => tracing::debug!(%peer, "evicted a connection"),
            }
        });
    }
    drop(listener);
    let shutdown = tokio::time::timeout(config.limits.shutdown_timeout, graceful.shutdown());
    if shutdown.await.is_err() {
        tracing::warn!("closed connections whose responses were not complete in time");
    }
}

/// A stream of bytes in both directions.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Performs the TLS handshake, if there is an acceptor; `None` if it fails or takes too long.
async fn secured(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    timeout: Duration,
) -> Option<Box<dyn Stream>> {
    let Some(acceptor) = acceptor else { return Some(Box::new(stream)) };
    match tokio::time::timeout(timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        _ => None,
    }
}
