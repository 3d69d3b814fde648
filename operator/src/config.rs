//! What the administrator decides: the chart writes it into a ConfigMap. What is left out there is in
//! `config/defaults.yaml`.

mod accept;
mod image_policy;
#[cfg(test)]
mod refused;
mod size;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gastown_api::image_policy::ImagePolicy;
use gastown_api::placement::Placement;
use gastown_api::pod_metadata::Table;
use gastown_api::resources::ResourceRequirements;
use gastown_api::usage::Price;
use gastown_api::work_order::ProxyOrder;
use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

pub use size::Size;

const DEFAULTS: &str = include_str!("config/defaults.yaml");

/// The published keys of github.com, gitlab.com and bitbucket.org.
const KNOWN_HOSTS: &str = include_str!("config/known_hosts");

/// The configuration; `config/defaults.yaml` says what each key means.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Base URLs without a trailing slash, at least one.
    pub model_endpoints: Vec<String>,
    /// Whether a key may be sent to an endpoint without TLS.
    pub model_keys_over_http: bool,
    /// Names or prefixes with a trailing `*`.
    pub allowed_models: Vec<String>,
    /// US dollars for a million tokens.
    pub prices: BTreeMap<String, Price>,
    /// `HOST` or `HOST:PORT`.
    pub git_hosts: Vec<String>,
    /// Lines in the form of `known_hosts(5)`.
    #[serde(default = "published_known_hosts")]
    pub known_hosts: String,
    /// Whole paths, or prefixes that end with a slash.
    pub denied_paths: Vec<String>,
    /// Of one push.
    pub max_push_bytes: u64,
    /// Unparked time of an attempt.
    pub deadline_seconds: u32,
    /// Parked time of an attempt.
    pub parking_seconds: u32,
    /// At work at once.
    pub max_polecats: Option<u32>,
    /// Parked time after which the slot is lent.
    pub parking_holds_slot_seconds: u32,
    /// The pod's grace period.
    pub grace_seconds: u32,
    /// The longest time between two checkpoints of a work tree that changes.
    pub checkpoint_seconds: u32,
    /// The most model turns between them.
    pub checkpoint_turns: u32,
    /// The longest silence of an agent.
    pub silence_seconds: u32,
    /// The proxy of the brokers.
    pub proxy: Option<ProxyOrder>,
    /// How often a failed attempt is repeated by itself.
    pub backoff_limit: u32,
    /// `pod.spec.hostUsers`.
    pub host_users: Option<bool>,
    /// Names of secrets.
    pub image_pull_secrets: Vec<String>,
    /// What an image that a polecat names must have before it runs.
    #[serde(deserialize_with = "image_policy::deserialize")]
    pub image_policy: ImagePolicy,
    /// Registries that are asked for signatures, `HOST` or `HOST:PORT`.
    pub registries: Vec<String>,
    /// Mirrors that are asked first, by what stands at the beginning of an image's name in their place.
    pub registry_mirrors: BTreeMap<String, Vec<String>>,
    /// Further labels of every pod.
    pub pod_labels: Table,
    /// Further annotations of every pod.
    pub pod_annotations: Table,
    /// Where polecats run that say nothing else.
    pub placement: Placement,
    /// Requests and limits.
    pub resources: Resources,
    /// Size limits.
    pub volumes: Volumes,
}

/// Requests and limits by container.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Of `claude`, where the polecat has none.
    pub agent: ResourceRequirements,
    /// Of `broker`.
    pub broker: ResourceRequirements,
    /// Of `keeper`.
    pub keeper: ResourceRequirements,
    /// Of `git-init`.
    pub git_init: ResourceRequirements,
}

/// Size limits of the volumes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volumes {
    /// The clone.
    pub workspace: Size,
    /// The agent's home.
    pub home: Size,
    /// `/tmp` of the agent and the keeper, and that of the broker.
    pub tmp: Size,
    /// The broker's mirror and ledger.
    pub broker: Size,
    /// The keeper's repository.
    pub keeper: Size,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadConfig {
    /// The file cannot be read.
    #[error("failed to read configuration {path:?}; check --config and the mounted ConfigMap")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no YAML mapping of the known keys.
    #[error(
        "failed to parse the configuration: {source}; `config/defaults.yaml` of the operator lists the keys"
    )]
    ParseYaml {
        /// What the parser said, with the place.
        source: serde_yaml_ng::Error,
    },
    /// A key is unknown, or its value is of the wrong kind.
    #[error(
        "failed to parse {key:?} of the configuration: {source}; `config/defaults.yaml` of the operator lists the keys"
    )]
    ParseKey {
        /// The path of the key.
        key: String,
        /// What the parser said.
        source: serde_yaml_ng::Error,
    },
    /// The policy of images cannot be used.
    #[error("failed to accept the configuration's imagePolicy.{source}")]
    ReadPolicy {
        /// The key and value, and what is wrong, with the remedy.
        source: gastown_signatures::ReadPolicy,
    },
    /// A value cannot be used.
    #[error("failed to accept the configuration's {key} {value:?}: {flaw}")]
    AcceptValue {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong, with the remedy.
        flaw: Cow<'static, str>,
    },
}

impl Config {
    /// Reads the file over the defaults; without a file, the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, LoadConfig> {
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|source| LoadConfig::ReadFile {
                path: path.to_owned(),
                source,
            })?,
        };
        Self::parse(&text)
    }

    /// Reads `text` over the defaults. A key that is null counts as left out.
    pub fn parse(text: &str) -> Result<Self, LoadConfig> {
        let parse = |source| LoadConfig::ParseYaml { source };
        let mut merged: Mapping = serde_yaml_ng::from_str(DEFAULTS).map_err(parse)?;
        let given: Option<Mapping> = serde_yaml_ng::from_str(text).map_err(parse)?;
        for (key, value) in given.unwrap_or_default() {
            if !value.is_null() {
                replace(&mut merged, key, value);
            }
        }
        let mut config: Self = serde_path_to_error::deserialize(Value::Mapping(merged)).map_err(|error| {
            LoadConfig::ParseKey {
                key: error.path().to_string(),
                source: error.into_inner(),
            }
        })?;
        accept::accept(&mut config)?;
        Ok(config)
    }
}

/// A key replaces its default whole, but `resources` and `volumes` are tables of parts that stand for themselves.
fn replace(merged: &mut Mapping, key: Value, value: Value) {
    let in_parts = matches!(key.as_str(), Some("resources" | "volumes"));
    match (merged.get_mut(&key).and_then(Value::as_mapping_mut), value) {
        (Some(parts), Value::Mapping(given)) if in_parts => {
            parts.extend(given.into_iter().filter(|(_, part)| !part.is_null()));
        }
        (_, value) => drop(merged.insert(key, value)),
    }
}

fn published_known_hosts() -> String {
    KNOWN_HOSTS.to_owned()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

    use super::*;

    #[test]
    fn the_defaults_are_a_configuration() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.model_endpoints, ["https://api.anthropic.com"]);
        assert_eq!(config.grace_seconds, 120);
        assert!(config.known_hosts.contains("github.com ssh-ed25519 "));
    }

    #[test]
    fn a_key_replaces_the_default_whole_and_null_leaves_it() {
        let config = Config::parse(
            "prices: {my-model: {input: 1, output: 2, cacheWrite: 0, cacheRead: 0}}\ngitHosts: null",
        )
        .unwrap();
        assert_eq!(config.prices.keys().collect::<Vec<_>>(), ["my-model"]);
        assert!(config.git_hosts.is_empty());
    }

    #[test]
    fn resources_and_volumes_are_replaced_by_part() {
        let text = "resources: {agent: {limits: {memory: 8Gi}}}\nvolumes: {home: 1Gi}";
        let (config, default) = (Config::parse(text).unwrap(), Config::parse("").unwrap());
        assert_eq!(config.resources.agent.requests, None);
        assert_eq!(config.resources.broker, default.resources.broker);
        assert_eq!(
            (config.volumes.home.bytes(), config.volumes.tmp),
            (1 << 30, default.volumes.tmp)
        );
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = Config::parse("modelEndpoint: [https://x]")
            .unwrap_err()
            .to_string();
        assert!(error.contains("modelEndpoint"), "{error}");
        assert!(error.contains("config/defaults.yaml"), "{error}");
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_with_their_key() {
        for (text, key) in [
            ("modelEndpoints: []", "modelEndpoints"),
            ("modelEndpoints: [api.anthropic.com]", "modelEndpoints"),
            ("deniedPaths: [/x]", "deniedPaths"),
            (
                "prices: {m: {input: -1, output: 2, cacheWrite: 0, cacheRead: 0}}",
                "prices",
            ),
            ("graceSeconds: soon", "graceSeconds"),
            ("checkpointTurns: 0", "checkpointTurns"),
            ("proxy: {url: https://proxy:3128, except: []}", "proxy.url"),
            (
                "proxy: {url: http://user:word@proxy:3128, except: []}",
                "proxy.url",
            ),
            ("proxy: {url: http://proxy, except: []}", "proxy.url"),
            ("volumes: {home: 2 GB}", "volumes.home"),
            ("resources: {agent: {limits: 4Gi}}", "resources.agent.limits"),
            ("- a", "configuration"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }

    #[test]
    fn a_trailing_slash_of_an_endpoint_does_not_count() {
        let config = Config::parse("modelEndpoints: [https://llm.example/v1/]").unwrap();
        assert_eq!(config.model_endpoints, ["https://llm.example/v1"]);
    }

    /// The fingerprints that the three hosts publish.
    const FINGERPRINTS: &[(&str, &str, &str)] = &[
        (
            "github.com",
            "ssh-ed25519",
            "+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
        ),
        (
            "github.com",
            "ecdsa-sha2-nistp256",
            "p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
        ),
        (
            "github.com",
            "ssh-rsa",
            "uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s",
        ),
        (
            "gitlab.com",
            "ssh-ed25519",
            "eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8",
        ),
        (
            "gitlab.com",
            "ecdsa-sha2-nistp256",
            "HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw",
        ),
        (
            "gitlab.com",
            "ssh-rsa",
            "ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ",
        ),
        (
            "bitbucket.org",
            "ssh-ed25519",
            "ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM",
        ),
        (
            "bitbucket.org",
            "ecdsa-sha2-nistp256",
            "FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0",
        ),
        (
            "bitbucket.org",
            "ssh-rsa",
            "46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E",
        ),
    ];

    fn from_hex(text: &str) -> Vec<u8> {
        let digit = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        text.as_bytes().chunks(2).map(digit).collect()
    }

    #[test]
    fn every_shipped_host_key_has_its_published_fingerprint() {
        let mut found = Vec::new();
        for line in KNOWN_HOSTS.lines() {
            let [host, kind, key] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let blob = STANDARD.decode(key).unwrap();
            let name_length = usize::from(blob[3]);
            assert_eq!(&blob[4..4 + name_length], kind.as_bytes(), "{line}");
            let digest = gastown_crypto::sha256(&blob);
            found.push((host, kind, STANDARD_NO_PAD.encode(from_hex(&digest.hex()))));
        }
        let found: Vec<_> = found
            .iter()
            .map(|(host, kind, print)| (*host, *kind, print.as_str()))
            .collect();
        assert_eq!(found, FINGERPRINTS);
    }
}
