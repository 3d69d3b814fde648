//! The certificates that TLS trusts.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Why certificates cannot be trusted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to read certificates to trust; they must be certificates in PEM")]
pub struct ReadRoots;

/// Trusts the `system`'s certificates and those of `extra`, both PEM.
pub fn roots(system: &[u8], extra: Option<&[u8]>) -> Result<RootCertStore, ReadRoots> {
    let mut store = RootCertStore::empty();
    // One odd certificate in the system's bundle must not take the others away.
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(system).flatten());
    if let Some(extra) = extra {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(extra) {
            store
                .add(certificate.map_err(|_| ReadRoots)?)
                .map_err(|_| ReadRoots)?;
            found = true;
        }
        if !found {
            return Err(ReadRoots);
        }
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_file_without_certificates_is_refused_and_an_odd_system_bundle_is_not() {
        assert_eq!(roots(b"", Some(b"hello")).err(), Some(ReadRoots));
        assert!(roots(b"garbage", None).is_ok());
    }
}
