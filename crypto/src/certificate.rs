//! What is wrong with a peer's certificate, for people.

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

/// How a certificate for one server is made that others can trust as it is.
const MAKE: &str = "openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=HOST -addext subjectAltName=DNS:HOST -addext basicConstraints=critical,CA:FALSE";

/// What is wrong with a certificate, and what can be done about it.
#[must_use]
pub fn certificate_flaw(error: &CertificateError) -> String {
    use CertificateError as E;
    let words = match error {
        E::UnknownIssuer => {
            "its certificate is of an issuer that is not trusted; put the issuer's certificate into ca.crt"
        }
        E::Expired => "its certificate has expired; renew it on the host",
        E::ExpiredContext { not_after, .. } => {
            let days = UnixTime::now().as_secs().saturating_sub(not_after.as_secs()) / 86_400;
            return format!("its certificate expired {days} days ago; renew it on the host");
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "its certificate is not valid yet; compare the clocks of the host and of the cluster's nodes"
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "its certificate is for another name; name the host as the certificate does, or have it made for this name (subjectAltName)"
        }
        E::BadSignature => {
            "its certificate was not signed by the issuer of that name in ca.crt; put the issuer's present certificate there"
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "its certificate is not for servers; have it made with extendedKeyUsage=serverAuth"
        }
        E::Other(other) if is_ca(other) => {
            return format!(
                "its certificate is a CA's own (CA:TRUE), which may sign others and serve none; make one for the server, such as with `{MAKE}`, and put that into ca.crt"
            );
        }
        _ => {
            "its certificate cannot be checked; have it made anew: for servers, RSA or ECDSA, signed with SHA-256 or better"
        }
    };
    words.to_owned()
}

fn is_ca(other: &rustls::OtherError) -> bool {
    let error = other.0.downcast_ref::<webpki::Error>();
    error.is_some_and(|error| *error == webpki::Error::CaUsedAsEndEntity)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_flaw_has_a_remedy_of_its_own() {
        let ca = CertificateError::Other(rustls::OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity)));
        for (error, words) in [
            (CertificateError::UnknownIssuer, "into ca.crt"),
            (CertificateError::Expired, "renew it"),
            (CertificateError::NotValidYet, "clocks"),
            (CertificateError::NotValidForName, "subjectAltName"),
            (CertificateError::BadSignature, "present certificate"),
            (CertificateError::InvalidPurpose, "serverAuth"),
            (ca, "CA:FALSE"),
            (CertificateError::BadEncoding, "made anew"),
        ] {
            let flaw = certificate_flaw(&error);
            assert!(flaw.contains(words) && flaw.len() < 380, "{flaw}");
        }
    }
}
