//! Serves HTTP/1.1 with bounds: whoever shares the network can open connections.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;

/// The longest a connection may take to send a request's head.
const HEAD: Duration = Duration::from_secs(15);

/// Answers what comes to `listener` by `router`, on at most `connections` at a time; others wait.
pub async fn serve(listener: TcpListener, router: Router, connections: usize) {
    let slots = Arc::new(Semaphore::new(connections));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or the client was gone: neither lasts.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // The head and the parts of an answer are written one by one; each would wait for the acknowledgement of the one
        // before, which a peer delays by 40 ms. A connection that cannot be set so is only slower.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to switch Nagle's algorithm off");
        }
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(slot);
        });
    }
}
