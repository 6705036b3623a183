//! The loop that takes connections. It gives hyper a timer, which `axum::serve` does not: without
//! one, a head may take for ever.
//!
//! A connection is taken into the lobby, where any may ask how the gateway is. One that asks for
//! more takes one of the slots, of which its address has no more than a share, or waits for it. So
//! nobody who holds slots, or says nothing, is in the way.

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

use super::guard::Peer;
use super::patience::{Patience, Patient};
use super::slots::{Lobby, Visit};
use super::{Config, Identity};

/// How many headers a request may have, and how many bytes they may take together.
const HEADERS: usize = 64;
const HEAD: usize = 64 << 10;
/// How long to wait when no connection can be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `stop`, then answers what has been asked.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    config: &Config,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let lobby = Lobby::new(config);
    let acceptor = config.identity.as_ref().map(Identity::acceptor);
    let mut stop = std::pin::pin!(stop);
    loop {
        // While one waits for a place in the lobby, the next wait in the kernel.
        let accepted = async {
            let accepted = listener.accept().await?;
            lobby.room().await;
            Ok::<_, std::io::Error>(accepted)
        };
        let accepted = tokio::select! {
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
        let visit = Arc::new(Visit::new(peer.ip(), (config.clock)(), lobby.enter()));
        let service =
            TowerToHyperService::new(router.clone().layer(Extension(Peer(peer, visit.clone()))));
        let (watcher, acceptor, head_time, patience) =
            (graceful.watcher(), acceptor.clone(), config.head_time, Patience::of(config));
        tokio::spawn(async move {
            let served = async {
                if let Some(stream) = secured(stream, acceptor, head_time).await {
                    let stream = TokioIo::new(Patient::new(stream, patience));
                    if let Err(error) = watcher.watch(http.serve_connection(stream, service)).await
                    {
                        tracing::debug!(%error, %peer, "a connection ended early");
                    }
                }
            };
            tokio::select! {
                () = served => {}
                () = visit.evicted() => tracing::debug!(%peer, "a connection that was not served gave way to another"),
            }
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
async fn secured(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    patience: Duration,
) -> Option<Box<dyn Stream>> {
    let Some(acceptor) = acceptor else { return Some(Box::new(stream)) };
    match tokio::time::timeout(patience, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        _ => None,
    }
}
