//! Installs the TLS provider of the edition and asserts that it is the one it claims to be.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};

/// The edition this program was built as: `community` or `fips`.
pub const EDITION: &str = if cfg!(feature = "fips") {
    "fips"
} else {
    "community"
};

/// The number of the module's certificate in NIST's list (CMVP), if it is validated.
pub const CERTIFICATE: Option<u32> = if cfg!(feature = "fips") { Some(5314) } else { None };

/// The exact module that certificate #5314 names; anything else is not validated.
#[cfg(feature = "fips")]
const VALIDATED_MODULE: &str = "AWS-LC FIPS 3.1.0";

/// The version of the module that is linked statically, from the headers it was compiled with: aws-lc-rs 1.17.1
/// has no safe function that asks the module itself.
#[cfg(feature = "fips")]
fn fips_module_version() -> String {
    let version = String::from_utf8_lossy(aws_lc_fips_sys::AWSLC_VERSION_NUMBER_STRING);
    format!("AWS-LC FIPS {}", version.trim_end_matches('\0'))
}

/// Why the provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InstallProvider {
    /// Another part of the process installed a provider first; TLS would run on a provider that nobody checked.
    #[error(
        "failed to install the TLS provider: another one is installed already; install it first thing in main"
    )]
    AlreadyInstalled,
    /// The module's power-on self-test or mode switch failed.
    #[error("failed to enter FIPS mode: {reason}; run an unaltered fips edition of this program")]
    EnterFipsMode {
        /// The module's message.
        reason: String,
    },
    /// The linked module is not the validated one.
    #[error(
        "failed to assert the FIPS module: found {found:?}, want {want:?}; run an unaltered fips edition of this program"
    )]
    AssertModule {
        /// The linked module.
        found: String,
        /// The module that certificate #5314 names.
        want: &'static str,
    },
    /// The TLS configuration made from the provider does not count as FIPS.
    #[error("failed to assert FIPS for TLS: the provider's suites or key exchanges are not all approved")]
    AssertTls,
}

/// Installs the provider for the whole process; call it on main's first line.
pub fn install() -> Result<(), InstallProvider> {
    assert_module()?;
    provider()
        .install_default()
        .map_err(|_| InstallProvider::AlreadyInstalled)
}

/// What is linked, for logs and `--version`: the module's own words under `fips`.
#[must_use]
pub fn module_version() -> String {
    #[cfg(feature = "fips")]
    {
        fips_module_version()
    }
    #[cfg(not(feature = "fips"))]
    {
        "AWS-LC (not validated)".to_owned()
    }
}

/// What a program of version `number` says with `--version`: `0.5.0 (fips edition, AWS-LC FIPS 3.1.0, CMVP certificate 5314)`.
#[must_use]
pub fn version(number: &str) -> String {
    let certificate = CERTIFICATE.map(|number| format!(", CMVP certificate {number}"));
    format!(
        "{number} ({EDITION} edition, {}{})",
        module_version(),
        certificate.unwrap_or_default()
    )
}

/// A TLS client configuration of the edition that trusts `roots` and nothing else.
pub fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(feature = "fips")]
fn provider() -> CryptoProvider {
    rustls::crypto::default_fips_provider()
}

#[cfg(not(feature = "fips"))]
fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(feature = "fips")]
fn assert_module() -> Result<(), InstallProvider> {
    aws_lc_rs::try_fips_mode().map_err(|reason| InstallProvider::EnterFipsMode {
        reason: reason.to_owned(),
    })?;
    let found = fips_module_version();
    if found != VALIDATED_MODULE {
        return Err(InstallProvider::AssertModule {
            found,
            want: VALIDATED_MODULE,
        });
    }
    let config = client_config(RootCertStore::empty()).map_err(|_| InstallProvider::AssertTls)?;
    if config.fips() {
        Ok(())
    } else {
        Err(InstallProvider::AssertTls)
    }
}

#[cfg(not(feature = "fips"))]
#[expect(clippy::unnecessary_wraps, reason = "the fips edition fails here")]
fn assert_module() -> Result<(), InstallProvider> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_offers_no_ring_and_only_what_the_edition_allows() {
        let config = client_config(RootCertStore::empty()).unwrap();
        assert_eq!(config.fips(), cfg!(feature = "fips"));
    }

    #[test]
    fn the_version_names_edition_module_and_certificate() {
        let wanted = if cfg!(feature = "fips") {
            "1.2.3 (fips edition, AWS-LC FIPS 3.1.0, CMVP certificate 5314)"
        } else {
            "1.2.3 (community edition, AWS-LC (not validated))"
        };
        assert_eq!(version("1.2.3"), wanted);
    }

    #[cfg(feature = "fips")]
    #[test]
    fn the_linked_module_is_the_validated_one() {
        assert_module().unwrap();
        assert_eq!(module_version(), VALIDATED_MODULE);
    }
}
