//! TLS clients of the broker: the edition's provider, and roots that are said in one place.

use std::error::Error;
use std::time::Duration;

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;

use super::egress::{Egress, OpenProxy};

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenClient {
    /// `ca.crt` is there and holds no certificate.
    #[error("failed to read ca.crt of the secret")]
    ReadRoots(#[from] gastown_crypto::ReadRoots),
    /// The proxy.
    #[error(transparent)]
    OpenProxy(#[from] OpenProxy),
    /// The provider refused.
    #[error("failed to configure TLS")]
    ConfigureTls(#[source] rustls::Error),
}

/// Trusts the `system`'s certificates and those of `extra`, both PEM.
pub(super) fn roots(system: &[u8], extra: Option<&[u8]>) -> Result<RootCertStore, OpenClient> {
    Ok(gastown_crypto::roots(system, extra)?)
}

/// A client that speaks HTTP/1.1, over TLS where the URL says so.
pub(super) type Outbound<B> = Client<HttpsConnector<Egress>, B>;

/// A client that trusts `roots` and connects by `egress`.
pub(super) fn client<B>(roots: RootCertStore, egress: Egress) -> Result<Outbound<B>, OpenClient>
where
    B: Body + Send,
    B::Data: Send,
{
    let tls = gastown_crypto::client_config(roots).map_err(OpenClient::ConfigureTls)?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(egress);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(4)
        .build(connector))
}

/// What is wrong with the peer's certificate, if a call failed for that.
pub(super) fn certificate_flaw(error: &(dyn Error + 'static)) -> Option<String> {
    match find::<rustls::Error>(error)? {
        rustls::Error::InvalidCertificate(flaw) => Some(gastown_crypto::certificate_flaw(flaw)),
        _ => None,
    }
}

/// The first error of type `T` among `error` and its causes. What an I/O error holds is no cause of it to the standard
/// library.
pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref::<T>() {
        return Some(found);
    }
    let held = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    let held = held.and_then(|held| find::<T>(held));
    held.or_else(|| error.source().and_then(find::<T>))
}
