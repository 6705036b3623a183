//! The loop that takes connections. It gives hyper a timer, which `axum::serve` does not: without one, a head may take for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::guard::Peer;
use super::{Config, Identity};

/// How many headers a request may have, and how many bytes they may take together.
const HEADERS: usize = 64;
const HEAD: usize = 64 << 10;
/// How long to wait when no connection can be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `stop`, then answers what has been asked.
pub(super) async fn serve(listener: TcpListener, router: Router, config: &Config, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(config.connections));
    let acceptor = config.identity.as_ref().map(Identity::acceptor);
    let mut stop = std::pin::pin!(stop);
    loop {
        // Before they are accepted: more connections than that wait in the kernel.
        let accepted = async {
            let slot = connections.clone().acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't take a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Answers are short: waiting for more of them to send together only delays them.
        let _ = stream.set_nodelay(true);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(config.head_time)
            .max_headers(HEADERS)
            .max_buf_size(HEAD)
            .keep_alive(true);
        let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(peer))));
        let (watcher, acceptor, patience) = (graceful.watcher(), acceptor.clone(), config.head_time);
        tokio::spawn(async move {
            if let Some(stream) = secured(stream, acceptor, patience).await
                && let Err(error) = watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await
            {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(config.stop_time, graceful.shutdown()).await.is_err() {
        tracing::warn!("some clients were not done: their connections are cut");
    }
}

/// Bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The stream after the handshake, if there is to be one; `None` if that fails or takes too long.
async fn secured(stream: TcpStream, acceptor: Option<TlsAcceptor>, patience: Duration) -> Option<Box<dyn Stream>> {
    let Some(acceptor) = acceptor else { return Some(Box::new(stream)) };
    match tokio::time::timeout(patience, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        _ => None,
    }
}
