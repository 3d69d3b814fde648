//! Credentials of registries, as `docker login` and pull secrets (`.dockerconfigjson`) have them.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Credentials by registry, or by the beginning of a repository's name.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

/// Why a file holds no credentials.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadCredentials {
    /// It is no JSON of that form.
    #[error(
        "failed to read the credentials of registries: they are no docker config, {{\"auths\": {{\"HOST\": {{\"auth\": …}}}}}}"
    )]
    ReadJson,
    /// An entry holds no user and password.
    #[error("failed to read the credential of registry {registry:?}: its auth is no base64 of USER:PASSWORD")]
    ReadAuth {
        /// The entry.
        registry: String,
    },
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Reads `{"auths": {…}}`.
    pub fn read(json: &[u8]) -> Result<Self, ReadCredentials> {
        let config: Config = serde_json::from_slice(json).map_err(|_| ReadCredentials::ReadJson)?;
        let mut all = BTreeMap::new();
        for (registry, entry) in config.auths {
            let pair = match (
                entry.auth.filter(|auth| !auth.is_empty()),
                entry.username,
                entry.password,
            ) {
                (Some(auth), ..) => {
                    let decoded = STANDARD
                        .decode(auth.trim())
                        .ok()
                        .and_then(|pair| String::from_utf8(pair).ok());
                    decoded.filter(|pair| pair.contains(':'))
                }
                (None, Some(user), Some(password)) => Some(format!("{user}:{password}")),
                // What a credential helper keeps is not in the file.
                (None, ..) => continue,
            };
            let pair = pair.ok_or_else(|| ReadCredentials::ReadAuth {
                registry: registry.clone(),
            })?;
            all.insert(key(&registry), STANDARD.encode(pair));
        }
        Ok(Self(all))
    }

    /// The user and password for a repository, as a Basic header has them: those of its longest beginning.
    pub(crate) fn basic(&self, host: &str, path: &str) -> Option<&str> {
        let mut name = format!("{}/{path}", key(host));
        loop {
            if let Some(pair) = self.0.get(&name) {
                return Some(pair);
            }
            name.truncate(name.rfind('/')?);
        }
    }
}

/// `https://index.docker.io/v1/` stands for Docker Hub; some files have a scheme or version at other hosts too.
fn key(registry: &str) -> String {
    let name = registry
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let name = name.trim_end_matches('/');
    let name = name
        .strip_suffix("/v1")
        .or_else(|| name.strip_suffix("/v2"))
        .unwrap_or(name);
    match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        name => name.to_owned(),
    }
}

/// Hosts alone.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_that_fits_has_the_credential() {
        let auth = |pair: &str| STANDARD.encode(pair);
        let json = serde_json::json!({"auths": {
            "ghcr.io": {"auth": auth("a:1")},
            "ghcr.io/team": {"username": "b", "password": "2"},
            "https://index.docker.io/v1/": {"auth": auth("c:3")},
            "helped.example": {},
        }, "credsStore": "desktop"});
        let credentials = Credentials::read(json.to_string().as_bytes()).unwrap();
        let of = |host, path| credentials.basic(host, path).map(str::to_owned);
        assert_eq!(of("ghcr.io", "other/x"), Some(auth("a:1")));
        assert_eq!(of("ghcr.io", "team/x"), Some(auth("b:2")));
        assert_eq!(of("ghcr.io", "teams/x"), Some(auth("a:1")));
        assert_eq!(of("registry-1.docker.io", "library/x"), Some(auth("c:3")));
        assert_eq!(of("io", "x"), None);
        assert_eq!(of("helped.example", "x"), None);
        assert!(!format!("{credentials:?}").contains(&auth("a:1")));
    }

    #[test]
    fn what_is_no_docker_config_is_refused_and_not_repeated() {
        for (text, word) in [
            ("hunter2", "no docker config"),
            (r#"{"auths": {"x": {"auth": "hunter2!"}}}"#, "\"x\""),
            (r#"{"auths": {"x": {"auth": "aHVudGVyMg=="}}}"#, "\"x\""),
            (r#"{"auths": []}"#, "no docker config"),
        ] {
            let error = Credentials::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("hunter2"), "{error}");
        }
    }
}
