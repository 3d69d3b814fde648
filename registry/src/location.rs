//! Which registries may be asked for an image, and in which order: mirrors first, as container runtimes do.

use std::collections::BTreeMap;

use gastown_api::image::ImageReference;

/// The registries that may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// `HOST[:PORT]`; none: every registry.
    pub registries: Option<Vec<String>>,
    /// Mirrors, `HOST[:PORT][/PATH]`, by what stands at the beginning of an image's name in their place.
    pub mirrors: BTreeMap<String, Vec<String>>,
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    host: String,
    path: String,
}

impl Places {
    /// Where the image may be asked for.
    pub(crate) fn of(&self, image: &ImageReference) -> Vec<Location> {
        let name = format!("{}/{}", image.registry(), image.path());
        let fits = |source: &str| {
            let rest = name.strip_prefix(source)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(rest)
        };
        let mut mirrors: Vec<_> = self
            .mirrors
            .iter()
            .filter_map(|(source, mirrors)| Some((source.len(), mirrors, fits(source)?)))
            .collect();
        mirrors.sort_by_key(|(length, ..)| std::cmp::Reverse(*length));
        let mirrored = mirrors
            .first()
            .into_iter()
            .flat_map(|(_, mirrors, rest)| mirrors.iter().map(move |mirror| format!("{mirror}{rest}")));
        let is_listed = match &self.registries {
            None => true,
            Some(listed) => listed.iter().any(|host| host == image.registry()),
        };
        let own = is_listed.then(|| name.clone());
        mirrored
            .chain(own)
            .filter_map(|name| Location::read(&name))
            .collect()
    }
}

impl Location {
    fn read(name: &str) -> Option<Self> {
        let (host, path) = name.split_once('/')?;
        Some(Self {
            host: host.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The registry.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The repository in it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The URL of a part of the API.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if is_loopback(&self.host) { "http" } else { "https" };
        let host = match self.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        format!("{scheme}://{host}/v2/{}/{path}", self.path)
    }
}

/// Whether it is this machine: what nobody on a network can read or change needs no TLS.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name == "127.0.0.1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_of_the_longest_name_come_first_and_only_listed_registries_are_asked() {
        let places = Places {
            registries: Some(vec!["ghcr.io".to_owned(), "docker.io".to_owned()]),
            mirrors: BTreeMap::from([
                ("ghcr.io".to_owned(), vec!["mirror.corp/ghcr".to_owned()]),
                (
                    "ghcr.io/team".to_owned(),
                    vec!["a.corp:5000/t".to_owned(), "b.corp".to_owned()],
                ),
                ("quay.io".to_owned(), vec!["quay.corp".to_owned()]),
            ]),
        };
        for (image, wanted) in [
            (
                "ghcr.io/team/agent:1",
                &["a.corp:5000 t/agent", "b.corp agent", "ghcr.io team/agent"][..],
            ),
            (
                "ghcr.io/teams/agent",
                &["mirror.corp ghcr/teams/agent", "ghcr.io teams/agent"],
            ),
            ("quay.io/x/y", &["quay.corp x/y"]),
            ("agent", &["docker.io library/agent"]),
            ("ghcr.io:444/x", &[]),
            ("evil.example/x", &[]),
        ] {
            let image: ImageReference = image.parse().unwrap();
            let found: Vec<_> = places
                .of(&image)
                .iter()
                .map(|at| format!("{} {}", at.host, at.path))
                .collect();
            assert_eq!(found, wanted, "{image}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        let url = |name: &str| Location::read(name).unwrap().url("tags/list");
        assert_eq!(
            url("docker.io/library/x"),
            "https://registry-1.docker.io/v2/library/x/tags/list"
        );
        assert_eq!(url("127.0.0.1:5000/x"), "http://127.0.0.1:5000/v2/x/tags/list");
        assert_eq!(
            url("localhost.example/x"),
            "https://localhost.example/v2/x/tags/list"
        );
        assert_eq!(
            url("127.0.0.1.example/x"),
            "https://127.0.0.1.example/v2/x/tags/list"
        );
    }
}
