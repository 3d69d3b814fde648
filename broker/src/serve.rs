//! Serves HTTP/1.1 with bounds: whoever shares the network can open connections.

use std::net::IpAddr;
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
    answer(listener, router, connections, |_, _| true).await;
}

/// The same for whoever is not in this pod: the agent could take all connections, and the kubelet would find none.
pub async fn serve_others(listener: TcpListener, router: Router, connections: usize) {
    answer(listener, router, connections, is_of_another_pod).await;
}

/// What a pod sends to its own address comes from that address, or from loopback.
fn is_of_another_pod(peer: IpAddr, own: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer != own.to_canonical() && !peer.is_loopback()
}

async fn answer(
    listener: TcpListener,
    router: Router,
    connections: usize,
    admits: fn(IpAddr, IpAddr) -> bool,
) {
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
        let ends = stream
            .peer_addr()
            .and_then(|peer| Ok((peer.ip(), stream.local_addr()?.ip())));
        if !ends.is_ok_and(|(peer, own)| admits(peer, own)) {
            continue;
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn the_pods_own_addresses_are_told_from_others() {
        let of_another = |peer: &str| is_of_another_pod(peer.parse().unwrap(), "10.0.0.7".parse().unwrap());
        for peer in ["10.0.0.1", "10.0.0.8", "fd00::1"] {
            assert!(of_another(peer), "{peer}");
        }
        for peer in ["10.0.0.7", "127.0.0.1", "127.9.9.9", "::1", "::ffff:10.0.0.7"] {
            assert!(!of_another(peer), "{peer}");
        }
    }

    #[tokio::test]
    async fn the_agent_cannot_take_the_connections_that_the_kubelet_probes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_others(listener, Router::new(), 1));
        for _ in 0..3 {
            let mut held = TcpStream::connect(address).await.unwrap();
            assert_eq!(held.read(&mut [0]).await.unwrap_or(0), 0, "it is closed at once");
        }
    }
}
