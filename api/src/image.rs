//! Image references as container runtimes read them (`github.com/distribution/reference`): the kubelet would say no
//! more than `InvalidImageName`, and only when the pod exists.

use std::fmt;
use std::str::FromStr;

/// Where an image without a registry is.
const DOCKER_HUB: &str = "docker.io";

/// The name of an image: `[HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
    written: String,
}

/// Why a text names no image, with the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseImage(&'static str);

impl ImageReference {
    /// The registry, `HOST[:PORT]`; `docker.io` where none is written.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry; one of Docker Hub without an owner is one of `library`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one is written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, `sha256:…`, if one is written. It goes before the tag.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same image by `digest` alone: a name that means one content for ever.
    #[must_use]
    pub fn pinned(&self, digest: &str) -> String {
        let name = self.written.split('@').next().unwrap_or_default();
        let name = match &self.tag {
            Some(tag) => name
                .strip_suffix(tag.as_str())
                .and_then(|name| name.strip_suffix(':'))
                .unwrap_or(name),
            None => name,
        };
        format!("{name}@{digest}")
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for ImageReference {
    type Err = ParseImage;

    fn from_str(image: &str) -> Result<Self, ParseImage> {
        read(image).map_err(ParseImage)
    }
}

fn read(image: &str) -> Result<ImageReference, &'static str> {
    if image.contains("://") {
        return Err("it is a URL; leave out the scheme");
    }
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(name, digest)| (name, Some(digest)));
    if !digest.is_none_or(is_digest) {
        return Err("its digest is none; write @sha256: and 64 lower-case hexadecimal digits");
    }
    // A colon before a slash is that of a port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((before, after)) if !after.contains('/') => (before, Some(after)),
        _ => (name, None),
    };
    if !tag.is_none_or(is_tag) {
        return Err("its tag is none; write at most 128 letters, digits, \".\", \"_\" and \"-\"");
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, name),
    };
    if !registry.is_none_or(is_registry) {
        return Err("its registry is none; write HOST or HOST:PORT");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("its name has upper-case letters; write it in lower case");
    }
    if path.is_empty() || name.len() > 255 || !path.split('/').all(is_part) {
        return Err("its name is none; write [HOST/]NAME[:TAG][@sha256:DIGEST]");
    }
    let registry = registry.unwrap_or(DOCKER_HUB).to_ascii_lowercase();
    let of_the_library = registry == DOCKER_HUB && !path.contains('/');
    Ok(ImageReference {
        path: if of_the_library {
            format!("library/{path}")
        } else {
            path.to_owned()
        },
        registry,
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
        written: image.to_owned(),
    })
}

fn is_digest(digest: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    digest
        .strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

fn is_tag(tag: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    tag.len() <= 128 && tag.bytes().all(inner) && !tag.is_empty() && !tag.starts_with(['.', '-'])
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = registry.split_once(':').unwrap_or((registry, "443"));
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(label) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Letters and digits, with one of `.`, `_`, `__` or any number of `-` between them.
fn is_part(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let good =
        |separator: &str| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
    let bytes = part.as_bytes();
    let edges = [bytes.first(), bytes.last()];
    edges.iter().all(|edge| edge.is_some_and(|b| alphanumeric(*b))) && separators.into_iter().all(good)
}

#[cfg(test)]
mod refused;

#[cfg(test)]
mod tests {
    use super::refused::REFUSED;
    use super::*;

    fn parse(image: &str) -> Result<ImageReference, ParseImage> {
        image.parse()
    }

    #[test]
    fn an_image_is_in_a_registry_and_is_pinned_without_its_tag() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let other = format!("sha256:{}", "0".repeat(64));
        for (image, registry, path, tag, pinned) in [
            ("agent", "docker.io", "library/agent", None, "agent"),
            ("team/agent:1", "docker.io", "team/agent", Some("1"), "team/agent"),
            (
                "GHCR.io/team/agent:1.2",
                "ghcr.io",
                "team/agent",
                Some("1.2"),
                "GHCR.io/team/agent",
            ),
            (
                "localhost:5000/a",
                "localhost:5000",
                "a",
                None,
                "localhost:5000/a",
            ),
            (
                "r.example:5000/a:5000",
                "r.example:5000",
                "a",
                Some("5000"),
                "r.example:5000/a",
            ),
        ] {
            let read = parse(image).unwrap();
            assert_eq!(
                (read.registry(), read.path(), read.tag()),
                (registry, path, tag),
                "{image}"
            );
            assert_eq!(
                (read.digest(), read.pinned(&digest)),
                (None, format!("{pinned}@{digest}")),
                "{image}"
            );
            let read = parse(&format!("{image}@{digest}")).unwrap();
            assert_eq!(read.digest(), Some(digest.as_str()));
            assert_eq!(read.pinned(&other), format!("{pinned}@{other}"), "{image}");
        }
    }

    #[test]
    fn what_registries_serve_is_accepted() {
        let digest = "0123456789abcdef".repeat(4);
        for image in [
            "polecat-agent",
            "ghcr.io/org/polecat-agent:0.5.0",
            "localhost/a",
            "registry.svc:5000/team/a__b/c--d:latest_1.2-rc",
            "10.0.0.1:5000/a",
            &format!("ghcr.io/org/a:1@sha256:{digest}"),
            &format!("a@sha256:{digest}"),
        ] {
            assert_eq!(
                parse(image).map(|read| read.to_string()),
                Ok(image.to_owned()),
                "{image}"
            );
        }
    }

    #[test]
    fn what_no_registry_serves_is_refused_with_the_remedy() {
        let long = "a/".repeat(130) + "a";
        for (image, remedy) in REFUSED.iter().copied().chain([(long.as_str(), "[HOST/]NAME")]) {
            let flaw = parse(image).expect_err(image).to_string();
            assert!(flaw.contains(remedy), "{image}: {flaw}");
        }
    }
}
