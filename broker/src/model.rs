//! The model proxy: the agent's way to its model, with the key added here and every call reserved and settled
//! against the budget.

mod bill;
mod body;
mod budget;
mod classify;
mod credential;
mod endpoint;
mod error;
mod headers;
mod opening;
mod parking;
pub(crate) mod parsers;
mod proxy;
mod refused;
mod shorten;
mod sse;
mod stream;
#[cfg(test)]
mod tests;
mod unique_keys;
mod upstream;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use gastown_api::pod::SETTINGS_PATH;
use gastown_api::reason::Reason;
use gastown_api::work_order::{ModelOrder, ProxyOrder};
use http::StatusCode;
use jiff::Timestamp;
use tokio::net::TcpListener;

use super::record::Record;
use super::serve::serve as serve_http;
use super::settings;

pub use credential::Paths;
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
    /// The mounted secrets.
    pub paths: Paths,
    /// The proxy to the outside.
    pub proxy: Option<ProxyOrder>,
    /// The system's trusted certificates.
    pub system_roots: PathBuf,
    /// Where the agent connects.
    pub listener: TcpListener,
}

/// What is missing of the credentials, if anything: why the attempt cannot begin.
#[must_use]
pub fn missing(order: &ModelOrder, paths: &Paths) -> Option<(Reason, String)> {
    match credential::read(order, paths, None, Timestamp::now()) {
        Err(absent) if absent.reason != Reason::CredentialExpired => Some((absent.reason, absent.message)),
        // One that has expired is waited for at the first call: the clone may go on.
        Ok(_) | Err(_) => None,
    }
}

/// The agent's settings for `git-init`: an archive, nothing, or why they cannot be used. Packed once, so that whoever
/// asks often shares one copy.
#[derive(Debug, Default)]
struct Settings(OnceLock<(StatusCode, Bytes)>);

impl Settings {
    fn answer(&self, secret: &Path) -> Response {
        let packed = || match settings::pack(secret) {
            Ok(Some(archive)) => (StatusCode::OK, archive.into()),
            Ok(None) => (StatusCode::NO_CONTENT, Bytes::new()),
            Err(error) => {
                tracing::error!(%error, "the agent's settings cannot be used");
                (StatusCode::UNPROCESSABLE_ENTITY, error.to_string().into())
            }
        };
        self.0.get_or_init(packed).clone().into_response()
    }
}

/// Serves for good.
pub async fn serve(context: Context) -> Result<(), OpenUpstream> {
    let Context {
        order,
        record,
        paths,
        proxy,
        system_roots,
        listener,
    } = context;
    let upstream = upstream::Upstream::open(&order, &paths, proxy.as_ref(), &system_roots)?;
    let secret = paths.secret.clone();
    let proxy = Arc::new(proxy::Proxy::new(order, record, upstream, paths));
    let answer = move |request| {
        let proxy = Arc::clone(&proxy);
        async move { proxy.answer(request).await }
    };
    let settings = Arc::new(Settings::default());
    let furnish = move || {
        let answer = settings.answer(&secret);
        async move { answer }
    };
    let router = Router::new().route(SETTINGS_PATH, get(furnish)).fallback(answer);
    serve_http(listener, router, CONNECTIONS).await;
    Ok(())
}
