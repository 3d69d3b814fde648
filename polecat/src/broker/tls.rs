//! TLS clients of the broker: the edition's provider, and roots that are said in one place.

use std::error::Error;
use std::time::Duration;

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::outward::{OpenProxy, Outward};

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenClient {
    /// `ca.crt` is there and holds no certificate.
    #[error("failed to read ca.crt of the secret; it must hold certificates in PEM")]
    ParseRoots,
    /// The proxy.
    #[error(transparent)]
    OpenProxy(#[from] OpenProxy),
    /// The provider refused.
    #[error("failed to configure TLS")]
    ConfigureTls(#[source] rustls::Error),
}

/// Trusts the `system`'s certificates and those of `extra`, both PEM.
pub(super) fn roots(system: &[u8], extra: Option<&[u8]>) -> Result<RootCertStore, OpenClient> {
    let mut store = RootCertStore::empty();
    // One odd certificate in the system's bundle must not take the others away.
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(system).flatten());
    if let Some(extra) = extra {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(extra) {
            let certificate = certificate.map_err(|_| OpenClient::ParseRoots)?;
            store.add(certificate).map_err(|_| OpenClient::ParseRoots)?;
            found = true;
        }
        if !found {
            return Err(OpenClient::ParseRoots);
        }
    }
    Ok(store)
}

/// A client that speaks HTTP/1.1, over TLS where the URL says so.
pub(super) type Outbound<B> = Client<HttpsConnector<Outward>, B>;

/// A client that trusts `roots` and connects by `outward`.
pub(super) fn client<B>(roots: RootCertStore, outward: Outward) -> Result<Outbound<B>, OpenClient>
where
    B: Body + Send,
    B::Data: Send,
{
    let tls = gastown_crypto::client_config(roots).map_err(OpenClient::ConfigureTls)?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(outward);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(4)
        .build(connector))
}

/// Whether a call failed since the peer's certificate is not trusted.
pub(super) fn is_certificate(error: &(dyn Error + 'static)) -> bool {
    let refused = |error: &rustls::Error| matches!(error, rustls::Error::InvalidCertificate(_));
    find::<rustls::Error>(error).is_some_and(refused)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_file_without_certificates_is_refused_and_an_odd_system_bundle_is_not() {
        assert!(matches!(roots(b"", Some(b"hello")), Err(OpenClient::ParseRoots)));
        assert!(roots(b"garbage", None).is_ok());
    }
}
