//! The cryptography of the edition: one TLS provider, installed and asserted before anything else, digests, and
//! the keys that signatures are verified with.
//!
//! The features `community` and `fips` are exclusive. Under `fips` the provider is AWS-LC FIPS 3.1.0
//! (certificate #5314), pinned exactly in the workspace manifest; [`install`] refuses to go on with anything else.

#[cfg(feature = "tls")]
mod certificate;
mod digest;
#[cfg(feature = "tls")]
mod provider;
#[cfg(feature = "tls")]
mod roots;
#[cfg(feature = "tls")]
mod signature;

#[cfg(feature = "tls")]
pub use certificate::certificate_flaw;
pub use digest::{Digest, ParseDigest, sha256};
#[cfg(feature = "tls")]
pub use provider::{CERTIFICATE, EDITION, InstallProvider, client_config, install, module_version, version};
#[cfg(feature = "tls")]
pub use roots::{ReadRoots, roots};
#[cfg(feature = "tls")]
pub use signature::{PublicKey, ReadPublicKey};

#[cfg(all(feature = "community", feature = "fips"))]
compile_error!(
    "features \"community\" and \"fips\" are exclusive: for fips add `--no-default-features --features fips`"
);

#[cfg(not(any(feature = "community", feature = "fips")))]
compile_error!(
    "choose an edition: feature \"community\" (the default) or `--no-default-features --features fips`"
);
