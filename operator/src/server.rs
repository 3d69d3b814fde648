//! `/metrics`, `/healthz` and `/readyz`, over plain HTTP on the pod's network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// The data behind the endpoints.
pub struct ServerState {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the caches are synced: this replica leads, or could lead at once.
    pub synced: AtomicBool,
}

/// An error of the server.
#[derive(Debug, thiserror::Error)]
pub enum Serve {
    /// The address is in use or not local.
    #[error("failed to listen on {address}; choose another --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("failed to serve metrics and health")]
    Accept {
        /// What the system said.
        source: std::io::Error,
    },
}

/// Serves until the process ends.
pub async fn serve(address: SocketAddr, state: Arc<ServerState>) -> Result<(), Serve> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| Serve::Listen { address, source })?;
    axum::serve(listener, routes(state))
        .await
        .map_err(|source| Serve::Accept { source })
}

fn routes(state: Arc<ServerState>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn ready(State(state): State<Arc<ServerState>>) -> (StatusCode, &'static str) {
    if state.synced.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "caches are filling\n")
    }
}

async fn metrics(State(state): State<Arc<ServerState>>) -> Response {
    match state.metrics.encode() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
