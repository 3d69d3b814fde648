//! The model proxy: the agent's way to its model, with the key added here and every call reserved and settled
//! against the budget.

mod bill;
mod body;
mod budget;
mod endpoint;
mod error;
mod headers;
mod judge;
mod parking;
pub(crate) mod parsers;
mod proxy;
mod sse;
mod stream;
mod strict;
#[cfg(test)]
mod trial;
mod upstream;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use gastown_api::work_order::ModelOrder;
use tokio::net::TcpListener;

use super::record::Record;
use super::serve::serve as serve_http;

pub use upstream::OpenUpstream;

/// Connections of the agent at a time; calls are capped further by [`proxy::CALLS`].
const CONNECTIONS: usize = 32;

/// What the proxy works with.
#[derive(Debug)]
pub struct Context {
    /// Endpoint, models, prices and what may be spent.
    pub order: ModelOrder,
    /// Where usage is settled, and states are entered.
    pub record: Record,
    /// The mounted secret with the API key.
    pub secret_dir: PathBuf,
    /// The system's trusted certificates.
    pub system_roots: PathBuf,
    /// Where the agent connects.
    pub listener: TcpListener,
}

/// Serves for good.
pub async fn serve(context: Context) -> Result<(), OpenUpstream> {
    let Context {
        order,
        record,
        secret_dir,
        system_roots,
        listener,
    } = context;
    let upstream = upstream::Upstream::open(&order, &secret_dir, &system_roots)?;
    let proxy = Arc::new(proxy::Proxy::new(order, record, upstream));
    let answer = move |request| {
        let proxy = Arc::clone(&proxy);
        async move { proxy.answer(request).await }
    };
    serve_http(listener, Router::new().fallback(answer), CONNECTIONS).await;
    Ok(())
}
