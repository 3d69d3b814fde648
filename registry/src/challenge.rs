//! What a registry wants to see: `WWW-Authenticate`, as the distribution specification has it.

/// How a registry wants to be authenticated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// With user and password.
    Basic,
    /// With a token of that service.
    Bearer {
        /// The URL of the token service.
        realm: String,
        /// The name of the registry there.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads a header; none where it says neither.
    #[must_use]
    pub fn read(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut rest) = (None, None, parameters);
        while let Some((name, value, after)) = parameter(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
            rest = after;
        }
        let realm = realm?.to_owned();
        let service = service.map(str::to_owned);
        Some(Self::Bearer { realm, service })
    }
}

/// The first `name="value"` or `name=value`, and what follows it.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_start_matches([' ', ',']);
    let (name, rest) = text.split_once('=')?;
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_once(',').unwrap_or((rest, "")),
    };
    Some((name.trim(), value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_say_is_read() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
            })
        };
        for (header, wanted) in [
            (
                r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull""#,
                bearer("https://ghcr.io/token", Some("ghcr.io")),
            ),
            (
                r#"bearer service="a, b", realm="https://x/t?y=1""#,
                bearer("https://x/t?y=1", Some("a, b")),
            ),
            ("Bearer realm=https://x/t", bearer("https://x/t", None)),
            (r#"Basic realm="git""#, Some(Challenge::Basic)),
            ("BASIC", Some(Challenge::Basic)),
            ("Bearer", None),
            (r#"Bearer realm="https://x"#, None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::read(header), wanted, "{header}");
        }
    }
}
