//! The git secret as the kubelet mounts it, one file a key. What may be in it says `gastown_api::git_secret`.

use std::collections::BTreeMap;
use std::path::Path;

pub use gastown_api::git_secret::{Credential, GitSecret, ReadSecret, names_host};
use gastown_api::repository::RepositoryUrl;

/// Kubernetes takes no secret larger than this.
const MAX_FILE: u64 = 1024 * 1024;

/// What `files` hold for `url`'s transport; `secret` is the name for messages.
pub fn parse(
    files: &BTreeMap<String, Vec<u8>>,
    url: &RepositoryUrl,
    secret: &str,
) -> Result<GitSecret, ReadSecret> {
    let is_bundle = |pem: &[u8]| gastown_crypto::roots(b"", Some(pem)).is_ok();
    gastown_api::git_secret::parse(files, url, secret, is_bundle)
}

/// The files of a mounted secret or ConfigMap; an optional volume that is not filled has none.
///
/// What cannot be read is as good as missing for the object's status; the log says why.
pub fn read_dir(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let entries = there(dir, std::fs::read_dir(dir)).into_iter().flatten();
    for entry in entries.filter_map(|entry| there(dir, entry)) {
        let name = entry.file_name().to_string_lossy().into_owned();
        // The kubelet's own links start with two dots.
        if name.starts_with("..") {
            continue;
        }
        let path = entry.path();
        if let Some(bytes) = there(&path, read_file(&path)).flatten() {
            files.insert(name, bytes);
        }
    }
    files
}

/// What was read, if it could be. That it is not there is usual: the kubelet swaps all files at once.
fn there<T>(path: &Path, read: std::io::Result<T>) -> Option<T> {
    read.inspect_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            tracing::warn!(path = %path.display(), %error, "failed to read a mounted secret");
        }
    })
    .ok()
}

/// The bytes of a file that Kubernetes can have put there; none of anything else.
fn read_file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let meta = std::fs::metadata(path)?;
    if meta.is_file() && meta.len() <= MAX_FILE {
        std::fs::read(path).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use gastown_api::reason::Reason;

    use super::*;

    #[test]
    fn a_bundle_that_tls_cannot_trust_is_told_when_the_secret_is_read() {
        let pem = b"-----BEGIN CERTIFICATE-----\nMAIFAA==\n-----END CERTIFICATE-----\n";
        for bundle in [&b"hello"[..], pem] {
            let files = [("username", &b"u"[..]), ("token", b"t"), ("ca.crt", bundle)];
            let files = files.map(|(key, value)| (key.to_owned(), value.to_vec()));
            let url = "https://h/r".parse().unwrap();
            let Err(error) = parse(&BTreeMap::from(files), &url, "git-creds") else {
                panic!("{bundle:?} was taken")
            };
            assert_eq!(error.reason(), Reason::SecretInvalid, "{error}");
        }
    }

    #[test]
    fn the_kubelets_links_are_no_keys() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("..2026_01_01");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("token"), "t").unwrap();
        std::os::unix::fs::symlink("..2026_01_01", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/token", dir.path().join("token")).unwrap();
        assert_eq!(
            read_dir(dir.path()),
            BTreeMap::from([("token".to_owned(), b"t".to_vec())])
        );
        assert!(read_dir(&dir.path().join("absent")).is_empty());
    }
}
