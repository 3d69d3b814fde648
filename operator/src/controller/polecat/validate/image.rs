//! Image references as container runtimes read them (`github.com/distribution/reference`): the kubelet would say no
//! more than `InvalidImageName`, and only when the pod exists.

/// What is wrong with an image, with the remedy.
pub fn check(image: &str) -> Result<(), &'static str> {
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
    Ok(())
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
            assert_eq!(check(image), Ok(()), "{image}");
        }
    }

    #[test]
    fn what_no_registry_serves_is_refused_with_the_remedy() {
        let long = "a/".repeat(130) + "a";
        for (image, remedy) in REFUSED.iter().copied().chain([(long.as_str(), "[HOST/]NAME")]) {
            let flaw = check(image).expect_err(image);
            assert!(flaw.contains(remedy), "{image}: {flaw}");
        }
    }
}
